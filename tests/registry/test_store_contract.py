"""What every registry store must do, over the one in memory and MLflow on SQLite, on PostgreSQL and behind a server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from registry.desk import decision_on

from model_registry.errors import Misconfigured, Unavailable, UnknownVersion
from model_registry.metric_gate import Decision
from model_registry.store import Stage, Version


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


# What only MLflow can do


def test_the_page_lies_beside_the_report(mlflow_room: Any, tmp_path: Path) -> None:
    version = mlflow_room.store.register(mlflow_room.new())
    mlflow_room.store.attach(decision_on(version), "<p>Zürich</p>")
    listed = mlflow_room.client.list_artifacts(version.mlflow_run_id, "evidence")
    assert sorted(Path(found.path).suffix for found in listed) == [".html", ".json"]
    page = next(found.path for found in listed if found.path.endswith(".html"))
    local = mlflow_room.client.download_artifacts(version.mlflow_run_id, page, str(tmp_path))
    assert Path(local).read_text(encoding="utf-8") == "<p>Zürich</p>"


def test_the_verdict_is_shown_in_mlflow(mlflow_room: Any) -> None:
    version = mlflow_room.store.register(mlflow_room.new())
    mlflow_room.store.attach(decision_on(version))
    tags = mlflow_room.client.get_model_version(mlflow_room.model, "1").tags
    assert tags["lamplighter.verdict"] == decision_on(version).report.verdict()
    assert tags["lamplighter.partition"] == version.partition
    assert (tags["lamplighter.action"], tags["lamplighter.judged_against"]) == ("first", "no champion")


def _evidence_file(room: Any, version: Version) -> Path:
    """Where the report lies on disk; the server's own folder is reached by its run."""
    folder = Path(unquote(urlparse(room.client.get_run(version.mlflow_run_id).info.artifact_uri).path))
    return next(folder.glob("evidence/*.json"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_text(file.read_text().replace("0.7", "0.99")),
        lambda file: file.write_text(file.read_text().replace('"passed": false', '"passed": true')),
        lambda file: file.write_text("not even JSON"),
        lambda file: file.write_bytes(b"\xff\xfe"),
        lambda file: file.unlink(),
    ],
    ids=["figure", "verdict", "text", "bytes", "missing"],
)
def test_a_changed_report_is_refused(sqlite_room: Any, spoil: Callable[[Path], object]) -> None:
    version = sqlite_room.store.register(sqlite_room.new())
    sqlite_room.store.attach(decision_on(version, passed=False))
    spoil(_evidence_file(sqlite_room, version))
    with pytest.raises(Misconfigured, match=r"changed after it was attached.*judge it again"):
        sqlite_room.store.evidence(version)


def test_a_report_of_another_version_is_refused(mlflow_room: Any) -> None:
    version = mlflow_room.store.register(mlflow_room.new())
    mlflow_room.store.attach(decision_on(version, passed=False))
    mlflow_room.client.set_model_version_tag(mlflow_room.model, "1", "lamplighter.evidence", "0" * 64)
    with pytest.raises(Misconfigured, match="changed after it was attached"):
        mlflow_room.store.evidence(version)


def test_a_foreign_version_is_refused_with_a_remedy(mlflow_room: Any) -> None:
    ours = mlflow_room.store.register(mlflow_room.new())
    mlflow_room.client.create_model_version(mlflow_room.model, source=ours.artifact_uri, run_id=ours.mlflow_run_id)
    with pytest.raises(Misconfigured, match=r"not registered by Lamplighter .*`lamplighter train`, or point the alias"):
        mlflow_room.store.version(mlflow_room.model, 2)
    assert mlflow_room.store.versions(mlflow_room.model) == [ours]


def test_a_run_that_is_not_in_mlflow_is_named(mlflow_room: Any) -> None:
    version = replace(mlflow_room.store.register(mlflow_room.new()), mlflow_run_id="f" * 32)
    with pytest.raises(UnknownVersion, match=r"The run of .* version 1 is not in MLflow"):
        mlflow_room.store.run_file(version, "snapshot.json")


