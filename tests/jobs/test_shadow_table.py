"""Whatever was done to the shadow's table: production is published and followed all the same."""

import errno
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from conftest import SPEC
from deltalake import DeltaTable

from jobs.backfill import State, plan_backfill
from jobs.registry import open_registry
from jobs.rescore import score_partition
from jobs.scorer import Scorer, load_scorer
from jobs.status import status
from jobs.table import LOG, predictions_path, published, shadow_path

DAY, NEXT, LATER = "2026-01-16", "2026-01-17", "2026-01-18"
FOLLOWED = SPEC.replace("output: {table: toys}", "output: {kind: sql, table: toys, database: SCORES_DATABASE}")
HARM = ["append-only", "check", "log", "folder"]


def shadow(shop: Any) -> Path:
    return Path(str(shadow_path(shop.settings, shop.job(DAY).spec)))


def close(table: Path, harm: str) -> None:
    if harm == "append-only":
        DeltaTable(table).alter.set_table_properties({"delta.appendOnly": "true"})
    elif harm == "check":
        DeltaTable(table).alter.add_constraint({"sure": "partition <> 'x'"})
    elif harm == "log":
        newest = max((table / LOG).glob("*.json"))
        newest.write_text(newest.read_text()[:40])
    else:
        table.rename(table.with_name("elsewhere"))
        table.write_text("no folder")


@pytest.fixture
def challenged(open_shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A world with a version in the shadow, a database, and a day that is published."""
    monkeypatch.setenv("SCORES_DATABASE", f"sqlite:///{tmp_path}/scores.db")
    open_shop.write_model(FOLLOWED + "shadow: true\npromotion: {to: staging}\n")
    open_shop.retrain(DAY)
    score_partition(open_shop.job(DAY))
    return open_shop


def in_database(path: Path) -> dict[str, int]:
    with sa.create_engine(f"sqlite:///{path}/scores.db").connect() as connection:
        found = connection.execute(sa.text("SELECT partition, count(*) FROM toys GROUP BY 1"))
        return {str(key): int(count) for key, count in found}


def test_a_full_disk_is_everybodys_also_when_the_shadows_scores_follow(
    open_shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("jobs.follow._follow_in_shadow", full)
    with pytest.raises(OSError, match="No space left"):
        score_partition(open_shop.job(DAY))


@pytest.mark.parametrize("where", ["jobs.score.load_scorer", "jobs.shadow.load_scorer"])
def test_a_lack_of_memory_is_everybodys(challenged: Any, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    digest = open_registry(challenged.settings).store.version("toys", 2).digest

    def too_large(files: str) -> Scorer:
        if files.endswith(digest):
            raise MemoryError
        return load_scorer(files)

    monkeypatch.setattr(where, too_large)
    with pytest.raises(MemoryError):
        score_partition(challenged.job(NEXT))


@pytest.mark.parametrize("harm", HARM)
def test_a_shadows_table_that_is_closed_or_broken_holds_nobody_up(
    challenged: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    close(shadow(challenged), harm)
    assert score_partition(challenged.job(NEXT)).publication.rows_scored == 120
    challenged.write_sales(DAY, pd.read_parquet(challenged.sales(DAY)).head(100))
    assert score_partition(challenged.job(DAY, "corrected")).publication.rows_scored == 100
    assert score_partition(challenged.job(DAY, "again")).unchanged
    assert "The shadow's scores of toys 2026-01-17 do not follow:" in caplog.text
    challenged.write_model(FOLLOWED)
    score_partition(challenged.job(LATER))
    assert in_database(tmp_path) == {DAY: 100, NEXT: 120, LATER: 120}
    registry = open_registry(challenged.settings)
    assert set(status(challenged.settings, registry)["models"]["toys"]["partitions"]) == {DAY, NEXT, LATER}
    (found,) = plan_backfill(challenged.settings, registry, "toys", LATER, LATER).partitions
    assert found.state is State.current
    assert published(predictions_path(challenged.settings, challenged.job(DAY).spec))[LATER].shadow is None
