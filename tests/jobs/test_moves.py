"""Moving versions as people ask for it: by number or name, with a reason, once; and what a roll back leaves to do."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import SPEC

from jobs.errors import Misconfigured, MissingPartition, Rejected
from jobs.moves import (
    LONGEST_REASON,
    Wish,
    archive,
    challenge,
    promote_version,
    published_by,
    roll_back,
    stage_called,
)
from jobs.publish import publish
from jobs.registry import open_registry
from jobs.rescore import rescore
from jobs.status import status
from jobs.table import predictions_path, published
from model_registry.errors import UnknownVersion
from model_registry.requests import Approval, Outcome
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


def test_a_roll_back_lists_what_the_withdrawn_version_published_and_scores_it_again(two: Any) -> None:
    done = roll_back(_wish(two))
    assert (done.outcome, done.version, done.withdrawn) == (Outcome.rolled_back, 1, 2)
    assert done.effective_from == datetime(2026, 1, 20, tzinfo=UTC)
    assert done.partitions == ("2026-01-20", "2026-01-21")
    assert done.sentence() == (
        "toys is back at version 1 from 2026-01-20 00:00 UTC on; version 2 is withdrawn (the tests). 2 partitions that "
        "readers see were scored by version 2: 2026-01-20, 2026-01-21. "
        "To score again what is listed: the same with --rescore."
    )
    scored = rescore(two.settings, "toys", done.partitions, "roll back of 2")
    assert scored.done == ("2026-01-20", "2026-01-21")
    assert scored.sentence() == "2 partitions were scored again."
    assert set(_seen(two).values()) == {1}
    again = roll_back(_wish(two))
    assert (again.outcome, again.version, again.withdrawn, again.partitions) == (Outcome.unchanged, 1, 2, ())
    assert again.sentence().endswith("No partition that readers see was scored by version 2.")


def test_one_partition_that_cannot_be_scored_does_not_stop_the_others(two: Any) -> None:
    done = roll_back(_wish(two, "2"))
    shutil.rmtree(two.sales("2026-01-20"))
    with pytest.raises(MissingPartition, match=r"^1 partition was scored again\. 2026-01-20 was not: "):
        rescore(two.settings, "toys", done.partitions, "roll back of 2")
    assert _seen(two)["2026-01-20"] == 2
    left = roll_back(_wish(two, "2"))
    assert (left.outcome, left.partitions) == (Outcome.unchanged, ("2026-01-20",))
    assert "1 partition that readers see was scored by version 2: 2026-01-20." in left.sentence()


def test_a_roll_back_from_a_given_day_lists_from_there(two: Any) -> None:
    done = roll_back(_wish(two, since=datetime(2026, 1, 21, tzinfo=UTC)))
    assert done.partitions == ("2026-01-21",)
    registry = open_registry(two.settings)
    found = [registry.champion("toys", datetime(2026, 1, day, tzinfo=UTC)) for day in (20, 21)]
    assert [version.number for version in found if version] == [2, 1]
    rescore(two.settings, "toys", done.partitions, "roll back of 2")
    again = roll_back(_wish(two, since=datetime(2026, 1, 21, tzinfo=UTC)))
    assert (again.partitions, again.kept) == ((), 1)
    assert again.sentence().endswith("Version 2 keeps what it scored before: 1 of the partitions.")


def test_a_roll_back_lists_what_a_backfill_scored_for_days_before_the_version_began(open_shop: Any) -> None:
    open_shop.write_model(SPEC + "promotion: {to: staging}\n")
    open_shop.retrain("2026-01-16")
    promote_version(_wish(open_shop, "2", since=datetime(2026, 1, 20, tzinfo=UTC)))
    rescore(open_shop.settings, "toys", ["2026-01-18", "2026-01-19", "2026-01-20"], "a backfill", "2")
    done = roll_back(_wish(open_shop))
    assert (done.withdrawn, done.effective_from) == (2, datetime(2026, 1, 20, tzinfo=UTC))
    assert done.partitions == ("2026-01-18", "2026-01-19", "2026-01-20")
    rescore(open_shop.settings, "toys", done.partitions, "roll back of 2")
    assert set(_seen(open_shop).values()) == {1}


def test_a_roll_back_lists_partitions_of_a_calendar_of_before(two: Any) -> None:
    two.write_model(SPEC.replace("every: day", "every: hour"))
    done = roll_back(_wish(two))
    assert (done.outcome, done.partitions) == (Outcome.rolled_back, ("2026-01-20", "2026-01-21"))


def test_a_roll_back_by_a_semantic_version(two: Any) -> None:
    name = open_registry(two.settings).store.version("toys", 2).semver
    assert roll_back(_wish(two, name)).withdrawn == 2
    with pytest.raises(UnknownVersion, match=r"no version 9\.9\.9"):
        roll_back(_wish(two, "9.9.9"))


def test_a_deleted_version_is_rolled_back_by_its_number_and_its_partitions_are_listed(two: Any) -> None:
    registry = open_registry(two.settings)
    registry.store._client.delete_model_version("toys", "2")  # type: ignore[attr-defined]
    found = status(two.settings, registry)
    assert "Version 2 of toys is in production by the ledger and was deleted in MLflow" in found["problems"]["toys"]
    done = roll_back(_wish(two, "2"))
    assert (done.version, done.withdrawn, done.partitions) == (1, 2, ("2026-01-20", "2026-01-21"))
    found = status(two.settings, registry)
    assert "problems" not in found
    assert found["models"]["toys"]["stages"] == {"production": 1}


def test_the_only_version_deleted_is_rolled_back_to_nothing(open_shop: Any) -> None:
    open_registry(open_shop.settings).store._client.delete_model_version("toys", "1")  # type: ignore[attr-defined]
    done = roll_back(_wish(open_shop))
    assert (done.outcome, done.version, done.withdrawn) == (Outcome.rolled_back, None, 1)
    assert "There is none to return to: retrain." in done.sentence()
    open_shop.retrain("2026-01-19")
    assert [(p.version, p.kind) for p in _rows(open_shop)] == [
        (1, Kind.promotion),
        (1, Kind.roll_back),
        (2, Kind.promotion),
    ]


def test_a_long_list_of_partitions_is_cut(two: Any) -> None:
    done = roll_back(_wish(two))
    many = replace(done, partitions=tuple(f"p{number}" for number in range(21)))
    assert many.told().endswith("scored by version 2: " + ", ".join(f"p{n}" for n in range(20)) + ", ....")


def test_what_a_version_published(two: Any) -> None:
    spec = two.job("2026-01-19").spec
    assert [p.partition for p in published_by(two.settings, spec, 1)] == ["2026-01-18", "2026-01-19"]
    assert published_by(two.settings, spec, None) == []


# What is asked for


@pytest.mark.parametrize("reason", ["", "   ", "\n"])
def test_a_move_needs_a_reason(open_shop: Any, reason: str) -> None:
    for work in (promote_version, challenge, archive, roll_back):
        with pytest.raises(Misconfigured, match=r"A move needs a reason, .*--reason"):
            work(_wish(open_shop, "1", reason))


def test_a_reason_is_a_sentence_and_no_book(open_shop: Any) -> None:
    with pytest.raises(Misconfigured, match=r"The reason has 2,001 characters: keep it below 2,000"):
        roll_back(_wish(open_shop, reason="x" * (LONGEST_REASON + 1)))
    with pytest.raises(Rejected, match="nothing to roll back to"):
        roll_back(_wish(open_shop, reason="x" * LONGEST_REASON))


def test_a_move_needs_a_version_and_a_model(open_shop: Any) -> None:
    for work in (promote_version, challenge, archive):
        with pytest.raises(Misconfigured, match="Which version"):
            work(_wish(open_shop))
        with pytest.raises(Misconfigured, match="There is no model 'dolls'"):
            work(replace(_wish(open_shop, "1"), model="dolls"))


def test_the_stages_that_one_can_promote_to() -> None:
    assert [stage_called(name) for name in ("production", "staging")] == [Stage.production, Stage.staging]
    for name in ("archived", "Production", ""):
        with pytest.raises(Misconfigured, match="choose production or staging"):
            stage_called(name)


def test_a_wish_becomes_a_request(open_shop: Any) -> None:
    before = datetime.now(UTC)
    asked = _wish(open_shop, reason="  because  ", until=FAR, approved_by="grace", run="nightly").request(Stage.staging)
    assert before <= asked.recorded_at == asked.effective_from <= datetime.now(UTC)
    assert (asked.stage, asked.actor, asked.reason, asked.until) == (Stage.staging, "ada", "because", FAR)
    assert (asked.approval, asked.approved_by, asked.id) == (Approval.none, "grace", "nightly")
    assert _wish(open_shop).request(Stage.production).id is None
    since = datetime(2026, 1, 2, tzinfo=UTC)
    assert _wish(open_shop, since=since).request(Stage.production).effective_from == since
