"""Semantic versions: major for another interface, minor for a better model, patch for the rest; each given once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry.desk import Desk, decision_on

from model_registry.semver import FIRST, PATTERN, Change, change, following
from model_registry.store import Version

MODEL = "flight_delays"


@pytest.mark.parametrize(
    ("fields", "improved", "expected"),
    [
        ({}, False, Change.patch),
        ({}, True, Change.minor),
        ({"signature": "t" * 64}, False, Change.major),
        ({"signature": "t" * 64}, True, Change.major),
        ({"target": "t" * 64}, True, Change.major),
        ({"digest": "t" * 64, "partition": "2013-03-01"}, False, Change.patch),
    ],
)
def test_what_a_candidate_changes(
    version_of: Callable[..., Version], fields: dict[str, str], improved: bool, expected: Change
) -> None:
    assert change(version_of(2, **fields), version_of(1), improved=improved) is expected
    assert expected.value == expected.name


@pytest.mark.parametrize(
    ("taken", "kind", "expected"),
    [
        ([], None, "1.0.0"),
        ([], Change.major, "1.0.0"),
        (["", "latest", "1.0"], Change.minor, "1.0.0"),
        (["1.2.3"], Change.major, "2.0.0"),
        (["1.2.3"], Change.minor, "1.3.0"),
        (["1.2.3"], Change.patch, "1.2.4"),
        (["1.2.3"], None, "1.2.4"),
        (["1.9.0", "1.10.0", "", "1.2.30"], Change.minor, "1.11.0"),
        (["10.0.0", "9.9.9"], Change.major, "11.0.0"),
    ],
)
def test_the_version_that_follows(taken: list[str], kind: Change | None, expected: str) -> None:
    assert following(taken, kind) == expected


NUMBERS = st.integers(0, 40)
NAMES = st.builds("{}.{}.{}".format, NUMBERS, NUMBERS, NUMBERS)


@given(taken=st.lists(NAMES | st.just(""), max_size=6), kind=st.none() | st.sampled_from(Change))
def test_what_follows_is_new_and_newer_than_all(taken: list[str], kind: Change | None) -> None:
    found = following(taken, kind)
    assert PATTERN.fullmatch(found)
    parts = [tuple(int(part) for part in name.split(".")) for name in [*taken, found] if name]
    assert parts[-1] == max(parts)
    assert parts.count(parts[-1]) == 1
    assert found == FIRST or any(taken)


@pytest.mark.parametrize("name", ["1.0", "1.0.0.0", "01.0.0", "1.00.0", "1.0.01", "v1.0.0", "1.0.0-rc1", "", "1.0.0\n"])
def test_what_is_no_semantic_version(name: str) -> None:
    assert PATTERN.fullmatch(name) is None


def test_a_judged_version_is_named_once(desk: Desk) -> None:
    first, second, third = (desk.candidate() for _ in range(3))
    named = desk.registry.name(decision_on(first), improved=True)
    assert named.candidate.semver == "1.0.0"
    assert replace(named, candidate=first) == decision_on(first)
    again = desk.registry.name(decision_on(first, third), improved=True)
    assert again.candidate.semver == "1.0.0"  # a second judgement changes nothing
    assert desk.registry.name(decision_on(second, first), improved=True).candidate.semver == "1.1.0"
    assert desk.registry.name(decision_on(third, first), improved=False).candidate.semver == "1.1.1"
    assert [version.semver for version in desk.store.versions(MODEL)] == ["1.0.0", "1.1.0", "1.1.1"]


def test_another_interface_is_a_major_version_and_one_without_a_champion_a_patch(desk: Desk) -> None:
    first, second, third = desk.candidate(), desk.candidate(signature="t"), desk.candidate(target="returns")
    for decision, semver in (
        (decision_on(first), "1.0.0"),
        (decision_on(second, first), "2.0.0"),
        (decision_on(third), "2.0.1"),
    ):
        assert desk.registry.name(decision, improved=True).candidate.semver == semver
