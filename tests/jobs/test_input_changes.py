"""A file that is written between plan, gate and score is noticed: nothing is published that names other rows."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import jobs.score as score_job
from jobs import input_gate as gate
from jobs.context import JobContext
from jobs.engines.local import LocalEngine
from jobs.errors import Rejected, Unavailable
from jobs.fragments import RECORDS
from jobs.input_gate import input_gate
from jobs.output_gate import output_gate
from jobs.plan import Plan, plan
from jobs.publish import publish
from jobs.score import score
from jobs.source import source_file
from jobs.table import predictions_path
from model_registry.steps import listen

DAY = "2026-01-16"


def judged(shop: Any, run: str = "test") -> JobContext:
    job: JobContext = shop.job(DAY, run)
    plan(job)
    input_gate(job)
    return job


def rows(shop: Any) -> pd.DataFrame:
    return pd.read_parquet(shop.sales(DAY))


def records(job: JobContext) -> list[Path]:
    return list((Path(str(predictions_path(job.settings, job.spec))) / RECORDS).rglob("*.json"))


@pytest.mark.parametrize("number", [40, 120, 200])
def test_a_file_that_is_written_anew_after_the_gate_is_not_scored(open_shop: Any, number: int) -> None:
    job = judged(open_shop)
    other = pd.concat([rows(open_shop)] * 2, ignore_index=True).head(number)
    open_shop.write_sales(DAY, other.assign(price=1.0, toy_id=[f"other-{n}" for n in range(number)]))
    with pytest.raises(Rejected, match="was changed after it was planned: run plan and input-gate again"):
        score(job)
    assert records(job) == []
    with pytest.raises(Exception, match="no result of `score`"):
        output_gate(job)


def test_a_file_that_is_written_while_it_is_read_is_not_scored(open_shop: Any) -> None:
    job = judged(open_shop)
    other = rows(open_shop).assign(price=1.0)
    listen(lambda step: open_shop.write_sales(DAY, other) if step == "score:read" else None)
    try:
        with pytest.raises(Rejected, match="was changed after it was planned: run plan and input-gate again"):
            score(job)
    finally:
        listen(None)
    assert records(job) == []


def test_what_was_there_for_a_moment_only_is_not_scored_either(open_shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = judged(open_shop)
    [path] = open_shop.sales(DAY).iterdir()
    good = path.read_bytes()

    class Disturbed(LocalEngine):
        def map(self, function: Callable[..., Any], tasks: Any) -> Any:
            open_shop.write_sales(DAY, rows(open_shop).assign(price=1.0))
            found = super().map(function, tasks)
            try:
                yield from list(found)
            finally:
                path.write_bytes(good)

    monkeypatch.setattr(score_job, "choose_engine", lambda *_args, **_rest: Disturbed(1))
    with pytest.raises(Rejected, match="was changed after it was planned: run plan and input-gate again"):
        score(job)
    monkeypatch.undo()
    job = judged(open_shop, "again")
    assert score(job).reused == 0
    output_gate(job)
    assert publish(job).publication.rows_scored == len(rows(open_shop))


def test_the_gate_calculates_a_digest_only_of_files_that_were_written(
    open_shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    digest_of = gate.input_digest
    monkeypatch.setattr(gate, "input_digest", lambda files: asked.append(files) or digest_of(files))
    job = judged(open_shop)
    assert asked == []
    [path] = open_shop.sales(DAY).iterdir()
    os.utime(path, (1, 1))  # touched: other times, the same rows
    assert input_gate(job).input_digest == job.recall("plan", Plan).input_digest
    assert len(asked) == 1
    assert input_gate(open_shop.job(DAY, "without a plan")).input_digest == job.recall("plan", Plan).input_digest


def test_a_file_that_is_gone_is_not_untouched(open_shop: Any) -> None:
    [path] = open_shop.sales(DAY).iterdir()
    file = source_file(path)
    assert file.is_untouched()
    path.unlink()
    assert not file.is_untouched()


def test_a_file_that_is_gone_when_it_is_scored_is_one_sentence(open_shop: Any) -> None:
    job = judged(open_shop)
    [path] = open_shop.sales(DAY).iterdir()
    path.unlink()
    with pytest.raises(Unavailable, match="is gone since the files were listed: run plan again"):
        score(job)
