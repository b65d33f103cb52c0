"""The command line as people and machines meet it: exit codes, sentences, JSON, and the files made from the code."""

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from commands import lamplighter, variables_of

from lamplighter.reference import reference, schema

PROJECT = Path(__file__).resolve().parents[2]
JOBS = ["input-gate", "train", "evaluate", "judge", "promote", "plan", "score", "output-gate", "publish"]


def run(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return lamplighter(*arguments, environment=variables_of(home, **variables))


def test_help_lists_every_command(tmp_path: Path) -> None:
    said = run(tmp_path, "--help").stdout
    for command in ["demo", "up", "down", "status", "doctor", "spec", "feed", "reproduce", "lineage", *JOBS]:
        assert re.search(rf"\b{command}\b", said), command


@pytest.mark.parametrize("job", JOBS)
def test_every_job_takes_model_partition_and_result(tmp_path: Path, job: str) -> None:
    said = run(tmp_path, job, "--help").stdout
    assert all(option in said for option in ("--model", "--partition", "--result"))


def test_a_wrong_word_is_a_usage_error(tmp_path: Path) -> None:
    assert run(tmp_path, "plan", "--modle", "x").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "code", "status", "says"),
    [
        (("plan", "--model", "nope", "--partition", "2013-03-01"), 4, "misconfigured", "There is no model 'nope'"),
        (("plan", "--model", "flight_delays", "--partition", "yesterday"), 4, "misconfigured", "is no partition key"),
        (("plan", "--model", "flight_delays", "--partition", "2013-03-01\n"), 4, "misconfigured", "no partition key"),
        (("input-gate", "--model", "flight_delays", "--partition", "2013-03-01"), 1, "unavailable", "has no files for"),
        (("score", "--model", "flight_delays", "--partition", "2013-03-01"), 4, "misconfigured", "`lamplighter plan"),
        (("plan", "--model", "flight_delays", "--partition", "2013-03-01"), 4, "misconfigured", "retrain and promote"),
        (
            ("plan", "--model", "flight_delays", "--partition", "2013-03-01", "--version", "best"),
            4,
            "misconfigured",
            "ask for as-of, production, a number or one like 1.2.0",
        ),
        (
            ("promote", "--model", "flight_delays", "--partition", "2013-03-01", "--to", "moon"),
            4,
            "misconfigured",
            "choose production or staging",
        ),
    ],
)
def test_what_goes_wrong_is_one_sentence_one_code_and_one_result(
    tmp_path: Path, arguments: tuple[str, ...], code: int, status: str, says: str
) -> None:
    result = tmp_path / "result.json"
    ran = run(tmp_path / "home", *arguments, "--result", str(result))
    assert ran.returncode == code, ran.stderr
    told = json.loads(result.read_text())
    assert told["status"] == status
    assert says in told["message"]
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_result_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    where = tmp_path / "file" / "result.json"
    ran = run(tmp_path, "plan", "--model", "nope", "--partition", "2013-03-01", "--result", str(where))
    assert ran.returncode == 4
    assert "There is no model 'nope'" in ran.stderr
    assert "The result cannot be written" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_status_of_an_empty_home(tmp_path: Path) -> None:
    found = json.loads(run(tmp_path, "status", "--json").stdout)
    assert found == {
        "models": {name: {"stages": {}, "partitions": {}} for name in ("arrival_minutes", "flight_delays")}
    }


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = run(tmp_path / "file" / "home", "status")
    assert ran.returncode == 4
    assert "cannot be made" in ran.stderr
    assert "set LAMPLIGHTER_HOME" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_status_shows_the_other_models_when_one_spec_is_invalid(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(PROJECT / "models", models)
    with (models / "arrival_minutes" / "model.yaml").open("a") as spec:
        spec.write("colour: red\n")
    ran = run(tmp_path, "status", "--json", LAMPLIGHTER_MODELS=str(models))
    assert ran.returncode == 4
    assert list(json.loads(ran.stdout)["models"]) == ["flight_delays"]
    assert "colour = 'red'" in ran.stderr


def test_spec_check_names_every_fault_of_every_model(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for name, wrong in (("first", "every: fortnight"), ("second", "every: day")):
        (models / name).mkdir(parents=True)
        text = (PROJECT / "models" / "arrival_minutes" / "model.yaml").read_text()
        text = text.replace("model: arrival_minutes", f"model: {name}").replace("every: day", wrong)
        (models / name / "model.yaml").write_text(text)
    ran = run(tmp_path, "spec", "check", LAMPLIGHTER_MODELS=str(models))
    assert ran.returncode == 4
    assert "first/model.yaml:11: source.every = 'fortnight'" in ran.stderr
    assert "second has no models/second/pipeline.py" in ran.stderr


def test_spec_check_sees_two_models_with_one_table_and_code_that_ends_the_process(tmp_path: Path) -> None:
    models = tmp_path / "models"
    there = PROJECT / "models" / "arrival_minutes"
    text = (there / "model.yaml").read_text()
    for name in ("first", "second", "third"):
        shutil.copytree(there, models / name)
        (models / name / "model.yaml").write_text(text.replace("model: arrival_minutes", f"model: {name}"))
    (models / "third" / "pipeline.py").write_text("raise SystemExit(0)")
    ran = run(tmp_path, "spec", "check", LAMPLIGHTER_MODELS=str(models))
    assert ran.returncode == 4
    assert ran.stdout == "first: the spec is fine.\n"
    assert "second: output.table arrival_minutes is that of first, too: give each its own." in ran.stderr
    assert "pipeline.py cannot be imported: SystemExit: 0" in ran.stderr


def test_spec_check_of_the_repository_is_fine(tmp_path: Path) -> None:
    ran = run(tmp_path, "spec", "check")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("the spec is fine") == 2


def test_spec_check_sees_arguments_that_an_expectation_does_not_take(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "arrival_minutes"
    folder.mkdir(parents=True)
    for name in ("model.yaml", "pipeline.py"):
        text = (PROJECT / "models" / "arrival_minutes" / name).read_text()
        (folder / name).write_text(text.replace("{min_value: 300, max_value: 3000}", "{minimum: 300}"))
    ran = run(tmp_path, "spec", "check", LAMPLIGHTER_MODELS=str(folder.parent))
    assert ran.returncode == 4
    assert "expect_table_row_count_to_be_between" in ran.stderr


def test_the_schema_of_the_repository_is_made_from_the_code() -> None:
    assert json.loads((PROJECT / "docs" / "model.schema.json").read_text()) == schema()


def test_the_reference_of_the_repository_is_made_from_the_code() -> None:
    assert (PROJECT / "docs" / "spec.md").read_text() == reference()


@pytest.mark.parametrize("model", ["flight_delays", "arrival_minutes"])
def test_an_editor_accepts_the_specs_of_the_repository(model: str) -> None:
    spec = yaml.load((PROJECT / "models" / model / "model.yaml").read_text(), yaml.BaseLoader)
    as_editors_read = yaml.safe_load((PROJECT / "models" / model / "model.yaml").read_text())
    for day in ("start", "end"):
        as_editors_read["schedules"][day] = spec["schedules"][day]  # JSON has no dates, and neither has a schema
    jsonschema.validate(as_editors_read, schema())


def test_an_editor_refuses_what_the_code_refuses() -> None:
    spec = yaml.safe_load((PROJECT / "models" / "flight_delays" / "model.yaml").read_text())
    spec["training"]["window"] = "some weeks"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spec["training"], {**schema()["$defs"]["Training"]})


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ran = run(tmp_path, "up", LAMPLIGHTER_AIRFLOW_PORT=port)
        looked = run(tmp_path, "doctor", LAMPLIGHTER_AIRFLOW_PORT=port)
    assert ran.returncode == 4
    assert f"Port {port} of 127.0.0.1" in ran.stderr
    assert "set LAMPLIGHTER_AIRFLOW_PORT to another port" in ran.stderr
    assert looked.returncode == 4
    assert f"{port} is taken" in looked.stdout


def test_doctor_looks_at_everything(tmp_path: Path) -> None:
    said = run(tmp_path, "doctor").stdout
    for subject in (
        "Python",
        "Java",
        "Port of Airflow",
        "Port of MLflow",
        "Disk",
        "Models",
        "Ledger",
        "MLflow",
        "Airflow",
    ):
        assert subject in said


def test_doctor_names_a_ledger_that_does_not_answer_and_keeps_its_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://lamp:hunter2@127.0.0.1:1/ledger"
    ran = run(tmp_path, "doctor", LAMPLIGHTER_LEDGER_URL=url)
    assert ran.returncode == 4
    assert "does not answer" in ran.stdout
    assert "hunter2" not in ran.stdout + ran.stderr


def test_down_with_nothing_up(tmp_path: Path) -> None:
    ran = run(tmp_path, "down")
    assert (ran.returncode, ran.stdout.strip()) == (0, "Nothing was running.")
