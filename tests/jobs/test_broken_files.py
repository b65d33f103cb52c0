"""Files of ours whose bytes are no more what was written: said of them, and not of what was delivered."""

import errno
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from broken import break_at
from conftest import by_plan
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from jobs.diff import diff
from jobs.errors import Misconfigured, Rejected
from jobs.input_gate import input_gate
from jobs.lineage_row import find_row
from jobs.output_gate import output_gate
from jobs.own_files import files_kept
from jobs.plan import plan
from jobs.publish import publish
from jobs.score import ScoreResult, score
from jobs.table import ensure_table, predictions_path

DAY = "2026-01-16"
PLACES = ["footer", "toy_id", "score", "model_version"]


def scored(shop: Any) -> tuple[Any, Path]:
    """A run that has scored, and the file with its scores."""
    job = shop.job(DAY)
    plan(job)
    input_gate(job)
    score(job)
    return job, next(Path(str(predictions_path(job.settings, job.spec))).glob("partition=*/*.parquet"))


@pytest.mark.parametrize("where", PLACES)
def test_scores_that_are_broken_are_scored_again(open_shop: Any, where: str) -> None:
    job, path = scored(open_shop)
    break_at(path, where)
    with pytest.raises(
        Rejected, match=r"^Files that score left for toys 2026-01-16 are gone .* or broken: run score and"
    ):
        output_gate(job)
    assert not any(fragment.reused for fragment in score(job).fragments)
    output_gate(job)
    assert publish(job).publication.rows_scored == 120


@pytest.mark.parametrize(("other", "says"), [(2, "1, 2"), (None, "None")])
def test_rows_of_another_version_are_not_published(open_shop: Any, other: int | None, says: str) -> None:
    job, path = scored(open_shop)
    rows = pq.read_table(path, partitioning=None)
    place = rows.schema.get_field_index("model_version")
    versions = [1] * (len(rows) - 1) + [other]
    pq.write_table(rows.set_column(place, "model_version", pa.array(versions, pa.int32())), path)
    with pytest.raises(
        Rejected, match=f"every row says which version scored it FAILED: expected version 1, observed {says}\\.$"
    ):
        output_gate(job)


@pytest.mark.parametrize("where", PLACES)
def test_what_was_published_and_is_broken_is_neither_compared_nor_looked_up(open_shop: Any, where: str) -> None:
    made = publish(open_shop.prepare(DAY)).publication
    rows = pq.read_table(open_shop.sales(DAY)).slice(1)
    open_shop.write_sales(DAY, rows.to_pandas())
    publish(open_shop.prepare(DAY, "again"))
    job = by_plan(open_shop.job(DAY, "test"))
    (fragment,) = job.recall("score", ScoreResult).fragments
    assert fragment.predictions is not None
    break_at(Path(str(predictions_path(job.settings, job.spec) / fragment.predictions.path)), where)
    said = "^A file of toys 2026-01-16 in its table's folder is broken, .* Restore it, or look at a later publication"
    with pytest.raises(Misconfigured, match=said):
        find_row(open_shop.settings, job.spec, made, [rows["toy_id"][5].as_py()])
    if where != "model_version":  # which nobody compares
        with pytest.raises(Misconfigured, match=said):
            diff(open_shop.job(DAY))


def test_trouble_of_the_disk_is_not_called_a_broken_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"), files_kept(tmp_path, "toys", DAY):
        raise OSError(errno.EIO, "Input/output error")


def test_the_output_gate_does_not_call_scores_broken_when_the_disk_does_not_answer(
    open_shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = scored(open_shop)

    def read_back(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("jobs.output_gate.read_back", read_back)
    with pytest.raises(OSError, match="Input/output error"):
        output_gate(job)


def test_of_two_who_make_a_table_at_once_both_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns, real = pa.schema([("toy_id", pa.string())]), DeltaTable.create

    def late(*args: Any, **options: Any) -> DeltaTable:
        real(*args, **options)
        raise CommitFailedError("a table is there")

    monkeypatch.setattr(DeltaTable, "create", late)
    made = ensure_table(tmp_path / "toys", columns)
    assert (made.version(), [field.name for field in made.schema().fields]) == (0, ["toy_id", "partition"])
