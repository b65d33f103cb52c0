"""The ledger over SQLite and PostgreSQL: what goes in comes out, two times, one writer at a time, nothing half done."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_registry.ledger import Ledger
from model_registry.store import Stage
from model_registry.tables import PROMOTIONS
from model_registry.timeline import Kind, Promotion

PROJECT = Path(__file__).resolve().parents[2]
NIGHT = datetime(2013, 2, 8, tzinfo=UTC)
INSTANTS = st.datetimes(timezones=st.just(UTC))


def _row(version: int, effective_from: datetime = NIGHT, **fields: Any) -> Promotion:
    row = Promotion(
        "flight_delays", version, "d" * 64, Stage.production, effective_from, NIGHT, "airflow", "a retrain", "e" * 64
    )
    return replace(row, **fields)


def test_a_promotion_comes_back_as_it_was(ledger: Ledger, model: str) -> None:
    instants = [
        datetime(2013, 2, 8, 5, 6, 7, 890123, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
    ]
    rows = [_row(n, at, model=model, recorded_at=at, reason="Sturm ❄") for n, at in enumerate(instants, 1)]
    rows.append(_row(9, model=model, stage=Stage.staging, evidence=None, kind=Kind.external))
    rows.append(
        _row(
            10,
            model=model,
            kind=Kind.override,
            until=datetime(2013, 3, 1, 0, 0, 0, 1, tzinfo=UTC),
            replaces=9,
            approved_by="grace",
            request="nightly 2013-02-08",
        )
    )
    with ledger.locked(model) as session:
        for row in rows:
            session.append(row)
    with ledger.reading() as session:
        found = session.history(model)
    assert found == rows
    assert {type(row.kind) for row in found} == {Kind}
    assert {type(row.stage) for row in found} == {Stage}


def test_an_instant_of_another_zone_comes_back_as_the_same_instant_in_utc(ledger: Ledger, model: str) -> None:
    new_york = datetime(2013, 2, 8, 0, 0, 0, 1, tzinfo=timezone(timedelta(hours=-5)))
    with ledger.locked(model) as session:
        session.append(_row(1, new_york, model=model))
        (kept,) = session.history(model)
    assert kept.effective_from == new_york
    assert kept.effective_from.tzinfo is UTC


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=INSTANTS, recorded=INSTANTS)
def test_every_microsecond_is_kept(ledger: Ledger, model: str, at: datetime, recorded: datetime) -> None:
    with ledger.locked(model) as session:
        session.append(_row(1, at, model=model, recorded_at=recorded))
        kept = session.history(model)[-1]
    assert (kept.effective_from, kept.recorded_at) == (at, recorded)


@pytest.mark.parametrize("field", ["effective_from", "recorded_at", "until"])
def test_an_instant_without_a_zone_is_refused(ledger: Ledger, model: str, field: str) -> None:
    naive = _row(1, model=model, **{field: datetime(2013, 2, 8)})  # noqa: DTZ001 - that is the point
    with pytest.raises(sa.exc.StatementError, match="an instant needs a time zone"), ledger.locked(model) as session:
        session.append(naive)
    with ledger.reading() as session:
        assert session.history(model) == []


def test_history_is_of_one_model_and_one_stage(ledger: Ledger, model: str) -> None:
    with ledger.locked(model) as session:
        for number, stage in enumerate([Stage.staging, Stage.production, Stage.staging], 1):
            session.append(_row(number, model=model, stage=stage))
        session.append(_row(4, model=model + "_other"))
        assert [p.version for p in session.history(model)] == [1, 2, 3]
        assert [p.version for p in session.history(model, Stage.staging)] == [1, 3]
        assert session.history(model, Stage.archived) == []


def test_an_error_appends_nothing_and_frees_the_lock(ledger: Ledger, model: str) -> None:
    def fail() -> None:
        with ledger.locked(model) as session:
            session.append(_row(1, model=model))
            raise RuntimeError("the registry went away")

    with pytest.raises(RuntimeError, match="went away"):
        fail()
    with ledger.locked(model) as session:
        assert session.history(model) == []


def test_what_was_recorded_outlives_the_ledger(ledger_url: str, model: str) -> None:
    for number in (1, 2):
        ledger = Ledger(ledger_url)
        with ledger.locked(model) as session:
            session.append(_row(number, model=model))
            assert [p.version for p in session.history(model)] == list(range(1, number + 1))
        ledger.close()


def test_a_word_that_is_none_of_ours_is_refused(ledger: Ledger, model: str) -> None:
    with pytest.raises(sa.exc.StatementError, match="not a valid Kind"), ledger.locked(model) as session:
        session.append(_row(1, model=model, kind="whim"))


def test_the_alias_is_noted_for_each_model_and_stage(ledger: Ledger, model: str) -> None:
    with ledger.locked(model) as session:
        assert session.noted_alias(model, Stage.production) is None
        for version in (1, 2):
            session.note_alias(model, Stage.production, version, NIGHT)
        session.note_alias(model, Stage.staging, 3, NIGHT)
        session.note_alias(f"{model}_other", Stage.production, 4, NIGHT)
        assert [session.noted_alias(model, stage) for stage in Stage] == [3, 2, None]
        session.note_alias(model, Stage.staging, None, NIGHT)
        assert [session.noted_alias(model, stage) for stage in Stage] == [None, 2, None]


def test_the_same_evidence_is_kept_once(ledger: Ledger, model: str) -> None:
    one, two = f"{model}{'e' * 40}", f"{model}{'f' * 40}"
    with ledger.locked(model) as session:
        assert session.evidence(one) is None
        session.keep_evidence(one, model, 1, "judged", NIGHT)
        session.keep_evidence(one, model, 1, "judged otherwise", NIGHT)
        session.keep_evidence(two, model, 2, "judged too", NIGHT)
    with ledger.reading() as session:
        assert [session.evidence(digest) for digest in (one, two)] == ["judged", "judged too"]


def _append_one_more(ledger: Ledger, model: str) -> None:
    with ledger.locked(model) as session:
        session.append(_row(len(session.history(model)) + 1, model=model))


@pytest.mark.parametrize("threads", [2, 8])
def test_the_lock_lets_one_at_a_time_read_and_append(ledger_url: str, model: str, threads: int) -> None:
    start = threading.Barrier(threads)

    def work() -> None:
        ledger = Ledger(ledger_url)
        start.wait()
        for _ in range(5):
            _append_one_more(ledger, model)
        ledger.close()

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()
    ledger = Ledger(ledger_url)
    with ledger.reading() as session:
        assert [p.version for p in session.history(model)] == list(range(1, threads * 5 + 1))
    ledger.close()


APPENDING = """
import sys
from datetime import UTC, datetime
from model_registry.ledger import Ledger
from model_registry.store import Stage
from model_registry.timeline import Promotion

