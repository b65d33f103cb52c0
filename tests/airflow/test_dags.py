"""What Airflow finds under dags/: one retrain and one score DAG a model, parsed quickly, with a form for people."""

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from jobs.settings import Settings
from jobs.spec_file import load_spec

PROJECT = Path(__file__).resolve().parents[2]
LOOK = """
import json, runpy, sys, time
began = time.perf_counter()
import airflow.sdk  # what Airflow loads itself is not our time
airflow_seconds, began = time.perf_counter() - began, time.perf_counter()
found = {}
for file in ("retrain", "score", "promote"):
    found |= {k: v for k, v in runpy.run_path(f"dags/{file}.py").items() if isinstance(v, airflow.sdk.DAG)}
found.pop("dag", None)
seconds = time.perf_counter() - began
heavy = {"dask", "deltalake", "distributed", "great_expectations", "mlflow", "numpy", "pandas", "pyarrow", "pyspark",
         "sklearn", "skops"}
times = {"seconds": seconds, "airflow_seconds": airflow_seconds}
print(json.dumps(times | {"heavy": sorted(heavy & set(sys.modules)), "dags": {
    name: {
        "graph": " > ".join(t.task_id for t in dag.topological_sort()),
        "edges": sorted(f"{t.task_id} > {d}" for t in dag.tasks for d in t.downstream_task_ids),
        "tags": sorted(dag.tags), "owner": sorted({t.owner for t in dag.tasks}),
        "retries": sorted({t.retries for t in dag.tasks}), "doc": dag.doc_md,
        "runs": dag.max_active_runs, "limits": sorted({t.max_active_tis_per_dag for t in dag.tasks}),
        "schedule": type(dag.timetable).__name__, "params": sorted(dag.params),
    } for name, dag in found.items()}}))
"""


