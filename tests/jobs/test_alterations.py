"""What was changed behind our back is noticed: the table by other tools, the spec while a plan is made."""

import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from conftest import SPEC
from deltalake import DeltaTable, write_deltalake

from jobs.alterations import Alterations
from jobs.backfill import State, plan_backfill
from jobs.errors import Unavailable
from jobs.plan import Plan, plan
from jobs.registry import open_registry
from jobs.rescore import score_partition
from jobs.status import status
from jobs.table import LOG, newest_first, predictions_path
from model_registry.steps import listen

DAY, NEXT = "2026-01-16", "2026-01-17"
SELECTIVE = SPEC.replace("at_most: 1000}", "at_most: 30}").replace("reject_budget: 0.05", "reject_budget: 1")


def table_of(shop: Any) -> DeltaTable:
    return DeltaTable(str(predictions_path(shop.settings, shop.job(DAY).spec)))


def seen(shop: Any, day: str = DAY) -> int:
    frame = table_of(shop).to_pandas()
    return int((frame["partition"] == day).sum())


def test_rows_that_another_tool_removed_are_published_anew(open_shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    score_partition(open_shop.job(DAY))
    score_partition(open_shop.job(NEXT))
    table_of(open_shop).delete(f"partition = '{DAY}'")
    assert seen(open_shop) == 0
    (found,) = plan_backfill(open_shop.settings, open_registry(open_shop.settings), "toys", DAY, DAY).partitions
    assert (found.state, found.chosen) == (State.missing, True)
    assert found.why == "Another tool changed it after it was published, with DELETE in table version 3."
    told = status(open_shop.settings, open_registry(open_shop.settings))["models"]["toys"]["altered"]
    assert told == {DAY: found.why}
    assert not score_partition(open_shop.job(DAY, "again")).unchanged
    assert seen(open_shop) == 120
    assert f"toys {DAY} is published anew: Another tool changed it" in caplog.text
    assert score_partition(open_shop.job(DAY, "and again")).unchanged


def test_what_another_tool_restored_is_published_anew(open_shop: Any) -> None:
    first = score_partition(open_shop.job(DAY)).publication.table_version
    frame = open_shop.sales(DAY) / "part-0.parquet"
    open_shop.write_sales(DAY, pd.read_parquet(frame).head(100))
    score_partition(open_shop.job(DAY, "second"))
    table_of(open_shop).restore(first)
    assert seen(open_shop) == 120
    assert not score_partition(open_shop.job(DAY, "third")).unchanged
    assert seen(open_shop) == 100


@pytest.mark.parametrize("how", ["update", "merge"])
def test_scores_that_another_tool_changed_are_published_anew(open_shop: Any, how: str) -> None:
    for day in (DAY, NEXT):
        score_partition(open_shop.job(day))
    table = table_of(open_shop)
    if how == "update":
        table.update({"score": "0.5"}, predicate=f"partition = '{DAY}'")
    else:
        rows = pa.table(table.to_pyarrow_table().filter(pc.field("partition") == DAY))
        source = rows.set_column(rows.column_names.index("score"), "score", pa.array([0.5] * len(rows)))
        merged = table.merge(source, "t.toy_id = s.toy_id", source_alias="s", target_alias="t")
        merged.when_matched_update({"score": "s.score"}).execute()
    told = status(open_shop.settings, open_registry(open_shop.settings))["models"]["toys"]["altered"]
    assert list(told) == [DAY]
    assert f"with {how.upper()} in table version" in told[DAY]
    assert score_partition(open_shop.job(NEXT, "again")).unchanged
    assert not score_partition(open_shop.job(DAY, "again")).unchanged
    frame = table_of(open_shop).to_pandas()
    assert frame.loc[frame["partition"] == DAY, "score"].nunique() > 10


def test_rows_that_another_tool_added_are_noticed(open_shop: Any) -> None:
    score_partition(open_shop.job(DAY))
    table = table_of(open_shop)
    write_deltalake(table, pa.table(table.to_pyarrow_table().slice(0, 3)), mode="append")
    (found,) = plan_backfill(open_shop.settings, open_registry(open_shop.settings), "toys", DAY, DAY).partitions
    assert found.why == "Another tool changed it after it was published, with WRITE in table version 2."
    score_partition(open_shop.job(DAY, "again"))
    assert seen(open_shop) == 120


def test_as_many_rows_that_another_tool_wrote_over_them_are_noticed(open_shop: Any) -> None:
    for day in (DAY, NEXT):
        score_partition(open_shop.job(day))
    table = table_of(open_shop)
    rows = pa.table(table.to_pyarrow_table().filter(pc.field("partition") == DAY))
    others = rows.set_column(rows.column_names.index("score"), "score", pa.array([0.5] * len(rows)))
    write_deltalake(table, others, mode="overwrite", predicate=f"partition = '{DAY}'")
    assert seen(open_shop) == 120
    told = status(open_shop.settings, open_registry(open_shop.settings))["models"]["toys"]["altered"]
    assert told == {DAY: "Another tool changed it after it was published, with WRITE in table version 3."}
    assert score_partition(open_shop.job(NEXT, "again")).unchanged
    assert not score_partition(open_shop.job(DAY, "again")).unchanged
    assert status(open_shop.settings, open_registry(open_shop.settings))["models"]["toys"].get("altered") is None


@pytest.mark.parametrize(
    ("removed", "noticed"),
    [
        ({"path": f"partition={DAY}/x.parquet", "dataChange": True}, [DAY]),
        ({"path": "7f/x.parquet", "dataChange": True, "partitionValues": {"partition": NEXT}}, [NEXT]),
        ({"path": "7f/x.parquet", "dataChange": True}, [DAY, NEXT]),
        ({"path": "7f/x.parquet", "dataChange": False}, []),
    ],
)
def test_a_file_that_is_removed_may_say_little_of_itself(
    open_shop: Any, removed: dict[str, Any], noticed: list[str]
) -> None:
    there = [score_partition(open_shop.job(day)).publication for day in (DAY, NEXT)]
    path = predictions_path(open_shop.settings, open_shop.job(DAY).spec)
    lines = [{"commitInfo": {"timestamp": 1, "operation": "ODD"}}, {"remove": removed | {"deletionTimestamp": 1}}]
    (path / LOG / f"{3:020d}.json").write_text("\n".join(map(json.dumps, lines)))
    table = table_of(open_shop)
    assert table.version() == 3
    altered = Alterations(table, path, newest_first(table, path))
    assert [publication.partition for publication in there if altered.of(publication)] == noticed


def test_what_only_moves_rows_changes_nothing(open_shop: Any) -> None:
    score_partition(open_shop.job(DAY))
    score_partition(open_shop.job(NEXT))
    table = table_of(open_shop)
    table.optimize.compact()
    table.optimize.z_order(["score"])
    assert "altered" not in status(open_shop.settings, open_registry(open_shop.settings))["models"]["toys"]
    assert score_partition(open_shop.job(DAY, "again")).unchanged


@pytest.mark.parametrize("at", ["before the plan", "plan:resolved"])
def test_a_spec_that_is_changed_while_a_plan_is_made_is_planned_with_again(open_shop: Any, at: str) -> None:
    job = open_shop.job(DAY)

    def change(step: str) -> None:
        if step == at:
            open_shop.write_model(SELECTIVE)

    change("before the plan")
    listen(change)
    try:
        with pytest.raises(Unavailable, match=r"changed while 2026-01-16 was planned: run plan again\."):
            plan(job)
    finally:
        listen(None)
    assert job.recalled("plan", Plan) is None
    done = score_partition(open_shop.job(DAY)).publication
    assert done.rows_rejected > 60
    assert score_partition(open_shop.job(DAY, "again")).unchanged


def test_a_table_that_another_tool_has_emptied(open_shop: Any) -> None:
    score_partition(open_shop.job(DAY))
    table_of(open_shop).delete()
    (found,) = plan_backfill(open_shop.settings, open_registry(open_shop.settings), "toys", DAY, DAY).partitions
    assert (found.state, found.why) == (
        State.missing,
        "Another tool changed it after it was published, with DELETE in table version 2.",
    )
    assert not score_partition(open_shop.job(DAY, "again")).unchanged
    assert seen(open_shop) == 120


def test_what_is_published_while_one_looks_is_not_taken_for_altered(open_shop: Any) -> None:
    score_partition(open_shop.job(DAY))
    before = table_of(open_shop)
    later = score_partition(open_shop.job(NEXT)).publication
    path = predictions_path(open_shop.settings, open_shop.job(DAY).spec)
    assert Alterations(before, path, before.history()).of(later) == ""
