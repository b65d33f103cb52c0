"""What every registry store must do, over the one in memory and MLflow on SQLite, on PostgreSQL and behind a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from registry.desk import decision_on

from model_registry.errors import UnknownVersion
from model_registry.metric_gate import Decision
from model_registry.store import Stage


def test_register_numbers_versions_from_one(room: Any) -> None:
    first, second = room.new("one"), room.new("two")
    assert room.store.register(first) == first.numbered(1)
    assert room.store.register(second) == second.numbered(2)


def test_register_again_gives_the_version_that_is_there(room: Any) -> None:
    registered = room.store.register(room.new("one"))
    again = replace(room.new("other files"), digest=registered.digest)
    assert room.store.register(again) == registered
    assert len(room.store.versions(room.model)) == 1


@pytest.mark.parametrize("changed", [{"digest": "d" * 64}, {"partition": "2013-02-02"}])
def test_another_digest_or_partition_is_another_version(room: Any, changed: dict[str, str]) -> None:
    new = room.new("one")
    assert [room.store.register(new).number, room.store.register(replace(new, **changed)).number] == [1, 2]


def test_version_comes_back_whole(room: Any) -> None:
    registered = room.store.register(room.new("one"))
    assert room.store.version(room.model, 1) == registered
    assert room.store.version(room.model, 1).trained_until.tzinfo is not None


def test_unknown_version_is_named(room: Any) -> None:
    with pytest.raises(UnknownVersion, match=f"{room.model} has no version 1"):
        room.store.version(room.model, 1)
    room.store.register(room.new())
    with pytest.raises(UnknownVersion, match=f"{room.model} has no version 7"):
        room.store.version(room.model, 7)


def test_versions_ascend_by_number(room: Any) -> None:
    new = room.new()
    for day in range(1, 12):  # from ten on, text would sort otherwise
        room.store.register(replace(new, partition=f"2013-02-{day:02}"))
    assert [v.number for v in room.store.versions(room.model)] == list(range(1, 12))


def test_unknown_model_has_no_versions(room: Any) -> None:
    assert room.store.versions(room.model) == []


def test_alias_is_none_then_set_then_moved(room: Any) -> None:
    assert room.store.alias(room.model, Stage.production) is None  # not even a model
    for content in ("one", "two"):
        room.store.register(room.new(content))
    assert room.store.alias(room.model, Stage.production) is None
    room.store.set_alias(room.model, Stage.production, 1)
    assert room.store.alias(room.model, Stage.production) == 1
    assert room.store.alias(room.model, Stage.staging) is None
    room.store.set_alias(room.model, Stage.production, 2)
    assert room.store.alias(room.model, Stage.production) == 2
    room.store.set_alias(room.model, Stage.staging, 1)
    assert [room.store.alias(room.model, stage) for stage in Stage] == [1, 2, None]


def test_alias_needs_a_version(room: Any) -> None:
    room.store.register(room.new())
    with pytest.raises(UnknownVersion, match="no version 3"):
        room.store.set_alias(room.model, Stage.production, 3)
    assert room.store.alias(room.model, Stage.production) is None


def test_an_alias_is_dropped_once(room: Any) -> None:
    room.store.register(room.new())
    room.store.drop_alias(room.model, Stage.production)
    for stage in (Stage.staging, Stage.production):
        room.store.set_alias(room.model, stage, 1)
    for _ in range(2):
        room.store.drop_alias(room.model, Stage.production)
        assert [room.store.alias(room.model, stage) for stage in Stage] == [1, None, None]


def test_facts_are_kept_with_a_version(room: Any) -> None:
    version, other = room.store.register(room.new("one")), room.store.register(room.new("two"))
    assert (version.semver, version.override) == ("", "")
    room.store.tag(version, "semver", "1.2.0")
    room.store.tag(version, "override", "until 2013-03-01 00:00 UTC by ada: Sturm ❄")
    found = room.store.version(room.model, 1)
    assert (found.semver, found.override) == ("1.2.0", "until 2013-03-01 00:00 UTC by ada: Sturm ❄")
    assert found == version
    room.store.tag(version, "override", "")
    assert [v.semver for v in room.store.versions(room.model)] == ["1.2.0", ""]
    assert room.store.version(room.model, 1).override == ""
    assert room.store.version(room.model, 2) == other


def test_evidence_comes_back_and_a_later_decision_replaces_it(room: Any) -> None:
    version, other = room.store.register(room.new("one")), room.store.register(room.new("two"))
    assert room.store.evidence(version) is None
    room.store.attach(decision_on(version, passed=False), "<p>closed</p>")
    assert room.store.evidence(version) == decision_on(version, passed=False)
    room.store.attach(decision_on(version, other))
    assert room.store.evidence(version) == decision_on(version, other)
    assert room.store.evidence(other) is None


def test_versions_of_one_run_keep_their_evidence_apart(room: Any) -> None:
    new = room.new()
    one, two = room.store.register(new), room.store.register(replace(new, partition="2013-02-02"))
    decided: list[Decision] = [decision_on(one), decision_on(two, one)]
    for decision in decided:
        room.store.attach(decision)
    assert [room.store.evidence(v) for v in (one, two)] == decided


def test_fetch_brings_all_files(room: Any, tmp_path: Path, model_files: Callable[..., Path]) -> None:
    version = room.store.register(room.new("wanted"))
    target = tmp_path / "fetched"
    target.mkdir()
    fetched = room.store.fetch(version, target)
    assert fetched.is_relative_to(target)
    expected = model_files(tmp_path / "expected", "wanted")
    for name in ("MLmodel", "coefficients.json", "compiled/leaves.bin"):
        assert (fetched / name).read_bytes() == (expected / name).read_bytes()


def test_fetched_files_are_a_copy(room: Any, tmp_path: Path) -> None:
    version = room.store.register(room.new("wanted"))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (room.store.fetch(version, tmp_path / "a") / "coefficients.json").write_text("spoiled")
    assert "wanted" in (room.store.fetch(version, tmp_path / "b") / "coefficients.json").read_text()


def test_a_version_keeps_what_pins_its_rows_and_its_code(room: Any) -> None:
    new = replace(room.new("one"), snapshot="a" * 64, code="b" * 64)
    registered = room.store.register(new)
    assert (registered.snapshot, registered.code) == ("a" * 64, "b" * 64)
    assert room.store.version(room.model, 1) == registered
    assert room.store.versions(room.model) == [registered]


def test_a_version_without_these_is_read_as_before(room: Any) -> None:
    room.store.register(room.new("one"))
    found = room.store.version(room.model, 1)
    assert (found.snapshot, found.code) == ("", "")


@pytest.mark.parametrize("name", ["snapshot.json", "kept/deeper/pipeline.py"])
def test_a_file_of_the_run_is_read_and_an_absent_one_is_none(room: Any, name: str) -> None:
    version = room.store.register(room.new("one"))
    assert room.store.run_file(version, name) is None
    room.log(version, "Zürich\n", name)
    assert room.store.run_file(version, name) == "Zürich\n"
    assert room.store.run_file(version, f"{name}.old") is None
