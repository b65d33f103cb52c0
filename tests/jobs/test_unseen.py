"""No version is judged on rows that it, or the champion, was trained on; and no decision is forgotten."""

from typing import Any

import pytest

from jobs.decisions import kept_back
from jobs.errors import Misconfigured
from jobs.evaluate import evaluate
from jobs.judge import judge
from jobs.registry import open_registry
from jobs.status import status
from jobs.train import train
from jobs.unseen import unseen_partitions

DAY = "2026-01-19"


def respec(shop: Any, before: str, after: str) -> None:
    path = shop.settings.models / "toys" / "model.yaml"
    text = path.read_text()
    assert before in text
    shop.write_model(spec=text.replace(before, after))


def test_a_version_is_not_judged_on_rows_that_it_was_trained_on(open_shop: Any) -> None:
    train(open_shop.job(DAY, "newer"))
    with pytest.raises(Misconfigured, match=r"toys version 2 was trained on 2026-01-\d\d to .*on rows that it knows"):
        evaluate(open_shop.job("2026-01-16", "older"), 2)
    found = evaluate(open_shop.job(DAY, "newer"), 2)
    assert found.notes[0] == "Neither was trained on any of these rows."


def test_the_champion_is_compared_on_rows_that_it_has_not_seen(open_shop: Any) -> None:
    respec(open_shop, "window: 10d, holdout: 3d", "window: 12d, holdout: 8d")
    job = open_shop.job("2026-01-14", "longer")
    train(job)
    found = evaluate(job)
    assert found.champion is not None
    assert found.holdout == "2026-01-11 to 2026-01-13"
    assert found.rows == 360
    assert found.notes[0] == (
        "toys version 1 was trained on 2026-01-06 to 2026-01-10 (5 partitions) of the holdout of 2026-01-06 to "
        "2026-01-13 (8 partitions): only the rows that neither has seen are judged."
    )


def test_a_champion_that_has_seen_all_cannot_be_compared_with(open_shop: Any) -> None:
    respec(open_shop, "window: 10d, holdout: 3d", "window: 4d, holdout: 2d")
    job = open_shop.job("2026-01-09", "early")
    train(job)
    registry = open_registry(open_shop.settings)
    champion = registry.store.version("toys", 1)
    with pytest.raises(Misconfigured, match="toys version 1, in production as of 2026-01-09, was trained on the whole"):
        unseen_partitions(job, registry, registry.store.version("toys", 2), champion)


def test_every_decision_is_kept_and_refusals_in_a_row_are_told(open_shop: Any) -> None:
    registry = open_registry(open_shop.settings)
    assert kept_back(registry, "toys") is None
    respec(open_shop, "at_least: 0.55", "at_least: 0.99")
    for run, day in (("first", DAY), ("second", "2026-01-20")):
        job = open_shop.job(day, run)
        train(job)
        evaluate(job)
        judge(job)
    found = kept_back(registry, "toys")
    assert found is not None
    assert found.sentence() == "the newest, version 3 for 2026-01-20, was kept back by its metric gate, 2 in a row"
    told = status(open_shop.settings, registry)["models"]["toys"]["kept_back"]
    assert told == {"version": 3, "partition": "2026-01-20", "in_a_row": 2}
    respec(open_shop, "at_least: 0.99", "at_least: 0.55")
    again = judge(open_shop.job("2026-01-20", "second"))
    assert again.action == "promote"
    assert "Judged before, at " in again.report.notes[-1]
    assert "toys version 3 is not promoted" in again.report.notes[-1]
    assert [d.action for _, d in registry.decisions("toys") if d.candidate.number == 3] == ["keep", "promote"]
    assert kept_back(registry, "toys") is None