def look(models: Path) -> dict:
    environment = os.environ | {"LAMPLIGHTER_MODELS": str(models)}
    ran = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A copy of the models, to be changed."""
    return Path(shutil.copytree(PROJECT / "models", tmp_path / "models"))


@pytest.fixture(scope="module")
def shipped() -> dict:
    return look(PROJECT / "models")


def test_each_model_has_a_retrain_and_a_score_dag(shipped: dict) -> None:
    graphs = {name: dag["graph"] for name, dag in shipped["dags"].items()}
    retrain = "input_gate > train > evaluate > judge > promote"
    score = "plan > input_gate > score > output_gate > publish"
    for model in ("arrival_minutes", "flight_delays"):
        assert graphs.pop(f"promote_{model}") == "report > move"
        assert graphs.pop(f"roll_back_{model}") == "roll_back > partitions > rescore"
    assert graphs == {
        "retrain_arrival_minutes": retrain,
        "retrain_flight_delays": retrain,
        "score_arrival_minutes": f"wait > {score}",
        "score_flight_delays": score,
    }


def test_the_tasks_form_one_chain(shipped: dict) -> None:
    for name, dag in shipped["dags"].items():
        steps = dag["graph"].split(" > ")
        if name.startswith("roll_back"):
            continue  # the mapped runs lean on the list and on the roll back itself
        assert dag["edges"] == sorted(f"{a} > {b}" for a, b in pairwise(steps))


def test_a_dag_says_whose_it_is_and_what_it_does(shipped: dict) -> None:
    dag = shipped["dags"]["score_flight_delays"]
    assert dag["owner"] == ["data-team"]
    assert {"lamplighter", "score", "flights"} <= set(dag["tags"])
    assert dag["retries"] == [5]
    assert dag["schedule"] == "PartitionTimetable"
    assert dag["params"] == ["assets", "engine", "model", "partition"]
    assert "production when it began" in " ".join(dag["doc"].split())
    late = " ".join(shipped["dags"]["score_arrival_minutes"]["doc"].split())
    assert "It waits up to 6 h for late rows. An alert is raised if they are not published by 06:00." in late


def test_parsing_loads_no_heavy_module_and_takes_less_time_than_airflow_itself(shipped: dict) -> None:
    assert shipped["heavy"] == []
    assert shipped["seconds"] < shipped["airflow_seconds"]


def test_a_new_folder_is_all_that_a_new_model_takes(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(PROJECT / "models" / "arrival_minutes", models / "taxi_minutes")
    spec = models / "taxi_minutes" / "model.yaml"
    spec.write_text(spec.read_text().replace("model: arrival_minutes", "model: taxi_minutes"))
    kinds = ("promote", "retrain", "roll_back", "score")
    assert sorted(look(models)["dags"]) == [f"{kind}_taxi_minutes" for kind in kinds]


@pytest.mark.parametrize("approval", ["required", "two_persons"])
def test_a_spec_that_wants_an_approval_has_a_task_that_waits_for_it(models: Path, approval: str) -> None:
    spec = models / "arrival_minutes" / "model.yaml"
    spec.write_text(spec.read_text().replace("to: production}", f"to: production, approval: {approval}}}"))
    dags = look(models)["dags"]
    graph = "input_gate > train > evaluate > judge > report > approve > promote"
    assert dags["retrain_arrival_minutes"]["graph"] == graph
    assert dags["promote_arrival_minutes"]["graph"] == "report > approve > move"
    assert ("another person" in dags["promote_arrival_minutes"]["doc"]) is (approval == "two_persons")


def test_a_model_with_an_invalid_spec_says_so_and_disturbs_no_other(models: Path) -> None:
    broken = models / "arrival_minutes" / "model.yaml"
    broken.write_text(broken.read_text().replace("task: regression", "task: guessing"))
    dags = look(models)["dags"]
    assert dags["score_flight_delays"]["graph"].startswith("plan")
    assert dags["score_arrival_minutes"]["graph"] == "spec"
    assert "model.yaml:6: task = 'guessing'" in dags["score_arrival_minutes"]["doc"]


def test_whatever_is_in_a_folder_of_models_disturbs_no_other(models: Path) -> None:
    shutil.copytree(models / "flight_delays", models / "copy of flight_delays")
    (models / "a folder" / "model.yaml").mkdir(parents=True)
    shutil.copytree(models / "arrival_minutes", models / "tagged")
    spec = models / "tagged" / "model.yaml"
    text = spec.read_text().replace("model: arrival_minutes", "model: tagged")
    spec.write_text(text.replace("tags: [flights,", f"tags: [{'x' * 101},"))
    dags = look(models)["dags"]
    assert dags["score_flight_delays"]["graph"].startswith("plan")
    broken = {n.split("-")[0]: d["doc"] for n, d in dags.items() if d["graph"] == "spec" and n.startswith("score_")}
    assert sorted(broken) == ["score_a_folder", "score_copy_of_flight_delays", "score_tagged"]
    assert "There is no model 'a folder'" in broken["score_a_folder"]
    assert "must be the name of its folder" in broken["score_copy_of_flight_delays"]
    assert "tags.0 = 'xxx" in broken["score_tagged"]


def test_runs_that_wait_keep_none_from_being_scheduled(models: Path) -> None:
    spec = models / "flight_delays" / "model.yaml"
    spec.write_text(spec.read_text().replace("partition: begins}", "partition: begins, wait: 36h}"))
    dags = look(models)["dags"]
    assert dags["score_flight_delays"]["runs"] == 4 + 2
    assert dags["score_arrival_minutes"]["runs"] == 4 + 1
    assert dags["score_flight_delays"]["limits"] == [None], "it would count those that wait, and hold for backfills"


def test_the_specs_of_the_repository_are_valid() -> None:
    models = Settings.from_environment({"LAMPLIGHTER_MODELS": str(PROJECT / "models")}).models
    assert load_spec(models, "flight_delays").retries.attempts == 5