now = datetime(2013, 2, 8, tzinfo=UTC)
ledger = Ledger(sys.argv[1])
for _ in range(5):
    with ledger.locked("m") as session:
        version = len(session.history("m")) + 1
        session.append(Promotion("m", version, "d", Stage.production, now, now, "a", "r", None))
"""


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_eight_processes_make_a_ledger_at_once_and_lose_nothing(
    tmp_path: Path, postgresql: Callable[[str], str], model: str, database: str
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db" if database == "sqlite" else postgresql(f"eight_{model}")
    command = [sys.executable, "-W", "error", "-c", APPENDING, url]
    running = [subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    said = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 8, said
    ledger = Ledger(url)
    with ledger.reading() as session:
        assert [p.version for p in session.history("m")] == list(range(1, 41))
    ledger.close()


def _open_at_once(url: str) -> None:
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        ledger = Ledger(url)
        _append_one_more(ledger, "m")
        ledger.close()

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work) for _ in range(8)]:
            done.result()
    ledger = Ledger(url)
    with ledger.reading() as session:
        assert [p.version for p in session.history("m")] == list(range(1, 9))
    ledger.close()


def test_a_new_ledger_may_be_opened_by_many_at_once(
    postgresql: Callable[[str], str], tmp_path: Path, model: str
) -> None:
    for number in range(5):
        _open_at_once(f"sqlite:///{tmp_path}/{number}.db")
    _open_at_once(postgresql(f"new_{model}"))


def test_the_table_keeps_rows_in_the_order_of_their_recording(ledger_url: str, ledger: Ledger, model: str) -> None:
    for number in (3, 1, 2):
        with ledger.locked(model) as session:
            session.append(_row(number, model=model))
    engine = sa.create_engine(ledger_url)
    with engine.connect() as connection:
        mine = sa.select(PROMOTIONS.c.version).where(PROMOTIONS.c.model == model).order_by(PROMOTIONS.c.id)
        assert connection.execute(mine).scalars().all() == [3, 1, 2]
    engine.dispose()
