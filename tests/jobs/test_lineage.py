"""Lineage: backward from a score to all that it rests on, and forward from a partition to all that leans on it."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import mlflow
import pandas as pd
import pytest
from typer.testing import CliRunner

from jobs.errors import Misconfigured
from jobs.lineage import Leaning, Lineage, leaning_on, lineage
from jobs.publish import publish
from jobs.registry import open_registry
from jobs.table import predictions_path
from lamplighter.cli import app
from model_registry.memory_store import MemoryStore
from model_registry.promotion import Registry
from model_registry.timeline import Kind

REJECTED, SCORED = "016-5", "016-6"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Version 1 published the 16th twice, version 2 the 18th; a row of the 16th was too dear. To be read only."""
    from conftest import write_shop

    shop = write_shop(tmp_path_factory.mktemp("lineage"))
    shop.retrain("2026-01-14")
    publish(shop.prepare("2026-01-16", "first"))
    rows = pd.read_parquet(shop.sales("2026-01-16") / "part-0.parquet")
    rows.loc[5, "price"] = 5000.0
    shop.write_sales("2026-01-16", rows)
    shop.retrain("2026-01-17", "again")
    publish(shop.prepare("2026-01-18"))
    publish(shop.prepare("2026-01-16", "second"))
    return shop


def backward(shop: Any, partition: str, *key: str, table_version: int | None = None) -> Lineage:
    return lineage(shop.settings, open_registry(shop.settings), "toys", partition, key or None, table_version)


def forward(shop: Any, partition: str) -> list[Leaning]:
    return leaning_on(shop.settings, open_registry(shop.settings), "toys", partition)


def seen(shop: Any, partition: str) -> list[tuple[Any, ...]]:
    def told_of(one: Leaning) -> list[tuple[Any, ...]]:
        published = ((reach.publication, reach.current) for reach in one.publications)
        return [(p.partition, p.run.split()[0], current) for p, current in published]

    return [(one.version.number, one.role, told_of(one)) for one in forward(shop, partition)]


def test_backward_from_a_publication_to_all_that_it_rests_on(told: Any) -> None:
    found = backward(told, "2026-01-18")
    assert (found.publication.version, found.version.number) == (2, 2)
    assert found.version.digest == found.publication.digest
    assert (found.promotion.version, found.promotion.actor) == (2, "ada")
    assert found.promotion.reason == "retrain for 2026-01-17: promote"
    assert found.promotion.effective_from.isoformat() == "2026-01-18T00:00:00+00:00"
    assert found.report.passed
    assert found.report.subject == "toys version 2"
    assert [part.partition for part in found.snapshot.training] == [f"2026-01-{day:02}" for day in range(7, 14)]
    assert [part.partition for part in found.snapshot.holdout] == ["2026-01-14", "2026-01-15", "2026-01-16"]
    assert found.snapshot.digest == found.version.snapshot
    assert found.environment.packages["scikit-learn"]
    assert (found.earlier, found.replaced_by, found.row, found.notes) == ((), None, None, ())


def test_a_publication_that_was_replaced_keeps_its_lineage(told: Any) -> None:
    now = backward(told, "2026-01-16")
    assert now.publication.run.startswith("second ")
    assert now.promotion.reason == "retrain for 2026-01-14: first"  # not that of version 2, which came in between
    (then,) = now.earlier
    assert now.publication.input_digest != then.input_digest
    before = backward(told, "2026-01-16", table_version=then.table_version)
    assert (before.publication, before.earlier, before.replaced_by) == (then, (), now.publication)
    with pytest.raises(Misconfigured, match="2026-01-16 is not published as table version 99"):
        backward(told, "2026-01-16", table_version=99)


def test_a_row_has_a_score_or_a_reason_or_is_not_there(told: Any) -> None:
    scores = pd.read_parquet(predictions_path(told.settings, told.job("2026-01-16").spec)).set_index("toy_id")
    row = backward(told, "2026-01-16", SCORED).row
    assert (row.score, row.version, row.reason) == (scores.loc[SCORED, "score"].iloc[-1], 1, None)
    assert row.sentence == f"The row has the score {row.score:.6g}, by version 1."
    row = backward(told, "2026-01-16", REJECTED).row
    assert (row.score, row.version, row.reason) == (None, None, "price:above_maximum")
    assert row.sentence == "The row was rejected: price:above_maximum."
    row = backward(told, "2026-01-18", SCORED).row
    assert (row.score, row.version, row.reason) == (None, None, None)
    assert row.sentence == "There is no row with this key in toys 2026-01-18, neither scored nor rejected."


