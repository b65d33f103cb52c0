"""A challenger in the shadow scores what production scores, beside it, and can neither hold it up nor change it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import SHADOWED, SPEC, Shop
from deltalake import DeltaTable

from jobs.as_published import AsPublished
from jobs.diff import diff
from jobs.errors import Misconfigured
from jobs.input_gate import input_gate
from jobs.lineage_row import find_row
from jobs.moves import Wish, archive
from jobs.plan import Plan, plan
from jobs.predictor import load_predictor
from jobs.publish import publish
from jobs.registry import open_registry
from jobs.rescore import score_partition
from jobs.score import score
from jobs.sweep import named_files, tables_of
from jobs.table import predictions_path, published, shadow_path
from jobs.treat import treat
from jobs.vacuum import vacuum
from model_registry.steps import listen

DAY, NEXT = "2026-01-16", "2026-01-17"


def rows(shop: Shop, where: Any = predictions_path, day: str = DAY) -> pd.DataFrame:
    table = DeltaTable(where(shop.settings, shop.job(day).spec)).to_pandas()
    return table[table["partition"] == day].sort_values("toy_id", ignore_index=True)


def by_hand(shop: Shop, version: int, day: str = DAY) -> pd.Series:
    """The scores of scikit-learn's pipeline by key."""
    job = shop.job(day)
    digest = open_registry(shop.settings).store.version("toys", version).digest
    table = pa.Table.from_pandas(pd.read_parquet(shop.sales(day)), preserve_index=False)
    treated = treat(table, job.spec, "rows")
    scores = load_predictor(str(shop.settings.cache / digest)).score(treated.features[treated.good])
    return pd.Series(scores, [k for k, good in zip(table["toy_id"].to_pylist(), treated.good, strict=True) if good])


def spoil(shop: Shop, count: int = 3) -> None:
    frame = pd.read_parquet(shop.sales(DAY))
    frame.loc[: count - 1, "price"] = -1.0
    shop.write_sales(DAY, frame)


def test_a_shadow_whose_file_is_lost_holds_nobody_up(challenged: Shop, caplog: pytest.LogCaptureFixture) -> None:
    job = challenged.prepare(DAY)
    [file] = (Path(str(shadow_path(challenged.settings, job.spec))) / f"partition={DAY}").glob("*.parquet")
    file.unlink()
    assert publish(job).publication.rows_scored == 120
    assert "1 file in toys_shadow are gone or cut off: the shadow goes without them" in caplog.text
    assert not len(rows(challenged, shadow_path))
    assert score_partition(challenged.job(DAY, "again")).unchanged


def test_what_another_tool_took_from_the_shadow_comes_back(challenged: Shop) -> None:
    score_partition(challenged.job(DAY))
    DeltaTable(shadow_path(challenged.settings, challenged.job(DAY).spec)).delete()
    seen = AsPublished(challenged.settings, challenged.job(DAY).spec)
    assert seen.why_not(seen.publications[-1]) == "The table toys_shadow does not hold the scores of its shadow."
    assert score_partition(challenged.job(DAY, "again")).unchanged
    assert len(rows(challenged, shadow_path)) == 120


def test_both_versions_score_every_row_and_readers_of_production_see_one(challenged: Shop) -> None:
    spoil(challenged)
    result = score_partition(challenged.job(DAY))
    for version, where in ((1, predictions_path), (2, shadow_path)):
        found, expected = rows(challenged, where), by_hand(challenged, version)
        assert len(found) == 117
        assert set(found["model_version"]) == {version}
        assert np.array_equal(found["score"].to_numpy(), expected[found["toy_id"]].to_numpy())
    assert result.publication.version == 1
    assert result.publication.shadow is not None
    assert result.publication.shadow.version == 2
    assert "and in the shadow by version 2" in challenged.job(DAY).recall("plan", Plan).sentence()


@pytest.mark.parametrize("engine", ["local", "dask"])
def test_the_shadow_changes_no_byte_of_the_content(challenged: Shop, engine: str) -> None:
    job = challenged.job(DAY)
    with_it = score_partition_on(challenged, engine, "with").publication
    assert len(rows(challenged, shadow_path)) == 120
    challenged.write_model(SPEC)
    without = score_partition_on(challenged, "local", "without").publication
    assert without.shadow is None
    assert with_it.content == without.content
    assert job.spec.shadow


def score_partition_on(shop: Shop, engine: str, run: str) -> Any:
    from jobs.output_gate import output_gate

    job = shop.job(DAY, run)
    plan(job)
    input_gate(job)
    score(job, engine)
    output_gate(job)
    return publish(job)


