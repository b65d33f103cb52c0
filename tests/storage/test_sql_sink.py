"""The SQL table of predictions: the promise of the Delta table, kept through kills, races and late attempts."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from attempts import published_at_once
from commands import lamplighter
from sql_scores import DAY, NEXT, ROWS, VARIABLE, Scores

from jobs.backfill import BackfillPlan, State, plan_backfill
from jobs.errors import Misconfigured, Unavailable
from jobs.faults import VARIABLE as FAULT
from jobs.follow import settle
from jobs.output_gate import output_gate
from jobs.plan import plan
from jobs.publish import PublishResult, publish
from jobs.registry import open_registry
from jobs.storage import remove_tree
from jobs.table import predictions_path, published
from lamplighter.backfill_run import run_here
from model_registry.steps import listen


@contextmanager
def listening(listener: Any) -> Any:
    listen(listener)
    try:
        yield
    finally:
        listen(None)


def run(scores: Scores, command: str, fault: str = "", name: str = "test") -> int:
    arguments = [command, "--model", "toys", "--partition", DAY, "--run", name]
    environment = os.environ | ({FAULT: fault} if fault else {})
    return lamplighter(*arguments, environment=environment).returncode


def test_the_database_has_the_rows_of_the_delta_table_and_their_lineage(scores: Scores) -> None:
    scores.deliver(50, NEXT)
    first = publish(scores.shop.prepare(DAY)).publication
    publish(scores.shop.prepare(NEXT))
    scores.assert_in_step(DAY, NEXT)
    names = "number, version, digest, input_digest, code, run, rows_in, rows_scored, rows_rejected, table_version"
    [found] = scores.query(f"SELECT {names} FROM toys_publications WHERE partition = '{DAY}'")
    assert tuple(found) == (
        1,
        *(first.version, first.digest, first.input_digest, first.code, first.run),
        *(ROWS, first.rows_scored, first.rows_rejected, first.table_version),
    )


def test_the_same_again_changes_nothing_and_a_restatement_replaces_its_partition_only(scores: Scores) -> None:
    scores.deliver(50, NEXT)
    publish(scores.shop.prepare(NEXT))
    publish(scores.shop.prepare(DAY))
    before = scores.query("SELECT * FROM toys_publications ORDER BY recorded_at")
    assert publish(scores.shop.prepare(DAY, "again")).unchanged
    assert scores.query("SELECT * FROM toys_publications ORDER BY recorded_at") == before
    scores.deliver(100)
    publish(scores.shop.prepare(DAY, "restated"))
    assert scores.counts() == {DAY: 100, NEXT: 50}
    assert (scores.numbers(), scores.numbers(NEXT)) == ([1, 2], [1])
    scores.assert_in_step(DAY, NEXT)


KILLS = [
    "publish:prepared",
    "publish:committed",
    "publish:rejected",
    "publish:staged",
    "publish:staged*2",
    "publish:replaced",
    "publish:followed",
    "publish:swept",
]


@pytest.mark.parametrize("fault", KILLS)
@pytest.mark.parametrize("restated", [False, True])
def test_a_kill_leaves_one_complete_publication_or_none_and_the_next_run_finishes(
    scores: Scores, fault: str, restated: bool
) -> None:
    if restated:
        publish(scores.shop.prepare(DAY, "earlier"))
        scores.deliver(ROWS - 100)
    job = scores.shop.prepare(DAY)
    assert run(scores, "publish", f"{fault}=kill") == -signal.SIGKILL
    rows = ROWS - 100 if restated else ROWS
    done = fault in {"publish:followed", "publish:swept"}
    assert scores.counts() == ({DAY: rows} if done else {DAY: ROWS} if restated else {})
    if fault == "publish:prepared":
        publish(job)
    else:
        assert plan(scores.shop.job(DAY, "next")).published
    assert scores.counts() == {DAY: rows}
    assert scores.numbers() == ([1, 2] if restated else [1])
    publish(job)
    scores.assert_in_step(DAY)


def test_of_runs_at_the_same_moment_one_is_published_and_the_database_has_it_once(scores: Scores) -> None:
    jobs = [scores.shop.prepare(DAY, f"run-{n}") for n in range(4)]
    results = published_at_once(jobs)
    assert sum(isinstance(result, PublishResult) for result in results) == 1
    assert scores.numbers() == [1]
    scores.assert_in_step(DAY)


def test_processes_that_settle_at_once_copy_it_once(scores: Scores) -> None:
    scores.shop.prepare(DAY)
    assert run(scores, "publish", "publish:rejected=kill") == -signal.SIGKILL
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda name: run(scores, "plan", name=name), ["a", "b"]))
    assert codes == [0, 0]
    assert scores.numbers() == [1]
    scores.assert_in_step(DAY)


@pytest.mark.parametrize("where", ["publish:staged", "publish:rejected"])
def test_an_attempt_that_was_overtaken_cannot_put_its_rows_back(scores: Scores, where: str) -> None:
    job = scores.shop.prepare(DAY, "slow")

    def overtake(name: str) -> None:
        if name == where:
            listen(None)
            scores.deliver(100)
            publish(scores.shop.prepare(DAY, "quick"))

    with listening(overtake):
        publish(job)
    assert scores.counts() == {DAY: 100}
    assert scores.numbers()[-1] == 2
    scores.assert_in_step(DAY)


def test_readers_see_complete_publications_only(scores: Scores) -> None:
    sizes = (ROWS, 400, 900)
    seen, over = set(), threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.add(sum(scores.counts().values()))

    reader = threading.Thread(target=look)
    publish(scores.shop.prepare(DAY, "first"))
    reader.start()
    try:
        for number, size in enumerate((*sizes[1:], *sizes)):
            scores.deliver(size)
            publish(scores.shop.prepare(DAY, f"run-{number}"))
    finally:
        over.set()
        reader.join()
    assert seen <= set(sizes)
    assert len(seen) > 1


def test_a_database_that_is_away_is_waited_for_and_the_delta_table_stands(
    scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = os.environ[VARIABLE]
    job = scores.shop.prepare(DAY)
    monkeypatch.setenv(VARIABLE, "postgresql+psycopg://me:secret@127.0.0.1:1/x")
    with pytest.raises(Unavailable, match=f"The database of {VARIABLE} does not do it now") as caught:
        publish(job)
    assert "secret" not in str(caught.value)
    assert DAY in published(predictions_path(scores.shop.settings, job.spec))
    monkeypatch.setenv(VARIABLE, address)
    assert not publish(job).unchanged  # downstream has not heard of it yet
    scores.assert_in_step(DAY)


def test_a_database_that_follows_another_table_is_left_alone(scores: Scores) -> None:
    job = scores.shop.prepare(DAY)
    publish(job)
    remove_tree(predictions_path(scores.shop.settings, job.spec))
    again = scores.shop.prepare(DAY, "again")
    with pytest.raises(Misconfigured, match=r"follows another table of predictions: choose another output\.table"):
        publish(again)
    assert scores.counts() == {DAY: ROWS}


def test_a_table_of_that_name_that_is_not_ours_is_left_alone(scores: Scores) -> None:
    with scores.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE toys (name TEXT)"))
    with pytest.raises(Misconfigured, match=r"The table toys in the database of .* has no column"):
        publish(scores.shop.prepare(DAY))
    assert scores.query("SELECT * FROM toys") == []


def test_rows_that_vanish_from_the_staging_table_are_not_missed(scores: Scores) -> None:
    job = scores.shop.prepare(DAY)

    def empty(name: str) -> None:
        if name == "publish:staged":
            with scores.engine.begin() as connection:
                connection.execute(sa.text("DELETE FROM toys_staging"))

    with listening(empty), pytest.raises(Unavailable, match=f"Of {ROWS} rows 0 were staged"):
        publish(job)
    assert scores.counts() == {}
    settle(job)
    output_gate(job)
    scores.assert_in_step(DAY)


@pytest.mark.parametrize("harm", ["DROP TABLE toys", "DELETE FROM toys", "DELETE FROM toys WHERE toy_id LIKE '%-7'"])
def test_rows_that_somebody_has_taken_away_are_copied_again_by_a_backfill(scores: Scores, harm: str) -> None:
    scores.deliver(50, NEXT)
    for day in (DAY, NEXT):
        publish(scores.shop.prepare(day))
    with scores.engine.begin() as connection:
        connection.execute(sa.text(harm))
    settings = scores.shop.settings

    def planned() -> BackfillPlan:
        return plan_backfill(settings, open_registry(settings), "toys", DAY, NEXT)

    found = planned().partitions
    assert [p.state for p in found] == [State.missing] * 2
    told = "There is no table toys in the database" if "DROP" in harm else "The database of SCORES_DATABASE holds"
    assert all(p.why.startswith(told) for p in found)
    outcomes = run_here(settings, planned(), "backfill", print)
    assert ["published already" in outcome.said for outcome in outcomes] == [True] * 2
    scores.assert_in_step(DAY, NEXT)
    assert (scores.numbers(), scores.numbers(NEXT)) == ([1], [1])
    assert [p.state for p in planned().partitions] == [State.current] * 2


def test_a_publication_that_has_yet_to_follow_is_missing_in_a_backfill(scores: Scores) -> None:
    publish(scores.shop.prepare(DAY))
    with scores.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM toys_publications"))
    settings = scores.shop.settings
    [found] = plan_backfill(settings, open_registry(settings), "toys", DAY, DAY).partitions
    assert (found.state, found.why) == (State.missing, "It is not in the database of SCORES_DATABASE yet.")
