"""Backfill plans: what is missing, failed or stale, and why; and a backfill gives the very bytes of the schedule."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SPEC

from jobs.backfill import BackfillPlan, State, plan_backfill, throughput
from jobs.context import COMMAND_LINE
from jobs.errors import LamplighterError, Misconfigured, Unavailable
from jobs.registry import open_registry
from jobs.rescore import rescore, score_partition
from jobs.table import predictions_path, published, rejected_path
from lamplighter.backfill_run import by_hand, ranges, run_here

FIRST, LAST = "2026-01-15", "2026-01-18"


def planned(shop: Any, first: str = FIRST, last: str = LAST, **options: Any) -> BackfillPlan:
    return plan_backfill(shop.settings, open_registry(shop.settings), "toys", first, last, **options)


def states(plan: BackfillPlan) -> list[str]:
    return [p.state.value for p in plan.partitions]


def restate(shop: Any, partition: str, rows: pd.DataFrame) -> None:
    shop.write_sales(partition, rows)


def test_every_partition_of_the_range_has_its_state_and_its_reason(open_shop: Any) -> None:
    for day in ("2026-01-15", "2026-01-16", "2026-01-17"):
        score_partition(open_shop.job(day))
    rows = pd.read_parquet(open_shop.sales("2026-01-16"))
    restate(open_shop, "2026-01-16", rows.head(100))
    open_shop.retrain("2026-01-16")
    broken = pd.read_parquet(open_shop.sales("2026-01-19"))
    broken.loc[:40, "price"] = -1.0
    restate(open_shop, "2026-01-19", broken)
    with pytest.raises(LamplighterError, match="within the budget"):
        score_partition(open_shop.job("2026-01-19"))
    plan = planned(open_shop, "2026-01-14", "2026-01-25")
    found = {p.partition: p for p in plan.partitions}
    assert states(plan) == [
        "refused",
        "current",
        "stale-input",
        "stale-model",
        "missing",
        "failed",
        *["missing"] * 5,
        "no-input",
    ]
    assert "no version in production at 2026-01-14" in found["2026-01-14"].why
    assert "(120 rows, now 100)" in found["2026-01-16"].why
    assert found["2026-01-17"].why == "Version 1 is to be replaced by version 2."
    assert "rejected rows are within the budget" in found["2026-01-19"].why
    assert "expected Parquet files in day=2026-01-25" in found["2026-01-25"].why
    assert [p.partition for p in plan.chosen] == [f"2026-01-{d}" for d in range(16, 25)]
    assert plan.rows == 100 + 8 * 120
    assert "1 stale input" in plan.sentence()
    assert "9 partitions are to be scored, 1,060 rows, about" in plan.sentence()


def test_the_leak_guard_refuses_and_explains(open_shop: Any) -> None:
    (guarded, fine) = planned(open_shop, "2026-01-13", "2026-01-14", selector="1").partitions
    assert guarded.state is State.refused
    assert (
        "has seen data up to 2026-01-14 00:00 UTC and cannot score a partition that begins at 2026-01-13" in guarded.why
    )
    assert fine.state is State.missing


def test_a_version_may_be_pinned_by_its_name_or_be_the_one_in_production(open_shop: Any) -> None:
    open_shop.retrain("2026-01-16")
    for selector, versions in {"as-of": [1, 1, 2, 2], "production": [None, 2, 2, 2], "1.0.0": [1, 1, 1, 1]}.items():
        assert [p.version for p in planned(open_shop, selector=selector).partitions] == versions


@pytest.mark.parametrize(
    ("selector", "says"),
    [("9", "toys.* 9"), ("9.9.9", "toys has no version 9.9.9"), ("newest", "No version is called")],
)
def test_a_version_that_there_is_not_is_no_state_of_a_partition(open_shop: Any, selector: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        planned(open_shop, selector=selector)


def test_other_code_alone_restates_only_on_request(open_shop: Any) -> None:
    score_partition(open_shop.job(FIRST))
    pipeline = open_shop.settings.models / "toys" / "pipeline.py"
    pipeline.write_text(pipeline.read_text() + "\n# a comment\n")
    (found,) = planned(open_shop, FIRST, FIRST).partitions
    assert (found.state, found.chosen) == (State.stale_code, False)
    (found,) = planned(open_shop, FIRST, FIRST, only=[State.stale_code]).partitions
    assert found.chosen


def test_a_partition_is_chosen_by_any_of_its_states(open_shop: Any) -> None:
    day = "2026-01-17"
    score_partition(open_shop.job(day))
    restate(open_shop, day, pd.read_parquet(open_shop.sales(day)).head(100))
    open_shop.retrain("2026-01-16")
    for wanted in (State.stale_model, State.stale_input):
        (found,) = planned(open_shop, day, day, only=[wanted]).partitions
        assert (found.state, found.chosen) == (State.stale_model, True)
        assert found.why == (
            "Version 1 is to be replaced by version 2; the input was delivered anew (120 rows, now 100)."
        )
    for other in (State.missing, State.failed, State.stale_code):
        assert not planned(open_shop, day, day, only=[other]).chosen
    open_shop.write_sales(day, pd.read_parquet(open_shop.sales(day)).assign(toy_id="x"))
    with pytest.raises(LamplighterError, match="keys are unique"):
        score_partition(open_shop.job(day))
    for wanted in (State.stale_model, State.stale_input, State.failed):
        (found,) = planned(open_shop, day, day, only=[wanted]).partitions
        assert (found.state, found.chosen) == (State.failed, True)


def test_a_restated_partition_whose_newest_run_was_rejected_has_failed(open_shop: Any) -> None:
    score_partition(open_shop.job(FIRST))
    rows = pd.read_parquet(open_shop.sales(FIRST))
    restate(open_shop, FIRST, pd.concat([rows, rows.head(2)]))
    with pytest.raises(LamplighterError, match="keys are unique"):
        score_partition(open_shop.job(FIRST))
    (found,) = planned(open_shop, FIRST, FIRST).partitions
    assert found.state is State.failed
    assert "keys are unique" in found.why
    restate(open_shop, FIRST, rows.head(90))
    score_partition(open_shop.job(FIRST))
    assert states(planned(open_shop, FIRST, FIRST)) == ["current"]


def test_how_long_it_takes_is_measured_over_earlier_publications(open_shop: Any) -> None:
    assert planned(open_shop).seconds is None
    for day in (FIRST, LAST):
        score_partition(open_shop.job(day))
    table = predictions_path(open_shop.settings, open_shop.job(FIRST).spec)
    measured = [p.seconds for p in published(table).values()]
    assert all(seconds is not None and 0 < seconds < 60 for seconds in measured)
    plan = planned(open_shop)
    assert plan.measured == 2
    assert plan.seconds == pytest.approx(np.median(measured) / 120 * 240)
    assert throughput([]) == (None, 0)


@pytest.mark.parametrize(
    ("first", "last", "says"),
    [("2026-01-18", "2026-01-15", "exchange them"), ("1500-01-01", "2026-01-15", "take a shorter range")],
)
def test_a_range_that_cannot_be_is_refused(open_shop: Any, first: str, last: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        planned(open_shop, first, last)


def test_a_plan_scores_nothing_and_leaves_no_file(open_shop: Any) -> None:
    score_partition(open_shop.job(FIRST))
    before = {p: p.stat().st_mtime_ns for p in open_shop.settings.home.rglob("*") if p.is_file()}
    planned(open_shop)
    after = {p: p.stat().st_mtime_ns for p in open_shop.settings.home.rglob("*") if p.is_file()}
    assert {p: t for p, t in after.items() if p.suffix != ".db"} == {
        p: t for p, t in before.items() if p.suffix != ".db"
    }


def test_only_the_chosen_partitions_are_scored_and_a_failure_stops_no_other_one(open_shop: Any) -> None:
    score_partition(open_shop.job("2026-01-16"))
    rows = pd.read_parquet(open_shop.sales("2026-01-17")).assign(price=-1.0)
    restate(open_shop, "2026-01-17", rows)
    table = predictions_path(open_shop.settings, open_shop.job(FIRST).spec)
    before = published(table)["2026-01-16"].table_version
    outcomes = run_here(open_shop.settings, planned(open_shop), "backfill", lambda _: None)
    assert [(o.partition, o.done) for o in outcomes] == [(FIRST, True), ("2026-01-17", False), (LAST, True)]
    assert published(table)["2026-01-16"].table_version == before
    assert states(planned(open_shop)) == ["current", "current", "failed", "current"]


def test_a_backfilled_partition_equals_the_scheduled_one_byte_for_byte(
    open_shop: Any, trained_home: Path, tmp_path: Path
) -> None:
    import shutil

    from jobs.settings import Settings

    shutil.copytree(open_shop.root, tmp_path / "other")
    variables = {
        "LAMPLIGHTER_HOME": str(tmp_path / "other" / "home"),
        "LAMPLIGHTER_MODELS": str(tmp_path / "other" / "models"),
    }
    other = Settings.from_environment(variables)
    rows = pd.read_parquet(open_shop.sales(LAST))
    rows.loc[0, "price"] = -1.0
    for settings in (open_shop.settings, other):
        folder = settings.data / "sales" / f"day={LAST}"
        rows.to_parquet(folder / "part-0.parquet", index=False, row_group_size=50)
    score_partition(open_shop.job(LAST, f"score_toys scheduled__{LAST}"))
    open_shop.retrain("2026-01-19")
    rescore(other, "toys", [FIRST, LAST], f"backfill__{LAST}")  # months later, in another order
    spec = open_shop.job(LAST).spec
    for path in (predictions_path, rejected_path):
        scheduled, backfilled = (
            [p.read_bytes() for p in sorted((path(settings, spec) / f"partition={LAST}").glob("*.parquet"))]
            for settings in (open_shop.settings, other)
        )
        assert scheduled == backfilled
        assert len(scheduled) == 1


def test_ranges_have_no_gap_and_the_form_is_told_the_same(open_shop: Any) -> None:
    score_partition(open_shop.job("2026-01-17"))
    spec, plan = open_shop.job(FIRST).spec, planned(open_shop)
    groups = ranges(spec.source.calendar, [p.partition for p in plan.chosen])
    assert [[p.key for p in group] for group in groups] == [["2026-01-15", "2026-01-16"], ["2026-01-18"]]
    open_shop.write_model(spec=(open_shop.settings.models / "toys" / "model.yaml").read_text() + SCHEDULES)
    lines = "\n".join(by_hand(open_shop.job(FIRST).spec, plan))
    assert "Backfill: from 2026-01-15 00:00 to 2026-01-16 00:00" in lines
    assert "Partition 2026-01-18, Version as-of" in lines


SCHEDULES = """\
schedules:
  score: {cron: "0 0 * * *", partition: begins}
