"""Rows that a database does not take, and a database that is away: neither keeps a later publication back."""

import os
import random
import string
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa
from broken import break_at
from deltalake import DeltaTable, Field
from deltalake.schema import PrimitiveType
from sql_scores import DAY, NEXT, VARIABLE, Scores

from jobs.backfill import State, plan_backfill
from jobs.errors import Misconfigured, Unavailable
from jobs.follow import settle
from jobs.plan import plan
from jobs.publish import publish
from jobs.registry import open_registry
from jobs.storage import remove_tree
from jobs.table import predictions_path

BAD_KEYS = {
    "nul": "Grace\0Hopper",
    "long": "".join(random.Random(7).choices(string.ascii_letters, k=20_000)),
}


@pytest.mark.parametrize("bad", BAD_KEYS)
def test_a_key_that_the_database_cannot_take_does_not_keep_the_corrected_partition_back(
    open_shop: Any, postgresql: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, bad: str
) -> None:
    address = postgresql()
    monkeypatch.setenv(VARIABLE, address)
    monkeypatch.setattr("jobs.sql_sink.BATCH", 300)
    scores = Scores(open_shop, address)
    scores.deliver(400)
    publish(scores.shop.prepare(DAY, "before"))
    scores.deliver_key(BAD_KEYS[bad])
    with pytest.raises(Misconfigured, match=f"The database of {VARIABLE} refuses: "):
        publish(scores.shop.prepare(DAY, "bad"))
    with pytest.raises(Misconfigured, match=f"The database of {VARIABLE} refuses: "):
        plan(scores.shop.job(DAY, "again"))
    assert scores.counts() == {DAY: 400}
    scores.deliver(500)
    assert not publish(scores.shop.prepare(DAY, "good")).unchanged
    assert "What was published before is not in the database: " in caplog.text
    assert BAD_KEYS[bad] not in caplog.text
    assert scores.numbers() == [1, 3]
    scores.assert_in_step(DAY)


def test_a_key_beyond_the_calendar_is_told_and_can_be_corrected(scores: Scores) -> None:
    def deliver(first: int) -> None:
        frame = pd.read_parquet(sorted(scores.shop.sales("2026-01-15").glob("*.parquet")))
        table = pa.Table.from_pandas(frame, preserve_index=False)
        at = pa.array([first, *range(len(frame) - 1)], pa.timestamp("us"))
        scores.shop.write_sales(DAY, table.set_column(table.column_names.index("toy_id"), "toy_id", at))

    deliver(2**62)
    with pytest.raises(
        Misconfigured, match=r"The table toys_staging cannot take the column toy_id: it has a value before"
    ):
        publish(scores.shop.prepare(DAY, "bad"))
    deliver(-1)
    publish(scores.shop.prepare(DAY, "good"))
    assert scores.numbers() == [2]


def test_a_database_that_is_away_keeps_no_new_publication_back_and_is_told_when_there_is_none(
    scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = os.environ[VARIABLE]
    publish(scores.shop.prepare(DAY, "before"))
    monkeypatch.setenv(VARIABLE, "postgresql+psycopg://me:secret@127.0.0.1:1/x")
    with pytest.raises(Unavailable, match=f"The database of {VARIABLE} does not do it now"):
        plan(scores.shop.job(DAY, "again"))
    scores.deliver(100)
    job = scores.shop.prepare(DAY, "restated")
    with pytest.raises(Unavailable, match=f"The database of {VARIABLE} does not do it now"):
        publish(job)
    monkeypatch.setenv(VARIABLE, address)
    assert plan(scores.shop.job(DAY, "next")).published
    scores.assert_in_step(DAY)


def test_scores_that_are_broken_by_now_are_not_copied(scores: Scores) -> None:
    made = publish(scores.shop.prepare(DAY))
    table = Path(str(predictions_path(scores.shop.settings, scores.shop.job(DAY).spec)))
    path = next(table.glob("partition=*/*.parquet"))
    content = path.read_bytes()
    break_at(path, "score")
    with scores.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM toys"))
    with pytest.raises(Misconfigured, match=f"^A file of toys {DAY} in its table's folder is broken"):
        settle(scores.shop.job(DAY))
    assert scores.counts() == {}
    path.write_bytes(content)
    settle(scores.shop.job(DAY))
    assert scores.counts() == {DAY: made.publication.rows_scored}


@pytest.mark.parametrize("drop", [False, True])
def test_a_column_that_another_tool_has_added_does_not_go_into_the_database(scores: Scores, drop: bool) -> None:
    first = publish(scores.shop.prepare(DAY))
    table = str(predictions_path(scores.shop.settings, scores.shop.job(DAY).spec))
    DeltaTable(table).alter.add_columns([Field("remark", PrimitiveType("string"))])
    if drop:
        with scores.engine.begin() as connection:
            for name in ("toys", "toys_publications", "toys_staging"):
                connection.execute(sa.text(f"DROP TABLE {name}"))
        settle(scores.shop.job(DAY))
    scores.deliver(50, NEXT)
    publish(scores.shop.prepare(NEXT))
    assert scores.counts() == {DAY: first.publication.rows_scored, NEXT: 50}


def test_a_database_that_follows_a_table_of_before_is_no_longer_called_current(scores: Scores) -> None:
    publish(scores.shop.prepare(DAY))
    settings = scores.shop.settings
    remove_tree(predictions_path(settings, scores.shop.job(DAY).spec))
    with pytest.raises(Misconfigured, match="follows another table of predictions"):
        publish(scores.shop.prepare(DAY, "afresh"))
    [found] = plan_backfill(settings, open_registry(settings), "toys", DAY, DAY).partitions
    assert (found.state, found.why) == (State.missing, "It is not in the database of SCORES_DATABASE yet.")
