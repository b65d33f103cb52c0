"""Promotions as people and retrains ask for them: once, with a reason, an approval, an end."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from commands import in_shop

from jobs.errors import Misconfigured, Rejected
from jobs.evaluate import evaluate
from jobs.judge import judge
from jobs.moves import (
    Wish,
    archive,
    challenge,
    promote,
    promote_version,
    report_of,
    roll_back,
)
from jobs.publish import publish
from jobs.registry import open_registry
from jobs.status import status
from jobs.table import predictions_path, published
from jobs.train import train
from model_registry.requests import Outcome
from model_registry.store import Stage
from model_registry.timeline import Kind, Promotion

FAR = datetime(2190, 1, 1, tzinfo=UTC)


def _wish(shop: Any, version: str | None = None, reason: str = "the tests", **fields: Any) -> Wish:
    return replace(Wish(shop.settings, "toys", reason, version), **fields)


def _rows(shop: Any) -> list[Promotion]:
    with open_registry(shop.settings).ledger.reading() as session:
        return session.history("toys")


def _seen(shop: Any) -> dict[str, int]:
    """The version that readers see in each partition."""
    path = predictions_path(shop.settings, shop.job("2026-01-19").spec)
    return {key: publication.version for key, publication in sorted(published(path).items())}


@pytest.fixture
def two(open_shop: Any) -> Any:
    """A world with two champions, and four partitions that they scored."""
    open_shop.retrain("2026-01-19")
    for partition in ("2026-01-18", "2026-01-19", "2026-01-20", "2026-01-21"):
        publish(open_shop.prepare(partition))
    assert _seen(open_shop) == {"2026-01-18": 1, "2026-01-19": 1, "2026-01-20": 2, "2026-01-21": 2}
    return open_shop


def _retrained(shop: Any, partition: str, run: str = "test") -> Any:
    job = shop.job(partition, run)
    train(job)
    evaluate(job)
    judge(job)
    return job


def test_a_retrain_is_promoted_once_by_its_run(open_shop: Any) -> None:
    job = _retrained(open_shop, "2026-01-19")
    first, second = promote(job), promote(job)
    assert first == second
    assert first.outcome is Outcome.promoted
    assert len(_rows(open_shop)) == 2
    row = _rows(open_shop)[-1]
    assert (row.version, row.reason, row.request) == (2, "retrain for 2026-01-19: promote", "test 2026-01-19")
    assert (row.effective_from, row.replaces) == (datetime(2026, 1, 20, tzinfo=UTC), 1)


def test_a_retrain_may_be_staged_and_promoted_later_with_the_decision_that_was_kept(open_shop: Any) -> None:
    staged = promote(_retrained(open_shop, "2026-01-19"), Stage.staging)
    assert (staged.outcome, staged.sentence) == (Outcome.staged, "toys version 2 waits in staging.")
    done = promote_version(_wish(open_shop, "2", since=datetime(2026, 1, 22, tzinfo=UTC)))
    assert done.outcome is Outcome.promoted
    assert [(p.version, p.stage, p.kind) for p in _rows(open_shop)[1:]] == [
        (2, Stage.staging, Kind.challenge),
        (2, Stage.production, Kind.promotion),
    ]


def test_a_wish_on_a_retrain_gives_reason_time_and_approval(open_shop: Any) -> None:
    job = _retrained(open_shop, "2026-01-19")
    since = datetime(2026, 1, 25, tzinfo=UTC)
    promote(job, None, _wish(open_shop, reason="by hand", since=since, approved_by="grace"))
    row = _rows(open_shop)[-1]
    assert (row.reason, row.effective_from, row.approved_by) == ("by hand", since, "grace")


def test_a_challenger_waits_and_can_be_put_aside(open_shop: Any) -> None:
    _retrained(open_shop, "2026-01-19")
    assert challenge(_wish(open_shop, "2")).outcome is Outcome.staged
    assert archive(_wish(open_shop, "2")).outcome is Outcome.archived
    assert status(open_shop.settings, open_registry(open_shop.settings))["models"]["toys"]["stages"] == {
        "production": 1,
        "archived": 2,
    }
    with pytest.raises(Rejected, match="version 1 is in production"):
        archive(_wish(open_shop, "1"))


def test_a_version_without_a_report_is_refused_with_the_commands_to_run(open_shop: Any) -> None:
    train(open_shop.job("2026-01-19"))
    says = r"`lamplighter evaluate --model toys --partition 2026-01-19 --version 2` and `lamplighter judge` for that"
    for work in (promote_version, challenge):
        with pytest.raises(Rejected, match=says):
            work(_wish(open_shop, "2"))


def test_a_withdrawn_version_comes_back_when_a_person_names_it(two: Any) -> None:
    roll_back(_wish(two))
    result = promote_version(_wish(two, "2"))
    assert (result.outcome, result.version.number) == (Outcome.promoted, 2)


def test_the_spec_says_who_must_agree(open_shop: Any) -> None:
    spec = (open_shop.settings.models / "toys" / "model.yaml").read_text()
    open_shop.write_model(spec + "promotion: {approval: two_persons}\n")
    job = _retrained(open_shop, "2026-01-19")
    with pytest.raises(Rejected, match="needs an approval"):
        promote(job)
    with pytest.raises(Rejected, match="cannot approve it alone"):
        promote_version(_wish(open_shop, "2", approved_by="ada"))
    assert promote(job, Stage.staging).outcome is Outcome.staged
    assert promote_version(_wish(open_shop, "2", approved_by="grace")).outcome is Outcome.promoted
    assert _rows(open_shop)[-1].approved_by == "grace"


# Overrides


def test_an_override_is_shown_wherever_the_version_is_and_ends(open_shop: Any) -> None:
    _retrained(open_shop, "2026-01-19")
    done = promote_version(_wish(open_shop, "2", until=FAR, since=datetime(2026, 1, 20, tzinfo=UTC)))
    assert done.sentence.endswith("until 2190-01-01 00:00 UTC, by an override (the tests).")
    words = "until 2190-01-01 00:00 UTC by ada: the tests"
    registry = open_registry(open_shop.settings)
    assert status(open_shop.settings, registry)["models"]["toys"]["override"] == words
    plan = open_shop.prepare("2026-01-20").folder / "plan.json"
    assert json.loads(plan.read_text())["version"]["override"] == words
    roll_back(_wish(open_shop))
    assert status(open_shop.settings, registry)["models"]["toys"].get("override") is None
    assert registry.store.version("toys", 2).override == ""


@pytest.mark.parametrize("ahead", [timedelta(days=-1), timedelta(0)])
def test_an_override_that_is_over_before_it_begins_is_refused(open_shop: Any, ahead: timedelta) -> None:
    until = datetime.now(UTC) + ahead
    with pytest.raises(Misconfigured, match=r"ends before now \(.* UTC\): name a later --until"):
        promote_version(_wish(open_shop, "1", until=until))
    with pytest.raises(Misconfigured, match=r"ends before it begins \(2190-01-01 00:00 UTC\)"):
        promote_version(_wish(open_shop, "1", until=FAR, since=FAR))


# Looking


def test_the_report_of_a_version(open_shop: Any) -> None:
    newest, named = report_of(_wish(open_shop)), report_of(_wish(open_shop, "1"))
    assert newest == named
    train(open_shop.job("2026-01-19"))
    assert report_of(_wish(open_shop)) == newest  # the newest that was judged
    with pytest.raises(Misconfigured, match="toys version 2 has no report of a metric gate: judge it first"):
        report_of(_wish(open_shop, "2"))


def test_no_version_with_a_report(shop: Any) -> None:
    with pytest.raises(Misconfigured, match="No version of toys has a report of a metric gate"):
        report_of(_wish(shop))


def test_status_tells_what_was_moved_by_hand_and_shows_the_rest(two: Any) -> None:
    train(two.job("2026-01-22"))
    registry = open_registry(two.settings)
    registry.store._client.set_registered_model_alias("toys", "production", "3")  # type: ignore[attr-defined]
    found = status(two.settings, registry)
    assert "point it back to version 2 in MLflow" in found["problems"]["toys"]
    assert found["models"]["toys"]["partitions"]["2026-01-20"]["version"] == 2


# From outside: a command that is killed, and the next command


def _run(shop: Any, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return in_shop(shop, *arguments, LAMPLIGHTER_ACTOR="ada", **variables)


def test_a_command_that_is_killed_is_finished_by_the_next_one(open_shop: Any) -> None:
    _retrained(open_shop, "2026-01-19")
    move = ["promote", "--model", "toys", "--version", "2", "--reason", "better"]
    killed = _run(open_shop, *move, LAMPLIGHTER_FAULT="promotion:recorded=kill")
    assert killed.returncode == -9
    registry = open_registry(open_shop.settings)
    assert (registry.store.alias("toys", Stage.production), len(_rows(open_shop))) == (1, 2)
    found = _run(open_shop, "history", "toys", "--json")
    assert found.returncode == 0, found.stderr
    rows = json.loads(found.stdout)
    assert [(row["version"], row["kind"], row["actor"], row["reason"]) for row in rows][1:] == [
        (2, "promotion", "ada", "better")
    ]
    assert len(rows[1]["evidence"]) == 64
    assert registry.store.alias("toys", Stage.production) == 2