def test_a_row_is_read_as_of_its_publication(told: Any) -> None:
    first = backward(told, "2026-01-16").earlier[0]
    row = backward(told, "2026-01-16", REJECTED, table_version=first.table_version).row
    assert row.score is not None
    assert row.reason is None


def test_forward_from_a_training_partition_to_every_score(told: Any) -> None:
    one = [("2026-01-16", "first", False), ("2026-01-16", "second", True)]
    two = [("2026-01-18", "test", True)]
    assert seen(told, "2026-01-05") == [(1, "training", one)]
    assert seen(told, "2026-01-08") == [(1, "training", one), (2, "training", two)]
    assert seen(told, "2026-01-12") == [(1, "holdout", one), (2, "training", two)]
    assert seen(told, "2026-01-16") == [(2, "holdout", two)]
    assert seen(told, "2026-01-03") == seen(told, "2026-01-17") == []
    assert len({leaning.part.digest for leaning in forward(told, "2026-01-12")}) == 1  # the same rows in both


def test_a_version_without_a_snapshot_is_found_by_its_window(shop: Any) -> None:
    shop.retrain("2026-01-14")
    publish(shop.prepare("2026-01-16"))
    version = open_registry(shop.settings).store.version("toys", 1)
    run = mlflow.MlflowClient(shop.settings.tracking_uri).get_run(version.mlflow_run_id)
    artifacts = Path(unquote(urlparse(run.info.artifact_uri).path))
    (artifacts / "snapshot.json").write_text("{}")
    next(artifacts.glob("evidence/*.json")).write_text("{}")
    assert [(one.version.number, one.role, one.part) for one in forward(shop, "2026-01-13")] == [(1, "window", None)]
    assert forward(shop, "2026-01-14") == []
    found = backward(shop, "2026-01-16")
    assert (found.snapshot, found.report) == (None, None)
    assert "snapshot.json of the run of toys version 1 cannot be read" in found.notes[0]
    assert "was changed after it was attached" in found.notes[1]


def test_another_registry_is_not_taken_for_the_one_of_the_publication(told: Any) -> None:
    real = open_registry(told.settings)
    store = MemoryStore()
    version = real.store.version("toys", 1)
    fields = {name: value for name, value in vars(version).items() if name not in {"number", "semver", "override"}}
    store.register(type(version).__base__(**fields | {"digest": "0" * 64}))
    with pytest.raises(Misconfigured, match="the registry's version 1 has 000000000000: look in the registry"):
        lineage(told.settings, Registry(store, real.ledger), "toys", "2026-01-16")


def test_a_version_that_was_asked_for_by_number_was_not_in_production(open_shop: Any) -> None:
    from jobs.train import train

    train(open_shop.job("2026-01-15", "more"))
    publish(open_shop.prepare("2026-01-18", selector="2"))
    found = backward(open_shop, "2026-01-18")
    assert (found.version.number, found.report, found.promotion) == (2, None, None)


def test_the_promotion_is_the_one_in_force_for_the_partition_as_was_known_when_it_was_published(open_shop: Any) -> None:
    registry = open_registry(open_shop.settings)

    def record(effective_from: str, reason: str) -> None:
        with registry.ledger.locked("toys") as session:
            first = session.history("toys")[0]
            instant = datetime.fromisoformat(effective_from).replace(tzinfo=UTC)
            session.append(replace(first, effective_from=instant, recorded_at=datetime.now(UTC), reason=reason))

    record("2026-02-01", "once more, for later partitions")
    publish(open_shop.prepare("2026-01-16"))
    record("2026-01-16", "backdated after the publication")
    assert backward(open_shop, "2026-01-16").promotion.reason == "retrain for 2026-01-14: first"


def test_what_became_of_the_version_since_is_told(open_shop: Any) -> None:
    registry = open_registry(open_shop.settings)
    publish(open_shop.prepare("2026-01-16"))
    with registry.ledger.locked("toys") as session:
        first = session.history("toys")[0]
        until = datetime(2026, 3, 1, tzinfo=UTC)
        session.append(replace(first, kind=Kind.override, until=until, recorded_at=datetime.now(UTC)))
    assert backward(open_shop, "2026-01-16").notes == (
        "Version 1 was in production although its gate was closed, until 2026-03-01 00:00 UTC.",
    )
    with registry.ledger.locked("toys") as session:
        gone = replace(first, kind=Kind.roll_back, version=7, replaces=1, reason="all wrong", actor="bob")
        session.append(replace(gone, recorded_at=datetime(2026, 2, 3, 4, 5, tzinfo=UTC)))
    assert backward(open_shop, "2026-01-16").notes[1:] == (
        "Version 1 was withdrawn at 2026-02-03 04:05 UTC by bob, from 2026-01-15 00:00 UTC on: all wrong",
    )


