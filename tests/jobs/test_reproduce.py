"""Training a version again: from what was kept of it alone, with code that was pinned alone, and without a trace."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import mlflow
import pytest

import jobs.train
from jobs.errors import Misconfigured, Rejected, Tampered
from jobs.registry import open_registry
from jobs.reproduce import Reproduction, reproduce
from jobs.snapshot import Snapshot, part_path
from jobs.train import train
from model_registry.codec import from_json, to_json
from model_registry.errors import UnknownVersion
from model_registry.store import Version

DAY = "2026-01-14"


def again(shop: Any, number: int = 1) -> Reproduction:
    return reproduce(shop.settings, open_registry(shop.settings), "toys", number)


def logged(shop: Any, version: Version, name: str) -> Path:
    run = mlflow.MlflowClient(shop.settings.tracking_uri).get_run(version.mlflow_run_id)
    return Path(unquote(urlparse(run.info.artifact_uri).path)) / name


def state(shop: Any) -> tuple[Any, ...]:
    """All that a reproduction must leave alone."""
    client = mlflow.MlflowClient(shop.settings.tracking_uri)
    runs = [client.search_runs([e.experiment_id]) for e in client.search_experiments()]
    versions = open_registry(shop.settings).store.versions("toys")
    files = {p: p.read_bytes() for p in shop.settings.snapshots.rglob("*") if p.is_file()}
    return [r.to_dictionary() for some in runs for r in some], versions, files


def test_a_fresh_process_gives_the_same_digest_whatever_the_model_and_its_data_are_today(shop: Any) -> None:
    version = train(shop.job(DAY)).version
    shop.write_model(spec=(shop.settings.models / "toys" / "model.yaml").read_text().replace("seed: 7", "seed: 8"))
    (shop.settings.models / "toys" / "pipeline.py").write_text("raise SystemExit('today')")
    shutil.rmtree(shop.settings.data)
    before, result = state(shop), shop.root / "result.json"
    variables = {"LAMPLIGHTER_HOME": str(shop.settings.home), "LAMPLIGHTER_MODELS": str(shop.settings.models)}
    command = [sys.executable, "-m", "lamplighter.cli", "reproduce", "toys", "1", "--result", str(result)]
    environment = os.environ | variables | {"OMP_NUM_THREADS": "2"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=shop.root)
    assert ran.returncode == 0, ran.stderr
    digest = version.digest[:12]
    expected = f"toys version 1 is reproduced: 840 rows of 7 partitions and the seed 7 give the digest {digest} again."
    assert ran.stdout.strip() == expected
    told = json.loads(result.read_text())
    assert (told["status"], told["result"]["digest"]) == ("done", version.digest)
    assert state(shop) == before
    assert {path.name for path in shop.root.iterdir()} == {"home", "models", "result.json"}


def test_a_version_pins_its_rows_and_its_code(shop: Any) -> None:
    version = train(shop.job(DAY)).version
    snapshot = from_json(Snapshot, logged(shop, version, "snapshot.json").read_text())
    assert version.snapshot == snapshot.digest
    assert [part.partition for part in snapshot.training] == [f"2026-01-{day:02}" for day in range(4, 11)]
    assert [(part.partition, part.rows) for part in snapshot.holdout] == [(f"2026-01-{d}", 120) for d in (11, 12, 13)]
    for name in ("pipeline.py", "model.yaml"):
        assert logged(shop, version, name).read_text() == (shop.settings.models / "toys" / name).read_text()
    packages = json.loads(logged(shop, version, "environment.json").read_text())["packages"]
    assert packages["scikit-learn"] == package_version("scikit-learn")
    run = mlflow.MlflowClient(shop.settings.tracking_uri).get_run(version.mlflow_run_id)
    assert run.data.tags["lamplighter.snapshot"] == version.snapshot
    shop.write_model(pipeline=logged(shop, version, "pipeline.py").read_text() + "# another\n")
    assert train(shop.job("2026-01-15")).version.code != version.code


def test_a_pipeline_that_was_changed_in_mlflow_is_not_run(shop: Any) -> None:
    version = train(shop.job(DAY)).version
    was_run = shop.root / "was-run"
    pipeline = logged(shop, version, "pipeline.py")
    pipeline.write_text(f"open({str(was_run)!r}, 'w').close()\n" + pipeline.read_text())
    with pytest.raises(Tampered, match=r"pipeline\.py of the run of toys version 1 was changed after registration"):
        again(shop)
    assert not was_run.exists()


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("model.yaml", lambda text: text.replace("seed: 7", "seed: 8"), "was changed after registration"),
        ("snapshot.json", lambda text: text.replace("2026-01-04", "2026-01-03"), "was changed after registration"),
        ("snapshot.json", lambda text: text[:-9], "cannot be read"),
        ("pipeline.py", None, "is missing"),
        ("snapshot.json", None, "is missing"),
    ],
)
def test_what_the_run_kept_is_verified(shop: Any, name: str, change: Any, says: str) -> None:
    path = logged(shop, train(shop.job(DAY)).version, name)
    if change is None:
        path.unlink()
    else:
        path.write_text(change(path.read_text()))
    with pytest.raises(Tampered, match=rf"{name}.* of the run of toys version 1 {says}.*: restore the run"):
        again(shop)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?")])
def test_a_spoiled_part_of_the_snapshot_is_named_and_training_again_mends_it(shop: Any, spoil: Any) -> None:
    version = train(shop.job(DAY)).version
    snapshot = from_json(Snapshot, logged(shop, version, "snapshot.json").read_text())
    spoil(part_path(shop.settings.snapshots, "toys", snapshot.training[2].digest))
    with pytest.raises(Rejected, match=r"version 1 cannot be reproduced\. The part 2026-01-06 .*train the same"):
        again(shop)
    train(shop.job(DAY))
    assert again(shop).digest == version.digest


def test_what_is_random_without_the_seed_is_not_reproduced(shop: Any) -> None:
    pipeline = (shop.settings.models / "toys" / "pipeline.py").read_text()
    random = pipeline.replace("max_iter=8", "learning_rate=random.uniform(0.1, 0.2), max_iter=8")
    shop.write_model(pipeline=f"import random\n{random}")
    version = train(shop.job(DAY)).version
    with pytest.raises(Rejected) as told:
        again(shop)
    assert f"its digest is {version.digest[:12]}, and now" in str(told.value)
    assert "different are data/predictor/compiled.npz, data/predictor/pipeline.skops, " in str(told.value)
    assert "Code and packages are the same: look for what is random in pipeline.py" in str(told.value)


def test_other_packages_are_named(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    version = train(shop.job(DAY)).version
    numbers = {"scikit-learn": "0.1"}
    monkeypatch.setattr(jobs.train, "package_version", lambda name: numbers.get(name) or package_version(name))
    kept = logged(shop, version, "environment.json")
    kept.write_text(kept.read_text().replace(f'"{package_version("numpy")}"', '"0.2"'))
    with pytest.raises(Rejected, match=r"the fitted pipeline is the same, and different are only .*requirem") as told:
        again(shop)
    assert f"A likely reason: numpy was 0.2 and is {package_version('numpy')}" in str(told.value)
    kept.unlink()
    with pytest.raises(Rejected, match=r"Where it was trained is not known: its run has no environment\.json"):
        again(shop)


def test_files_of_the_version_that_were_changed_are_said_so(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    version = train(shop.job(DAY)).version
    monkeypatch.setattr(jobs.train, "package_version", lambda _name: "9")
    requirements = logged(shop, version, "model/requirements.txt")
    requirements.write_text("numpy==0.3\n")
    with pytest.raises(Rejected, match="they were changed after registration"):
        again(shop)


def test_a_version_from_before_snapshots_is_one_sentence(shop: Any) -> None:
    version = train(shop.job(DAY)).version
    fields = {name: value for name, value in vars(version).items() if name not in {"number", "semver", "override"}}
    old = jobs.train.NewVersion(**fields | {"snapshot": "", "code": "", "partition": "2026-01-13"})
    registry = open_registry(shop.settings)
    assert registry.store.register(old).number == 2
    assert registry.store.version("toys", 2) == replace(version, number=2, snapshot="", code="", partition="2026-01-13")
    with pytest.raises(Misconfigured, match="registered before snapshots were kept"):
        again(shop, 2)
    with pytest.raises(UnknownVersion, match="no version 3"):
        again(shop, 3)


def test_a_version_survives_json(shop: Any) -> None:
    version = train(shop.job(DAY)).version
    assert from_json(Version, to_json(version)) == version
    old = {name: value for name, value in json.loads(to_json(version)).items() if name not in {"snapshot", "code"}}
    assert from_json(Version, json.dumps(old)).snapshot == ""
