"""A partition that is still being delivered is neither scored nor learned from; it is waited for."""

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.dataset import training_window
from jobs.errors import InvalidSpec, MissingPartition
from jobs.input_gate import input_gate
from jobs.plan import plan
from jobs.readiness import waiting_for
from jobs.spec_schedule import Ready
from jobs.storage import last_change
from jobs.train import train

DAY = "2026-01-16"
SOURCE = "source: {path: sales, column: day, every: day}"


def with_rule(shop: Any, rule: str) -> None:
    spec = (shop.settings.models / "toys" / "model.yaml").read_text()
    shop.write_model(spec=spec.replace(SOURCE, SOURCE.replace("every: day", f"every: day, ready: {{{rule}}}")))


def test_a_partition_without_its_marker_is_not_scored(open_shop: Any) -> None:
    with_rule(open_shop, "marker: _SUCCESS")
    with pytest.raises(MissingPartition, match=r"sales 2026-01-16 is not ready: its marker _SUCCESS is not there"):
        plan(open_shop.job(DAY))
    (open_shop.sales(DAY) / "_SUCCESS").touch()
    assert plan(open_shop.job(DAY)).rows == 120


def test_half_a_file_without_the_marker_is_waited_for_and_not_rejected(open_shop: Any) -> None:
    with_rule(open_shop, "marker: _SUCCESS")
    file = open_shop.sales(DAY) / "part-0.parquet"
    file.write_bytes(file.read_bytes()[:500])
    for job in (plan, input_gate):
        with pytest.raises(MissingPartition, match="_SUCCESS"):
            job(open_shop.job(DAY))


def test_a_partition_that_is_not_ready_is_not_learned_from(open_shop: Any) -> None:
    with_rule(open_shop, "marker: _SUCCESS")
    job = open_shop.job("2026-01-20")
    window = training_window(job.spec, job.partition).partitions
    for partition in window[1:]:
        (open_shop.sales(partition.key) / "_SUCCESS").touch()
    with pytest.raises(MissingPartition, match=f"lacks 1 of the 7 .* first {window[0]}.*marker _SUCCESS"):
        train(job)


def test_labels_have_a_rule_of_their_own(open_shop: Any) -> None:
    spec = (open_shop.settings.models / "toys" / "model.yaml").read_text()
    open_shop.write_model(spec=spec.replace("label: {path: returns,", "label: {path: returns, ready: {marker: _DONE},"))
    with pytest.raises(MissingPartition, match=r"returns 2026-01-\d\d is not ready: its marker _DONE"):
        train(open_shop.job("2026-01-20"))


def test_a_folder_must_have_been_quiet_for_as_long_as_the_rule_says(tmp_path: Path) -> None:
    ready, now = Ready(quiet=timedelta(minutes=10)), time.time()
    assert "has no files" in str(waiting_for(tmp_path, ready, now))
    file = tmp_path / "part.parquet"
    file.touch()
    for path in (file, tmp_path):
        os.utime(path, (now - 599, now - 599))
    assert waiting_for(tmp_path, ready, now) == "it changed 599 s ago, and must be quiet for 600 s"
    assert waiting_for(tmp_path, ready, now + 1) is None
    assert "which is yet to come: set the feed's clock right" in str(waiting_for(tmp_path, ready, now - 700))
    (tmp_path / "another.tmp").touch()
    assert waiting_for(tmp_path, ready, now + 1) is not None


def test_files_that_come_and_go_and_links_to_nothing_do_not_disturb_the_rule(tmp_path: Path) -> None:
    ready, done = Ready(quiet=timedelta(minutes=10)), threading.Event()
    (tmp_path / "part.parquet").touch()
    for name, to in (("dead", "nothing"), ("loop", "loop")):
        (tmp_path / name).symlink_to(to)
    assert waiting_for(tmp_path, ready, time.time() + 601) is None

    def feed() -> None:
        while not done.is_set():
            for number in range(50):
                (tmp_path / f"{number}.tmp").touch()
            for number in range(50):
                (tmp_path / f"{number}.tmp").unlink()

    with ThreadPoolExecutor(1) as pool:
        wrote = pool.submit(feed)
        try:
            assert all("it changed" in str(waiting_for(tmp_path, ready)) for _ in range(300))
        finally:
            done.set()
    wrote.result()
    shutil.rmtree(tmp_path)
    assert last_change(tmp_path) == pytest.approx(time.time(), abs=60)


def test_without_a_rule_a_file_is_enough(tmp_path: Path) -> None:
    (tmp_path / "_hidden.parquet").touch()
    assert waiting_for(tmp_path, Ready()) is not None
    (tmp_path / "part.parquet").touch()
    assert waiting_for(tmp_path, Ready()) is None


@pytest.mark.parametrize("rule", ["marker: ../x", "marker: a/b", "quiet: soon", "colour: red"])
def test_a_rule_that_cannot_be_is_a_fault_of_the_spec(open_shop: Any, rule: str) -> None:
    with_rule(open_shop, rule)
    with pytest.raises(InvalidSpec, match=r"source\.ready"):
        open_shop.job(DAY)
