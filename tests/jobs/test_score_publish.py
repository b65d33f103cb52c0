"""From a plan to a publication: every row once, all or nothing, and never twice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from conftest import by_plan
from deltalake import DeltaTable

from jobs.errors import Misconfigured, Rejected, Superseded
from jobs.input_gate import input_gate
from jobs.output_gate import output_gate
from jobs.plan import Plan, plan
from jobs.predictor import load_predictor
from jobs.publish import publish
from jobs.registry import open_registry
from jobs.score import ScoreResult, score
from jobs.status import status
from jobs.table import predictions_path, published, rejected_path
from jobs.treat import treat

DAY = "2026-01-16"


def predictions(shop: Any, version: int | None = None) -> pd.DataFrame:
    table = DeltaTable(predictions_path(shop.settings, shop.job(DAY).spec), version=version)
    return table.to_pandas().sort_values(["partition", "toy_id"], ignore_index=True)


def files(shop: Any) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in shop.settings.tables.rglob("*") if p.is_file()}


def test_every_row_is_published_once_with_key_score_and_version(open_shop: Any) -> None:
    result = publish(open_shop.prepare(DAY))
    frame = predictions(open_shop)
    assert list(frame.columns) == ["toy_id", "score", "model_version", "partition"]
    assert sorted(frame["toy_id"]) == sorted(pd.read_parquet(open_shop.sales(DAY))["toy_id"])
    assert set(frame["model_version"]) == {1}
    assert (result.publication.rows_in, result.publication.rows_scored, result.publication.rows_rejected) == (
        120,
        120,
        0,
    )


def test_scores_are_those_of_the_pipeline_to_the_last_bit(open_shop: Any) -> None:
    job = open_shop.prepare(DAY)
    publish(job)
    files_of_version = open_shop.settings.cache / job.recall("plan", Plan).version.digest
    rows = pa.Table.from_pandas(pd.read_parquet(open_shop.sales(DAY)), preserve_index=False)
    features = treat(rows, job.spec, "rows").features
    expected = load_predictor(str(files_of_version)).pipeline.predict_proba(features)[:, 1]
    by_key = predictions(open_shop).set_index("toy_id")["score"]
    assert np.array_equal(by_key[rows["toy_id"].to_pylist()].to_numpy(), expected)


def test_a_second_run_with_the_same_input_writes_nothing_and_says_so(open_shop: Any) -> None:
    publish(open_shop.prepare(DAY, "first"))
    before = files(open_shop)
    result = publish(open_shop.prepare(DAY, "second"))
    assert result.unchanged
    assert "published already" in result.sentence()
    assert files(open_shop) == before


def test_changed_input_is_published_anew_and_the_old_stays_readable(open_shop: Any) -> None:
    first = publish(open_shop.prepare(DAY, "first")).publication
    changed = pd.read_parquet(open_shop.sales(DAY)).head(100)
    open_shop.write_sales(DAY, changed)
    second = publish(open_shop.prepare(DAY, "second")).publication
    assert len(predictions(open_shop)) == 100
    assert len(predictions(open_shop, first.table_version)) == 120
    assert second.input_digest != first.input_digest


def test_a_changed_row_rule_of_the_spec_is_a_reason_to_publish_anew(open_shop: Any) -> None:
    publish(open_shop.prepare(DAY, "first"))
    spec = (open_shop.settings.models / "toys" / "model.yaml").read_text()
    open_shop.write_model(spec=spec.replace("at_most: 1000", "at_most: 500"))
    assert not publish(open_shop.prepare(DAY, "second")).unchanged


def test_rejected_rows_have_a_table_of_their_own_with_reasons(open_shop: Any) -> None:
    rows = pd.read_parquet(open_shop.sales(DAY))
    rows.loc[0, "price"] = -1.0
    rows.loc[1, "price"] = np.nan
    rows.loc[2, "toy_id"] = None
    rows.loc[3, "price"] = np.inf
    open_shop.write_sales(DAY, rows)
    result = publish(open_shop.prepare(DAY)).publication
    rejected = DeltaTable(rejected_path(open_shop.settings, open_shop.job(DAY).spec)).to_pandas()
    found = {
        key if isinstance(key, str) else None: reason
        for key, reason in zip(rejected["toy_id"], rejected["reason"], strict=True)
    }
    names = list(rows["toy_id"])
    expected = {names[0]: "price:below_minimum", names[1]: "price:null", None: "null_key", names[3]: "price:infinite"}
    assert found == expected
    assert (result.rows_scored, result.rows_rejected) == (116, 4)
    assert set(rejected["partition"]) == {DAY}


def test_over_the_reject_budget_nothing_is_published(open_shop: Any) -> None:
    rows = pd.read_parquet(open_shop.sales(DAY))
    rows.loc[:20, "price"] = -1.0
    open_shop.write_sales(DAY, rows)
    job = open_shop.job(DAY)
    plan(job)
    input_gate(job)
    score(job)
    with pytest.raises(Rejected, match=r"rejected rows are within the budget FAILED.*price:below_minimum 21"):
        output_gate(job)
    with pytest.raises(Rejected, match="within the budget"):
        publish(job)
    assert published(predictions_path(open_shop.settings, job.spec)) == {}


def test_keys_that_stand_in_two_files_close_the_input_gate(open_shop: Any) -> None:
    rows = pd.read_parquet(open_shop.sales(DAY)).head(3)
    open_shop.write_sales(DAY, rows, "part-1.parquet")
    job = open_shop.job(DAY)
    plan(job)
    with pytest.raises(Rejected, match=r"keys are unique on column toy_id FAILED.*3 keys more than once"):
        input_gate(job)
    with pytest.raises(Rejected, match="closed"):
        score(job)


def test_scores_that_were_not_judged_are_not_published(open_shop: Any) -> None:
    job = open_shop.prepare(DAY)
    judged = by_plan(job).recall("score", ScoreResult)
    slept = replace(judged, fragments=(replace(judged.fragments[0], score_max=1.5),))  # while others went on
    by_plan(job).keep("score", slept)
    assert publish(job).publication.run.endswith(judged.attempt)
    open_shop.write_sales(DAY, pd.read_parquet(open_shop.sales(DAY)).head(50))
    plan(job)
    input_gate(job)
    score(job)
    with pytest.raises(Misconfigured, match="has no result of `output-gate` yet"):
        publish(job)


def test_input_that_changed_after_the_plan_is_not_scored(open_shop: Any) -> None:
    job = open_shop.job(DAY)
    plan(job)
    open_shop.write_sales(DAY, pd.read_parquet(open_shop.sales(DAY)).head(50))
    input_gate(job)
    with pytest.raises(Rejected, match="it changed in between"):
        score(job)


@pytest.mark.parametrize("published_before", [False, True])
def test_of_two_attempts_at_once_one_is_published_and_the_other_says_who_won(
    open_shop: Any, published_before: bool
) -> None:
    if published_before:
        publish(open_shop.prepare(DAY, "earlier"))
        open_shop.write_sales(DAY, pd.read_parquet(open_shop.sales(DAY)).head(110))
    one, two = open_shop.prepare(DAY, "one"), open_shop.prepare(DAY, "two")
    publish(two)
    with pytest.raises(Superseded, match="was published by version 1 in run 'two"):
        publish(one)
    assert predictions(open_shop)["toy_id"].is_unique
    assert len(predictions(open_shop)) == (110 if published_before else 120)


def test_an_attempt_that_was_overtaken_leaves_the_rejected_rows_of_the_winner(open_shop: Any) -> None:
    one = open_shop.prepare(DAY, "one")
    rows = pd.read_parquet(open_shop.sales(DAY))
    rows.loc[0, "price"] = -1.0
    open_shop.write_sales(DAY, rows)
    publish(open_shop.prepare(DAY, "two"))
    with pytest.raises(Superseded):
        publish(one)
    rejected = DeltaTable(rejected_path(open_shop.settings, one.spec)).to_pandas()
    assert rejected["reason"].tolist() == ["price:below_minimum"]


def test_keys_of_another_type_than_the_table_has_are_not_published(open_shop: Any) -> None:
    rows = pd.read_parquet(open_shop.sales("2026-01-17")).assign(toy_id=range(120))
    open_shop.write_sales("2026-01-17", rows)
    job = open_shop.job("2026-01-17")
    plan(job)
    input_gate(job)  # there is no table yet that it could hold them against
    score(job)
    publish(open_shop.prepare(DAY))
    with pytest.raises(Rejected, match="keys have one type on column toy_id FAILED"):
        output_gate(job)


def test_dictionary_keys_and_large_text_are_published_as_text(open_shop: Any) -> None:
    rows = pa.Table.from_pandas(pd.read_parquet(open_shop.sales(DAY)), preserve_index=False)
    large = rows.set_column(0, "toy_id", pc.binary_join_element_wise(rows["toy_id"], "b", "-").cast(pa.large_string()))
    open_shop.write_sales(DAY, rows.set_column(0, "toy_id", rows["toy_id"].dictionary_encode()))
    open_shop.write_sales(DAY, large, "part-1.parquet")
    publish(open_shop.prepare(DAY))
    assert predictions(open_shop)["toy_id"].nunique() == 240


@pytest.mark.parametrize("kinds", [(pa.binary(), pa.large_binary()), (pa.binary_view(), pa.binary_view())])
def test_keys_of_bytes_are_published_as_bytes(open_shop: Any, kinds: tuple[pa.DataType, ...]) -> None:
    rows = pa.Table.from_pandas(pd.read_parquet(open_shop.sales(DAY)), preserve_index=False)
    for number, kind in enumerate(kinds):
        key = pc.binary_join_element_wise(rows["toy_id"], str(number), "-").cast(kind)
        open_shop.write_sales(DAY, rows.set_column(0, "toy_id", key), f"part-{number}.parquet")
    publish(open_shop.prepare(DAY))
    assert predictions(open_shop)["toy_id"].map(type).unique() == [bytes]
    assert predictions(open_shop)["toy_id"].nunique() == 240


def test_publishing_again_after_an_answer_that_was_lost_changes_nothing_and_is_told_again(open_shop: Any) -> None:
    job = open_shop.prepare(DAY)
    first = publish(job)
    before = files(open_shop)
    assert publish(job) == first
    assert not first.unchanged
    assert files(open_shop) == before
    assert publish(open_shop.prepare(DAY, "another")).unchanged


def test_a_publication_that_was_cut_off_between_its_two_tables_is_finished_by_a_retry(
    open_shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = open_shop.prepare(DAY)
    import jobs.publish as module

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_describe", cut)
    with pytest.raises(KeyboardInterrupt):
        publish(job)
    assert published(predictions_path(open_shop.settings, job.spec)) == {}
    monkeypatch.undo()
    assert not publish(job).unchanged
    assert len(predictions(open_shop)) == 120


def test_partitions_of_one_table_do_not_disturb_each_other(open_shop: Any) -> None:
    first, second = open_shop.prepare(DAY), open_shop.prepare("2026-01-17")
    publish(second)
    publish(first)
    assert predictions(open_shop)["partition"].value_counts().to_dict() == {DAY: 120, "2026-01-17": 120}


def test_status_says_which_version_published_what(open_shop: Any) -> None:
    publish(open_shop.prepare(DAY))
    found = status(open_shop.settings, open_registry(open_shop.settings))
    row = {"version": 1, "rows_in": 120, "rows_scored": 120, "rows_rejected": 0}
    toys = {"stages": {"production": 1}, "partitions": {DAY: row}, "semver": {"production": "1.0.0"}}
    assert found == {"models": {"toys": toys}}


def test_a_partition_from_before_the_champion_is_refused_and_one_it_learned_from_too(open_shop: Any) -> None:
    with pytest.raises(Misconfigured, match="has no version in production at 2026-01-14"):
        plan(open_shop.job("2026-01-14"))
    with pytest.raises(Misconfigured, match="has seen data up to 2026-01-14 00:00 UTC"):
        plan(open_shop.job("2026-01-13"), "1")


def test_a_backfill_takes_the_version_of_its_day(open_shop: Any) -> None:
    open_shop.retrain("2026-01-19")
    assert plan(open_shop.job("2026-01-19")).version.number == 1
    assert plan(open_shop.job("2026-01-20")).version.number == 2
    assert plan(open_shop.job("2026-01-21"), "1").version.number == 1
