"""What only MLflow can do: pages, tags, the legacy stage, foreign versions."""

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
from model_registry.store import Stage, Version


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
