"""`lamplighter backfill` and `lamplighter diff` as people and machines meet them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import in_shop as run

from jobs.rescore import score_partition

RANGE = ("toys", "--from", "2026-01-14", "--to", "2026-01-16")


def test_plan_run_and_plan_again(open_shop: Any) -> None:
    before = run(open_shop, "backfill", "plan", *RANGE)
    assert before.returncode == 0, before.stderr
    assert "2 missing, 1 refused. 2 partitions are to be scored, 240 rows" in before.stdout.replace("\n", " ")
    assert "has no version in production at 2026-01-14" in before.stdout
    ran = run(open_shop, "backfill", "run", *RANGE, "--without-airflow")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("published as table version") == 2
    after = json.loads(run(open_shop, "backfill", "plan", *RANGE, "--json").stdout)
    assert [p["state"] for p in after["partitions"]] == ["refused", "current", "current"]
    assert (after["rows"], after["by_hand"]) == (0, [])
    assert "Nothing is to be scored" in after["sentence"]


def test_a_partition_that_fails_is_named_and_the_others_are_published(open_shop: Any) -> None:
    rows = pd.read_parquet(open_shop.sales("2026-01-15")).assign(price=-1.0)
    open_shop.write_sales("2026-01-15", rows)
    ran = run(open_shop, "backfill", "run", *RANGE, "--without-airflow", "--json")
    assert ran.returncode == 3
    assert [(o["partition"], o["done"]) for o in json.loads(ran.stdout)] == [
        ("2026-01-15", False),
        ("2026-01-16", True),
    ]
    assert "1 of 2 partitions were not published: 2026-01-15." in ran.stderr


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "No Airflow runs from this home"),
        ({"LAMPLIGHTER_AIRFLOW_URL": "http://127.0.0.1:9"}, "Airflow does not answer at http://127.0.0.1:9"),
    ],
)
def test_without_an_airflow_one_sentence_says_what_to_do(open_shop: Any, variables: dict[str, str], says: str) -> None:
    ran = run(open_shop, "backfill", "run", *RANGE, **variables)
    assert ran.returncode == 1
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


def test_only_some_states_may_be_asked_for(open_shop: Any) -> None:
    plan = json.loads(run(open_shop, "backfill", "plan", *RANGE, "--only", "stale-model", "--json").stdout)
    assert [p["chosen"] for p in plan["partitions"]] == [False, False, False]
    assert run(open_shop, "backfill", "plan", *RANGE, "--only", "tired").returncode == 2


def test_diff_speaks_to_people_and_machines_and_draws(open_shop: Any, tmp_path: Path) -> None:
    score_partition(open_shop.job("2026-01-16"))
    rows = pd.read_parquet(open_shop.sales("2026-01-16"))
    rows.loc[:20, "price"] *= 4
    open_shop.write_sales("2026-01-16", rows)
    score_partition(open_shop.job("2026-01-16", "again"))
    picture = tmp_path / "pictures" / "diff.png"
    ran = run(open_shop, "diff", "toys", "--partition", "2026-01-16", "--picture", str(picture))
    assert ran.returncode == 0, ran.stderr
    for words in ("Largest movers", "Distribution of the scores", "0 rows added, 0 removed", "Changes"):
        assert words in ran.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    found = json.loads(run(open_shop, "diff", "toys", "--partition", "2026-01-16", "--json").stdout)
    assert found["rows_changed"] + found["rows_same"] == 120
    assert found["movers"][0]["key"][0].startswith("016-")
    bad = run(open_shop, "diff", "toys", "--partition", "2026-01-16", "--picture", "/proc/no/diff.png")
    assert bad.returncode == 4
    never = run(open_shop, "diff", "toys", "--partition", "2026-01-17")
    assert (never.returncode, "was never published" in never.stderr) == (4, True)