def test_without_a_version_in_staging_the_plan_says_so_and_production_goes_on(open_shop: Shop) -> None:
    open_shop.write_model(SHADOWED)
    result = score_partition(open_shop.job(DAY))
    assert result.publication.shadow is None
    assert "No shadow: toys has no version in staging." in open_shop.job(DAY).recall("plan", Plan).sentence()
    assert not shadow_path(open_shop.settings, open_shop.job(DAY).spec).exists()


def test_a_challenger_that_has_seen_the_partition_does_not_score_it(challenged: Shop) -> None:
    job = challenged.job("2026-01-15")
    score_partition(job)
    assert "has seen data up to 2026-01-16" in job.recall("plan", Plan).no_shadow
    assert published(predictions_path(challenged.settings, job.spec))["2026-01-15"].shadow is None


def test_scores_of_the_shadow_go_when_its_publication_is_replaced_by_one_without(challenged: Shop) -> None:
    score_partition(challenged.job(DAY))
    score_partition(challenged.job(NEXT))
    spoil(challenged)
    challenged.write_model(SPEC)
    score_partition(challenged.job(DAY, "again"))
    assert rows(challenged, shadow_path).empty
    assert len(rows(challenged, shadow_path, NEXT)) == 120


class PowerCut(BaseException):
    """The end, just there."""


@pytest.mark.parametrize("at", ["publish:committed", "publish:prepared", "score:recorded", "score:kept"])
def test_after_a_power_cut_the_next_run_has_both_and_leaves_nothing_behind(challenged: Shop, at: str) -> None:
    def happen(name: str) -> None:
        if name == at:
            listen(None)
            raise PowerCut

    listen(happen)
    with pytest.raises(PowerCut):
        score_partition(challenged.job(DAY, "cut off"))
    result = score_partition(challenged.job(DAY, "next"))
    assert result.unchanged == (at == "publish:committed")
    assert len(rows(challenged)) == len(rows(challenged, shadow_path)) == 120
    spec = challenged.job(DAY).spec
    lying = {path for table in tables_of(challenged.settings, spec) for path in table.glob("partition=*/*.parquet")}
    assert lying == named_files(challenged.settings, spec)
    assert vacuum(challenged.settings, spec).files == 0


def test_a_retry_reuses_a_fragment_only_with_its_shadow(challenged: Shop) -> None:
    job = challenged.job(DAY)
    plan(job)
    input_gate(job)
    first = score(job)
    assert [f.reused for f in score(job).fragments] == [True]
    lost = first.fragments[0].shadow
    assert lost is not None
    (shadow_path(challenged.settings, job.spec) / lost.path).unlink()
    again = score(job)
    assert [f.reused for f in again.fragments] == [False]
    assert again.shadow == 2


def test_fragments_that_were_scored_without_the_shadow_are_not_completed(
    challenged: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = challenged.job(DAY)
    plan(job)
    input_gate(job)
    with monkeypatch.context() as patch:
        patch.setattr("jobs.score._shadow", lambda *_: (None, "the registry is away"))
        assert score(job).shadow_fault == "the registry is away"
    again = score(job)
    assert again.shadow is None
    assert "without it" in again.shadow_fault


def test_the_same_partition_again_is_published_already_whoever_is_in_staging(challenged: Shop) -> None:
    challenged.write_model(SHADOWED)
    assert score_partition(challenged.job(DAY)).publication.shadow is not None
    wish = Wish(challenged.settings, "toys", "worse in the shadow", version="2")
    archive(wish)
    assert score_partition(challenged.job(DAY, "again")).unchanged
    assert score_partition(challenged.job(NEXT)).publication.shadow is None


def test_diff_and_lineage_tell_production_and_shadow_apart(challenged: Shop) -> None:
    job = challenged.job(DAY)
    made = score_partition(job).publication
    found = diff(job, shadow=True)
    old, new = by_hand(challenged, 1), by_hand(challenged, 2)
    assert (found.rows_changed, found.rows_same) == (int((old != new).sum()), int((old == new).sum()))
    largest = (new - old[new.index]).abs().idxmax()
    assert found.movers[0].key == (largest,)
    assert found.movers[0].after == new[largest]
    assert "version 1 in production and version 2 in the shadow" in found.sentence()
    row = find_row(challenged.settings, job.spec, made, [largest])
    assert row.score == old[largest]
    assert f"In the shadow it has {new[largest]:.6g}, by version 2." in row.sentence


def test_diff_says_when_there_was_no_shadow(open_shop: Shop) -> None:
    score_partition(open_shop.job(DAY))
    with pytest.raises(Misconfigured, match="published without a shadow: with `shadow: true` in the spec"):
        diff(open_shop.job(DAY), shadow=True)
