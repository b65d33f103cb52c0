"""A challenger in the shadow that cannot score: production is published, and the run says why."""

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import Shop, by_plan, rows_of
from deltalake import DeltaTable

from jobs.registry import open_registry
from jobs.rescore import score_partition
from jobs.score import ScoreResult
from jobs.scorer import Scorer, load_scorer
from jobs.table import predictions_path, shadow_path

DAY = "2026-01-16"


def scored(shop: Shop) -> int:
    """How many rows readers of production see."""
    return len(DeltaTable(predictions_path(shop.settings, shop.job(DAY).spec)).to_pyarrow_table())


def test_a_challenger_that_cannot_score_is_a_sentence_and_production_is_published(
    challenged: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, calls = challenged.job(DAY), []

    class NowAndThen(Scorer):
        def score(self, *arguments: Any) -> Any:
            calls.append(1)
            if len(calls) == 2:
                raise ZeroDivisionError("by the challenger, with 'secret' in row 17")
            return super().score(*arguments)

    monkeypatch.setattr("jobs.shadow.load_scorer", lambda files: NowAndThen(load_scorer(files).form))
    challenged.write_sales(DAY, rows_of(date(2027, 1, 1)), "part-1.parquet")
    result = score_partition(job)
    assert len(calls) == 2
    assert scored(challenged) == 240
    assert result.publication.shadow is None
    said = by_plan(job).recall("score", ScoreResult).sentence()
    assert "The shadow has none: ZeroDivisionError: by the challenger" in said
    assert "secret" not in said
    assert not list(shadow_path(challenged.settings, job.spec).rglob("*.parquet"))


@pytest.fixture
def its_files(challenged: Shop, tmp_path: Path) -> Iterator[Path]:
    """The challenger's files in MLflow, which all worlds share, to be spoilt; there is no copy in the cache."""
    version = open_registry(challenged.settings).store.version("toys", 2)
    shutil.rmtree(challenged.settings.cache / version.digest)
    files = Path(version.artifact_uri.removeprefix("file://"))
    shutil.copytree(files, tmp_path / "as they were")
    yield files
    shutil.rmtree(files, ignore_errors=True)
    shutil.copytree(tmp_path / "as they were", files)


def test_a_challenger_with_spoilt_files_is_left_out(challenged: Shop, its_files: Path) -> None:
    for path in its_files.rglob("features.json"):
        path.write_text("{}")
    result = score_partition(challenged.job(DAY))
    assert result.publication.shadow is None
    assert "changed after registration" in by_plan(challenged.job(DAY)).recall("score", ScoreResult).shadow_fault
    assert scored(challenged) == 120


def test_a_challenger_whose_files_are_gone_is_left_out(challenged: Shop, its_files: Path) -> None:
    shutil.rmtree(its_files)
    result = score_partition(challenged.job(DAY))
    assert result.publication.shadow is None
    assert by_plan(challenged.job(DAY)).recall("score", ScoreResult).shadow_fault
    assert scored(challenged) == 120


def test_a_challenger_whose_scores_have_another_shape_is_left_out(
    challenged: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(Scorer):
        def score(self, *arguments: Any) -> Any:
            return super().score(*arguments).reshape(-1, 1)

    monkeypatch.setattr("jobs.shadow.load_scorer", lambda files: Odd(load_scorer(files).form))
    published = score_partition(challenged.job(DAY)).publication
    assert (published.shadow, published.rows_scored) == (None, 120)
    assert "The shadow has none: " in by_plan(challenged.job(DAY)).recall("score", ScoreResult).sentence()


@pytest.mark.parametrize("where", ["jobs.score.load_scorer", "jobs.shadow.load_scorer"])
def test_a_challenger_that_needs_a_package_that_is_not_there_is_left_out(
    challenged: Shop, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    digest = open_registry(challenged.settings).store.version("toys", 2).digest

    def without_it(files: str) -> Scorer:
        if files.endswith(digest):
            raise ImportError("No module named lightgbm")
        return load_scorer(files)

    monkeypatch.setattr(where, without_it)
    assert score_partition(challenged.job(DAY)).publication.shadow is None
    assert "No module named lightgbm" in by_plan(challenged.job(DAY)).recall("score", ScoreResult).sentence()
    assert scored(challenged) == 120
