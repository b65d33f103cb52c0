"""Which version a scoring run gets, and which it is refused."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from registry.desk import FAR, NIGHT, Desk, day

from model_registry.errors import Misconfigured, UnknownVersion
from model_registry.resolution import named, resolve

MODEL = "flight_delays"


@pytest.fixture
def years(desk: Desk) -> Desk:
    """Three versions: 1 effective from day 0, 2 from day 10, 3 never promoted."""
    first, second, _ = (desk.candidate(until=day(n)) for n in (0, 10, 20))
    desk.promote(first, at=day(0))
    desk.promote(second, first, day(10))
    return desk


@pytest.mark.parametrize(
    ("selector", "at", "number"),
    [
        ("as-of", day(0), 1),
        ("as-of", day(10) - timedelta(microseconds=1), 1),
        ("as-of", day(10), 2),
        ("as-of", day(500), 2),
        ("production", day(10), 2),
        ("1", day(0), 1),
        ("3", day(20), 3),
    ],
)
def test_a_scoring_run_resolves_its_version(years: Desk, selector: str, at: datetime, number: int) -> None:
    assert resolve(years.registry, MODEL, selector, at).number == number


@pytest.mark.parametrize(
    ("selector", "at", "error", "says"),
    [
        ("as-of", day(-1), UnknownVersion, r"no version in production at 2013-02-07 00:00 UTC: retrain and promote"),
        ("production", day(9), Misconfigured, r"version 2 has seen data up to 2013-02-18 .*: choose as-of, or"),
        ("3", day(20) - timedelta(microseconds=1), Misconfigured, r"version 3 has seen data"),
        ("4", day(30), UnknownVersion, r"has no version 4"),
        ("latest", day(30), Misconfigured, r"'latest': ask for as-of, production, a number or one like 1\.2\.0"),
        ("-1", day(30), Misconfigured, r"'-1': ask for"),
        ("", day(30), Misconfigured, r"'': ask for"),
    ],
)
def test_a_scoring_run_is_refused(years: Desk, selector: str, at: datetime, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        resolve(years.registry, MODEL, selector, at)


@pytest.mark.parametrize("name", ["9" * 30, "9" * 5000])
def test_a_number_beyond_all_versions_is_unknown(years: Desk, name: str) -> None:
    with pytest.raises(UnknownVersion, match="has no version 999999"):
        named(years.registry, MODEL, name)


def test_a_version_that_saw_data_up_to_the_partition_scores_it(years: Desk) -> None:
    assert resolve(years.registry, MODEL, "2", day(10)).number == 2
    with pytest.raises(Misconfigured, match=r"begins at 2013-02-17 23:59 UTC: choose as-of"):
        resolve(years.registry, MODEL, "2", day(10) - timedelta(microseconds=1))


def test_a_semantic_version_names_one_version(years: Desk) -> None:
    for number, semver in ((1, "1.0.0"), (2, "1.10.0"), (3, "2.0.0")):
        years.store.tag(years.store.version(MODEL, number), "semver", semver)
    assert [resolve(years.registry, MODEL, name, FAR).number for name in ("1.0.0", "1.10.0", "2.0.0")] == [1, 2, 3]
    with pytest.raises(UnknownVersion, match=r"no version 1\.1\.0: `lamplighter history flight_delays` lists"):
        resolve(years.registry, MODEL, "1.1.0", FAR)
    for name in ("1.0", "1.0.0.0", "v1.0.0", "01.0.0", "1.0.0 "):
        with pytest.raises(Misconfigured, match="No version is called"):
            resolve(years.registry, MODEL, name, FAR)


def test_no_version_in_production_is_unknown(desk: Desk) -> None:
    desk.candidate()
    with pytest.raises(UnknownVersion, match="no version in production now: retrain and promote one first"):
        resolve(desk.registry, MODEL, "production", NIGHT)