"""


def test_what_is_to_come_is_left_to_the_schedule(open_shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    open_shop.write_model(SPEC + 'schedules: {score: {cron: "0 2 * * *", partition: ended}}\n')

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2026, 1, 17, 9, tzinfo=tz)

    monkeypatch.setattr("jobs.backfill.datetime", Clock)
    plan = planned(open_shop, "2026-01-16", "2026-01-17")
    assert states(plan) == ["missing", "no-input"]
    assert plan.partitions[1].why == "It has not ended yet, and is left to the schedule."


def test_a_source_that_does_not_answer_is_no_refusal(open_shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise Unavailable("The database does not answer.")

    for name in ("jobs.backfill.resolve", "jobs.backfill.find_input"):
        with monkeypatch.context() as patch:
            patch.setattr(name, away)
            with pytest.raises(Unavailable, match="does not answer"):
                planned(open_shop)


def test_the_end_of_time_is_a_sentence(open_shop: Any) -> None:
    with pytest.raises(Misconfigured, match="--to 9999-12-30 is at the end of time"):
        planned(open_shop, "9999-12-30", "9999-12-30")


def test_a_run_that_published_and_is_cleared_from_its_plan_tells_of_it_again(open_shop: Any) -> None:
    first = score_partition(open_shop.job(FIRST, "score_toys scheduled__1"))
    cleared = score_partition(open_shop.job(FIRST, "score_toys scheduled__1"))
    assert (first.unchanged, cleared.unchanged) == (False, False)
    assert first.publication == cleared.publication
    assert score_partition(open_shop.job(FIRST, "score_toys scheduled__2")).unchanged
    assert score_partition(open_shop.job(FIRST, COMMAND_LINE)).unchanged
    assert not score_partition(open_shop.job(LAST, COMMAND_LINE)).unchanged
    assert score_partition(open_shop.job(LAST, COMMAND_LINE)).unchanged  # which is everybody's at the command line
