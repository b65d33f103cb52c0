"""Files of a partition that are no files, are gone, or are not given: what is wrong with them, and what to do."""

import errno
import os
import resource
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.batches import read_batches
from jobs.errors import LamplighterError, Misconfigured, MissingPartition, Rejected, Unavailable
from jobs.input_gate import input_gate
from jobs.plan import plan
from jobs.score import score
from jobs.source import SourceFile, input_digest, partition_files, source_file, unreadable
from jobs.spec_schedule import Ready

DAY = "2026-01-16"


def find(shop: Any, ready: Ready | None = None) -> list[SourceFile]:
    job = shop.job(DAY)
    return partition_files(shop.settings.data, "sales", job.spec.source.column, job.partition, ready)


def test_a_file_that_something_else_stands_for_is_refused_and_not_waited_for(open_shop: Any) -> None:
    makers = (
        lambda path: path.mkdir(),
        os.mkfifo,
        lambda path: path.symlink_to(path.with_name("gone")),
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("/dev/zero"),
    )
    for make in makers:
        odd = open_shop.sales(DAY) / "odd.parquet"
        make(odd)
        with pytest.raises(
            Rejected, match=r"odd.parquet in day=2026-01-16 cannot be read as Parquet: .* Deliver it again"
        ):
            find(open_shop)
        odd.rmdir() if odd.is_dir() else odd.unlink()


def test_a_file_whose_name_is_not_utf8_is_refused_in_one_sentence(open_shop: Any) -> None:
    (open_shop.sales(DAY) / "part-0.parquet").rename(os.fsdecode(bytes(open_shop.sales(DAY)) + b"/p-\xff.parquet"))
    with pytest.raises(Rejected, match=r"'p-.udcff.parquet' in day=2026-01-16 has a name that is not UTF-8") as caught:
        find(open_shop)
    str(caught.value).encode()


def test_a_file_that_is_gone_is_planned_anew(open_shop: Any) -> None:
    job = open_shop.job(DAY)
    planned = plan(job)
    input_gate(job)
    (open_shop.sales(DAY) / "part-0.parquet").unlink()
    with pytest.raises(Unavailable, match=r"part-0.parquet in day=2026-01-16 is gone .*: run plan again"):
        score(job)
    path = planned.fragments[0].file
    with pytest.raises(Unavailable, match="is gone"):
        list(read_batches(path, None, ["price"]))
    with pytest.raises(Unavailable, match="is gone"):
        input_digest([SourceFile(path, (1,), "")])


def test_a_file_that_may_not_be_read_is_a_matter_of_rights(open_shop: Any) -> None:
    file = open_shop.sales(DAY) / "part-0.parquet"
    file.chmod(0)
    user = os.geteuid()
    try:
        os.seteuid(user or 65534)  # root may read anything
        with pytest.raises(
            Misconfigured, match=r"part-0.parquet in day=2026-01-16 may not be read \(Permission denied\)"
        ):
            source_file(file)
    finally:
        os.seteuid(user)


def test_a_process_that_may_open_no_more_files_tries_again(open_shop: Any) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    file = open_shop.sales(DAY) / "part-0.parquet"
    source_file(file)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        with pytest.raises(Unavailable, match=r"cannot be read at the moment \(Too many open files\): try again"):
            source_file(file)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        *((number, Unavailable) for number in (errno.EIO, errno.ESTALE, errno.ENOMEM, errno.ETIMEDOUT, errno.ENOSPC)),
        *((number, Rejected) for number in (errno.EISDIR, errno.EINVAL)),
        *((number, Misconfigured) for number in (errno.EACCES, errno.EPERM)),
    ],
)
def test_what_the_system_says_of_a_file_is_not_what_is_wrong_with_its_content(
    number: int, kind: type[LamplighterError]
) -> None:
    error = unreadable("/data/day=2026-01-16/part-0.parquet", OSError(number, os.strerror(number)))
    assert type(error) is kind


STRAYS = ["part-1.PARQUET", "part-1.pq", "part-1.parquet.gz", "hour=1/part-0.parquet", "DONE"]


@pytest.mark.parametrize("name", STRAYS)
def test_rows_are_not_left_out_for_the_name_of_their_file(name: str, open_shop: Any) -> None:
    stray = open_shop.sales(DAY) / name
    stray.parent.mkdir(exist_ok=True)
    shutil.copy(open_shop.sales(DAY) / "part-0.parquet", stray)
    with pytest.raises(
        Rejected, match=f"day=2026-01-16 holds {name.partition('/')[0]}, and rows in it would be left out"
    ):
        find(open_shop)


def test_what_holds_no_rows_may_lie_beside_them(open_shop: Any) -> None:
    folder = open_shop.sales(DAY)
    for name in ("_SUCCESS", ".part-0.parquet.crc", "part-0.parquet.crc", "_temporary.PARQUET", ".hidden.pq", "DONE"):
        (folder / name).touch()
    (folder / "_temporary").mkdir()
    assert [Path(file.path).name for file in find(open_shop, Ready(marker="DONE"))] == ["part-0.parquet"]
    (folder / "a.tmp").touch()
    (folder / "b\n.tmp").touch()
    with pytest.raises(Rejected, match=r"holds a.tmp and 1 more, and rows") as caught:
        find(open_shop, Ready(marker="DONE"))
    assert "\n" not in str(caught.value)


def test_a_feed_that_still_writes_is_waited_for_whatever_its_files_are_called(open_shop: Any) -> None:
    (open_shop.sales(DAY) / "part-1.parquet.tmp").touch()
    for rule, lacks in ((Ready(marker="DONE"), "its marker"), (Ready(quiet=timedelta(hours=1)), "it changed")):
        with pytest.raises(MissingPartition, match=lacks):
            find(open_shop, rule)