def test_a_partition_that_is_not_published_is_one_sentence(told: Any) -> None:
    with pytest.raises(Misconfigured, match="toys 2026-01-17 is not published: `lamplighter status`"):
        backward(told, "2026-01-17")
    with pytest.raises(Misconfigured, match="no partition key"):
        forward(told, "yesterday")


def test_a_composite_key_is_given_column_by_column_or_with_commas(shop: Any) -> None:
    spec = (shop.settings.models / "toys" / "model.yaml").read_text()
    shop.write_model(spec=spec.replace("key: [toy_id]", "key: [toy_id, shelf, sold]"))
    for path in shop.settings.data.rglob("*.parquet"):
        frame = pd.read_parquet(path).drop(columns="day", errors="ignore")
        number = frame["toy_id"].str.split("-").str[1].astype("int32")
        sold = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(number, unit="h")
        frame.assign(shelf=number % 9, sold=sold).to_parquet(path, index=False)
    shop.retrain("2026-01-14")
    publish(shop.prepare("2026-01-16"))
    by_column = backward(shop, "2026-01-16", "016-10", "1", "2026-01-01T10:00:00Z").row
    assert by_column.score is not None
    assert backward(shop, "2026-01-16", "016-10,1,2026-01-01T10:00:00Z").row == by_column
    assert backward(shop, "2026-01-16", "016-10", "2", "2026-01-01T10:00:00Z").row.score is None
    with pytest.raises(Misconfigured, match="The key of toys is toy_id, shelf, sold: give --key once for each"):
        backward(shop, "2026-01-16", "016-10", "1")
    with pytest.raises(Misconfigured, match=r"The key shelf is int64.*and --key does not give one"):
        backward(shop, "2026-01-16", "016-10", "top", "2026-01-01T10:00:00Z")


def command(shop: Any, *arguments: str) -> Any:
    variables = {"LAMPLIGHTER_HOME": str(shop.settings.home), "LAMPLIGHTER_MODELS": str(shop.settings.models)}
    return CliRunner().invoke(app, ["lineage", "toys", *arguments], env={**variables, "COLUMNS": "200"})


def test_the_command_tells_people_and_machines(told: Any) -> None:
    said = re.sub(r"\s+", " ", command(told, "--partition", "2026-01-16", "--key", REJECTED).stdout)
    for words in (
        "The row was rejected: price:above_maximum.",
        "by version 1: 119 rows, 1 rejected",
        "It replaced",
        "by ada: retrain for 2026-01-14: first",
        "The metric gate of toys version 1 is open",
        "2026-01-04 to 2026-01-10: 840 rows of 7 partitions",
        "2026-01-11 to 2026-01-13: 360 rows of 3 partitions",
    ):
        assert words in said
    found = json.loads(command(told, "--partition", "2026-01-16", "--key", SCORED, "--json").stdout)
    assert found["row"]["score"] == backward(told, "2026-01-16", SCORED).row.score
    assert found["snapshot"]["training"][0]["partition"] == "2026-01-04"
    said = command(told, "--trained-on", "2026-01-12").stdout
    assert len(re.findall("2026-01-16 .*no, replaced since", said)) == 1
    assert len(re.findall("2026-01-1[68] .* yes ", said)) == 2
    leaning = json.loads(command(told, "--trained-on", "2026-01-12", "--json").stdout)
    assert [(one["version"]["number"], one["role"], len(one["publications"])) for one in leaning] == [
        (1, "holdout", 2),
        (2, "training", 1),
    ]
    assert (
        "No version of toys was trained or evaluated on 2026-01-20."
        in command(told, "--trained-on", "2026-01-20").stdout
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        (("--partition", "2026-01-16", "--trained-on", "2026-01-12"), 2),
        (("--trained-on", "2026-01-12", "--key", SCORED), 2),
        (("--trained-on", "2026-01-12", "--table-version", "1"), 2),
        (("--partition", "2026-01-17"), 4),
    ],
)
def test_the_command_refuses_what_it_cannot_answer(told: Any, arguments: tuple[str, ...], code: int) -> None:
    assert command(told, *arguments).exit_code == code
