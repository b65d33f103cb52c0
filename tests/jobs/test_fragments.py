"""What an earlier attempt left is known again by names that are ours, and only if nothing of it has changed."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from jobs.fragments import (
    BLOCK,
    FragmentResult,
    WrittenFile,
    checksum,
    fence_of,
    file_name,
    keep_record,
    known,
    record_path,
)

DAY = "2026-01-16"
CONTENT = b"rows of a fragment"
NOTHING = FragmentResult(0, 7, 5, 2, {"größe:null": 2}, 0, 0.25, 0.75, 2.5, None, None)


def written(folder: Path, name: str) -> WrittenFile:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(CONTENT)
    return WrittenFile(name, len(CONTENT), 7, sha256(CONTENT).hexdigest())


class Left:
    """What an attempt has left: a record, and a file of predictions, of rejected rows, both or none."""

    def __init__(self, root: Path, *kinds: str) -> None:
        self.folders = root / "toys", root / "toys_rejected"
        files = {kind: written(root / folder, f"{kind}.parquet") for kind, folder in FOLDERS.items() if kind in kinds}
        self.result = replace(NOTHING, **files)
        self.record = record_path(self.folders[0], DAY, "000001-key", 0)
        keep_record(self.record, self.result)

    def known(self) -> FragmentResult | None:
        return known(self.record, *self.folders)


FOLDERS = {"predictions": "toys", "rejected": "toys_rejected"}
KINDS = [(), ("predictions",), ("rejected",), ("predictions", "rejected")]


@pytest.mark.parametrize("kinds", KINDS)
def test_a_record_with_all_of_its_files_is_known_again(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    left = Left(tmp_path, *kinds)
    assert left.known() == left.result


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("kinds", KINDS[1:])
def test_a_record_with_one_file_that_is_gone_or_another_is_not_known(
    tmp_path: Path, kinds: tuple[str, ...], kind: str
) -> None:
    for spoil in (Path.unlink, lambda path: path.write_bytes(CONTENT.upper())):
        left = Left(tmp_path, *kinds)
        file = tmp_path / FOLDERS[kind] / f"{kind}.parquet"
        if file.exists():
            spoil(file)
            assert left.known() is None


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", None])
def test_a_record_that_is_gone_or_cannot_be_read_is_not_known(tmp_path: Path, content: bytes | None) -> None:
    left = Left(tmp_path)
    left.record.unlink() if content is None else left.record.write_bytes(content)
    assert left.known() is None


def test_a_file_is_intact_with_the_size_and_the_bytes_that_were_written_and_no_others(tmp_path: Path) -> None:
    file = written(tmp_path, "a")
    assert file.is_intact(tmp_path) is True
    for other in (
        replace(file, size=file.size + 1),  # readers of the table are told the size
        replace(file, checksum=sha256(b"others").hexdigest()),
        WrittenFile(file.path, file.size, file.rows),
        replace(file, path="b"),
        replace(file, path="."),
    ):
        assert other.is_intact(tmp_path) is False


@pytest.mark.parametrize("size", [0, 1, BLOCK, 2 * BLOCK + 1])
def test_the_checksum_is_over_every_byte(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    (tmp_path / "a").write_bytes(content)
    assert checksum(tmp_path / "a") == sha256(content).hexdigest()


def test_a_name_of_ours_begins_with_its_fence() -> None:
    for fence in (0, 7, 123_456):
        assert fence_of(file_name(DAY, fence, "attempt", 3).rpartition("/")[2]) == fence


@pytest.mark.parametrize(
    "name", ["part-0.parquet", "00001-a.parquet", "0000001-a.parquet", "000001", "000001.parquet", "00000x-a", "-a", ""]
)
def test_a_name_of_another_origin_has_no_fence(name: str) -> None:
    assert fence_of(name) is None


def test_a_record_lies_where_readers_of_the_table_do_not_look(tmp_path: Path) -> None:
    path = record_path(tmp_path, DAY, "000001-key", 2)
    assert path == tmp_path / "_fragments" / f"partition={DAY}" / "000001-key" / "00002.json"