def test_a_server_that_does_not_answer_is_unavailable(closed_port: int) -> None:
    from model_registry.mlflow_store import MlflowStore

    store = MlflowStore(f"http://127.0.0.1:{closed_port}")
    began = time.monotonic()
    with pytest.raises(Unavailable, match=rf"MLflow at http://127\.0\.0\.1:{closed_port} does not answer"):
        store.alias("flight_delays", Stage.production)
    with pytest.raises(Unavailable):
        store.versions("flight_delays")
    assert time.monotonic() - began < 10


def _legacy_stages(room: Any) -> dict[int, str]:
    return {int(v.version): v.current_stage for v in room.client.search_model_versions(f"name='{room.model}'")}


@pytest.mark.parametrize("moves", [(1,), (1, 2), (1, 2, 3), (2, 1), (1, 2, 1)])
def test_the_legacy_stage_is_kept_in_step(mlflow_room: Any, moves: tuple[int, ...]) -> None:
    new = mlflow_room.new()
    for day in range(1, 5):
        mlflow_room.store.register(replace(new, partition=f"2013-02-{day:02}"))
    mlflow_room.store.set_alias(mlflow_room.model, Stage.staging, 4)
    for number in moves:
        mlflow_room.store.set_alias(mlflow_room.model, Stage.production, number)
    legacy = _legacy_stages(mlflow_room)
    assert [number for number, stage in legacy.items() if stage == "Production"] == [moves[-1]]
    assert {legacy[number] for number in moves[:-1] if number != moves[-1]} <= {"Archived"}
    assert legacy[4] == "Staging"


def test_one_version_is_in_legacy_staging(mlflow_room: Any) -> None:
    new = mlflow_room.new()
    for day in range(1, 4):
        mlflow_room.store.register(replace(new, partition=f"2013-02-{day:02}"))
    mlflow_room.store.set_alias(mlflow_room.model, Stage.production, 1)
    for number in (2, 3):
        mlflow_room.store.set_alias(mlflow_room.model, Stage.staging, number)
    assert _legacy_stages(mlflow_room) == {1: "Production", 2: "None", 3: "Staging"}


def test_staging_the_version_in_production_leaves_it_in_legacy_production(mlflow_room: Any) -> None:
    mlflow_room.store.register(mlflow_room.new())
    for stage in (Stage.production, Stage.staging):
        mlflow_room.store.set_alias(mlflow_room.model, stage, 1)
    assert _legacy_stages(mlflow_room) == {1: "Production"}
    assert mlflow_room.store.alias(mlflow_room.model, Stage.staging) == 1


def test_dropping_an_alias_takes_the_legacy_stage_along_and_no_other(mlflow_room: Any) -> None:
    mlflow_room.store.register(mlflow_room.new())
    for stage in (Stage.staging, Stage.production):
        mlflow_room.store.set_alias(mlflow_room.model, stage, 1)
    mlflow_room.store.drop_alias(mlflow_room.model, Stage.staging)
    assert _legacy_stages(mlflow_room) == {1: "Production"}
    mlflow_room.store.drop_alias(mlflow_room.model, Stage.production)
    assert _legacy_stages(mlflow_room) == {1: "None"}


def test_a_version_that_is_deleted_takes_its_aliases_along_and_its_number_is_not_given_again(mlflow_room: Any) -> None:
    first, second = (mlflow_room.store.register(mlflow_room.new(content)) for content in ("one", "two"))
    mlflow_room.store.set_alias(mlflow_room.model, Stage.production, 2)
    mlflow_room.client.delete_model_version(mlflow_room.model, "2")
    assert mlflow_room.store.alias(mlflow_room.model, Stage.production) is None
    assert mlflow_room.store.versions(mlflow_room.model) == [first]
    for reach in (mlflow_room.store.evidence, lambda v: mlflow_room.store.tag(v, "override", "x")):
        with pytest.raises(UnknownVersion, match="version 2"):
            reach(second)
    with pytest.raises(UnknownVersion, match="no version 2"):
        mlflow_room.store.set_alias(mlflow_room.model, Stage.production, 2)
    assert mlflow_room.store.register(mlflow_room.new("three")).number == 3
