"""What lies in the tables' folders is damaged between two jobs, or by other tools: noticed, and published anew."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field, write_deltalake
from deltalake.schema import PrimitiveType

from jobs.backfill import State, plan_backfill
from jobs.diff import diff
from jobs.errors import Misconfigured, Rejected
from jobs.follow import follow
from jobs.lineage_row import find_row
from jobs.output_gate import output_gate
from jobs.plan import plan
from jobs.publish import publish
from jobs.registry import open_registry
from jobs.rescore import score_partition
from jobs.status import status
from jobs.table import LOG, predictions_path, published, rejected_path
from lamplighter.backfill_run import run_here

DAY, NEXT = "2026-01-16", "2026-01-17"


def deliver(shop: Any, rejected: int, day: str = DAY) -> None:
    """Rows of which so many are without a key."""
    rows = pd.read_parquet(shop.sales(day))
    rows.loc[: rejected - 1, "toy_id"] = None
    shop.write_sales(day, rows)


def beside(shop: Any) -> Path:
    return Path(str(rejected_path(shop.settings, shop.job(DAY).spec)))


def table(shop: Any) -> Path:
    return Path(str(predictions_path(shop.settings, shop.job(DAY).spec)))


def rejected(shop: Any) -> int:
    return len(DeltaTable(beside(shop)).to_pandas())


def planned(shop: Any, day: str = DAY) -> Any:
    (found,) = plan_backfill(shop.settings, open_registry(shop.settings), "toys", day, day).partitions
    return found


@pytest.fixture
def five_rejected(open_shop: Any) -> Any:
    """A world with a publication that rejected five rows."""
    deliver(open_shop, 5)
    score_partition(open_shop.job(DAY))
    return open_shop


def test_rejected_rows_that_are_gone_for_good_are_published_anew(
    five_rejected: Any, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(beside(five_rejected))
    found = planned(five_rejected)
    assert (found.state, found.why) == (
        State.missing,
        "The table toys_rejected does not hold the rows that it rejected.",
    )
    told = status(five_rejected.settings, open_registry(five_rejected.settings))["models"]["toys"]["altered"]
    assert told == {DAY: found.why}
    assert not score_partition(five_rejected.job(DAY, "again")).unchanged
    assert "toys 2026-01-16 is to be published anew: 1 file of the rows that toys 2026-01-16 rejected" in caplog.text
    assert rejected(five_rejected) == 5
    assert planned(five_rejected).state is State.current


def test_rejected_rows_that_are_gone_in_the_moment_of_a_publication_are_a_sentence(five_rejected: Any) -> None:
    job = five_rejected.job(DAY)
    [file] = beside(five_rejected).glob("partition=*/*.parquet")
    shutil.rmtree(beside(five_rejected) / LOG)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(Rejected, match="rejected are gone from toys_rejected, or cut off: run it again from its plan"):
        follow(job)


@pytest.mark.parametrize("harm", ["delete", "restore"])
def test_rejected_rows_that_another_tool_took_away_come_back(five_rejected: Any, harm: str) -> None:
    there = DeltaTable(beside(five_rejected))
    there.delete() if harm == "delete" else there.restore(0)
    assert rejected(five_rejected) == 0
    assert planned(five_rejected).state is State.missing
    assert score_partition(five_rejected.job(DAY, "again")).unchanged  # its files are there
    assert rejected(five_rejected) == 5
    assert planned(five_rejected).state is State.current


def test_rejected_rows_that_another_tool_has_brought_back_are_left_alone(five_rejected: Any) -> None:
    version = DeltaTable(beside(five_rejected)).version()
    DeltaTable(beside(five_rejected)).delete()
    DeltaTable(beside(five_rejected)).restore(version)
    assert planned(five_rejected).state is State.current
    assert score_partition(five_rejected.job(DAY, "again")).unchanged
    assert (DeltaTable(beside(five_rejected)).version(), rejected(five_rejected)) == (version + 2, 5)


def test_rejected_rows_that_another_tool_put_together_are_left_alone(open_shop: Any) -> None:
    for day in (DAY, NEXT):
        deliver(open_shop, 4, day)
        rows = pd.read_parquet(open_shop.sales(day))
        for part in range(2):
            open_shop.write_sales(day, rows.iloc[part::2], f"part-{part}.parquet")
        score_partition(open_shop.job(day))
    assert DeltaTable(beside(open_shop)).optimize.compact()["numFilesRemoved"] == 4
    version = DeltaTable(beside(open_shop)).version()
    found = plan_backfill(open_shop.settings, open_registry(open_shop.settings), "toys", DAY, NEXT).partitions
    assert [p.state for p in found] == [State.current] * 2
    assert score_partition(open_shop.job(DAY, "again")).unchanged
    assert DeltaTable(beside(open_shop)).version() == version


@pytest.mark.parametrize("now", [5, 0])
def test_rejected_rows_follow_a_table_that_was_begun_afresh(five_rejected: Any, now: int) -> None:
    """That of the rejected rows has a number of before, which is as high, and rows of before."""
    deliver(five_rejected, 6)
    score_partition(five_rejected.job(DAY, "second"))
    shutil.rmtree(table(five_rejected))
    rows = pd.read_parquet(five_rejected.sales(NEXT))
    five_rejected.write_sales(DAY, rows)
    deliver(five_rejected, now)
    assert score_partition(five_rejected.job(DAY, "afresh")).publication.rows_rejected == now
    assert rejected(five_rejected) == now
    assert planned(five_rejected).state is State.current


def test_one_partition_that_ends_with_a_stack_trace_does_not_end_a_backfill(
    open_shop: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from jobs import rescore

    score = rescore.score_partition

    def fails_once(job: Any, selector: str) -> Any:
        return score(job, selector) if job.partition.key != DAY else 1 / 0

    monkeypatch.setattr(rescore, "score_partition", fails_once)
    plan = plan_backfill(open_shop.settings, open_registry(open_shop.settings), "toys", DAY, NEXT)
    outcomes = run_here(open_shop.settings, plan, "backfill", lambda _: None)
    assert [(o.partition, o.done) for o in outcomes] == [(DAY, False), (NEXT, True)]
    assert outcomes[0].said == "ZeroDivisionError: division by zero (the log has the rest)"
    assert "Traceback" in caplog.text


def cut_off(path: Path) -> None:
    path.write_bytes(b"")


def another_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [cut_off, another_byte])
@pytest.mark.parametrize("which", [0, 1])
def test_scores_that_are_changed_after_they_were_judged_are_not_published(
    open_shop: Any, which: int, harm: Any
) -> None:
    rows = pd.read_parquet(open_shop.sales(DAY))
    for part in range(2):
        open_shop.write_sales(DAY, rows.iloc[part::2], f"part-{part}.parquet")
    job = open_shop.prepare(DAY)
    files = sorted(table(open_shop).glob("partition=*/*.parquet"), key=lambda path: path.name.split("-")[2])
    harm(files[which])
    said = r"partition=2026-01-16/\S+ of toys was changed after the output gate had read it: run score and output-gate"
    with pytest.raises(Rejected, match=said):
        publish(job)
    assert not published(table(open_shop))
    assert score_partition(open_shop.job(DAY)).publication.rows_scored == 120


def test_scores_that_are_cut_off_before_they_are_judged_are_a_sentence(open_shop: Any) -> None:
    job = open_shop.prepare(DAY)
    [file] = table(open_shop).glob("partition=*/*.parquet")
    cut_off(file)
    with pytest.raises(Rejected, match="are gone from the table's folder, or broken: run score and output-gate again"):
        output_gate(job)


def test_a_log_that_somebody_has_cut_is_a_sentence(five_rejected: Any) -> None:
    for name in (1, 2):
        deliver(five_rejected, name)
        score_partition(five_rejected.job(DAY, str(name)))
    there = DeltaTable(table(five_rejected))
    there.create_checkpoint()
    for version in range(there.version() + 1):
        (table(five_rejected) / LOG / f"{version:020d}.json").unlink()
    for work in (
        lambda: score_partition(five_rejected.job(DAY, "again")),
        lambda: planned(five_rejected),
        lambda: diff(five_rejected.job(DAY)),
    ):
        with pytest.raises(
            Misconfigured, match="The log of the table toys lacks commits that another tool has removed"
        ):
            work()


def test_a_commit_that_is_cut_off_is_a_sentence(five_rejected: Any) -> None:
    newest = max((table(five_rejected) / LOG).glob("*.json"))
    newest.write_text(newest.read_text()[:40])
    with pytest.raises(Misconfigured, match="toys cannot be opened as a Delta table"):
        score_partition(five_rejected.job(DAY, "again"))


def test_what_another_tool_has_vacuumed_cannot_be_compared(five_rejected: Any) -> None:
    deliver(five_rejected, 6)
    made = score_partition(five_rejected.job(DAY, "second")).publication
    DeltaTable(table(five_rejected)).vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(Misconfigured, match="A file of toys 2026-01-16 is gone from its table's folder"):
        diff(five_rejected.job(DAY))
    for path in table(five_rejected).glob("partition=*/*.parquet"):
        path.unlink()
    with pytest.raises(Misconfigured, match="A file of toys 2026-01-16 is gone from its table's folder"):
        find_row(five_rejected.settings, five_rejected.job(DAY).spec, made, ["016-9"])


def test_columns_that_another_tool_has_added_stay(five_rejected: Any) -> None:
    DeltaTable(table(five_rejected)).alter.add_columns([Field("remark", PrimitiveType("string"))])
    added = pa.table({"toy_id": ["x"], "score": [0.5], "model_version": pa.array([1], pa.int32())})
    added = added.append_column("partition", pa.array(["2020-01-01"])).append_column("remark", pa.array(["mine"]))
    write_deltalake(table(five_rejected), added, mode="append")
    score_partition(five_rejected.job(NEXT))
    rows = DeltaTable(table(five_rejected)).to_pandas()
    assert rows[rows["partition"] == "2020-01-01"]["remark"].tolist() == ["mine"]
    assert (rows["partition"] == NEXT).sum() == 120


@pytest.mark.parametrize("what", ["a CHECK constraint", "append-only"])
@pytest.mark.parametrize("which", ["toys", "toys_rejected"])
def test_a_table_that_another_tool_has_closed_is_refused_before_anything_is_scored(
    five_rejected: Any, what: str, which: str
) -> None:
    alter = DeltaTable(table(five_rejected).parent / which).alter
    if what == "append-only":
        alter.set_table_properties({"delta.appendOnly": "true"})
    else:
        alter.add_constraint({"sure": "partition <> 'x'"})
    with pytest.raises(Misconfigured, match=f"^{which} (has a CHECK constraint|is append-only)"):
        plan(five_rejected.job(NEXT))
    assert plan(five_rejected.job(DAY)).published
