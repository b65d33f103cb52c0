"""The deployment files agree with the Compose schema, each other, the installed programs and the docs."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from postgres import start_postgres

from jobs.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
BIN = Path(sys.executable).parent
VARIABLE = re.compile(r"\$(?:\$|\{(\w+):([-?])([^}]*)\})")
MANAGER = "AIRFLOW__CORE__AUTH_MANAGER"
SECRET = re.compile(r"PASSWORD|SECRET|KEY|TOKEN")

RAW = yaml.safe_load(COMPOSE)["services"]
DEFAULTS = {name: value for name, kind, value in VARIABLE.findall(COMPOSE) if kind == "-"}
REQUIRED = {name for name, kind, _ in VARIABLE.findall(COMPOSE) if kind == "?"}
ENV_EXAMPLE = dict(line.split("=", 1) for line in EXAMPLE if line and not line.startswith("#"))

AIRFLOW_PROBE = """
import json, sys
from airflow.cli import cli_parser
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager
asked = json.load(sys.stdin)
ProvidersManager().initialize_providers_configuration()
parser = cli_parser.get_parser()
for words in asked["commands"]:
    parser.parse_args(words)
sections = conf.configuration_description.items()
known = {f"AIRFLOW__{name}__{option}".upper() for name, section in sections for option in section["options"]}
print("unknown:", sorted(set(asked["options"]) - known))
"""


def interpolate(node: Any, values: Mapping[str, str]) -> Any:
    """The tree with `${NAME:-default}` and `${NAME:?message}` of its strings filled in, as Compose does."""
    if isinstance(node, dict):
        return {key: interpolate(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolate(value, values) for value in node]
    if isinstance(node, str):
        return VARIABLE.sub(lambda m: values.get(m[1]) or m[3] if m[1] else "$", node)
    return node


SERVICES = interpolate(RAW, dict.fromkeys(REQUIRED, "secret"))
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def image_environment() -> dict[str, str]:
    lines = [line.removeprefix("ENV ") for line in DOCKERFILE.splitlines() if line.startswith("ENV ")]
    return dict(pair.split("=", 1) for line in lines for pair in shlex.split(line))


def shell_commands(script: str) -> Iterator[list[str]]:
    for line in script.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if word == "|":
                yield words
                words = []
            else:
                words.append(word)
        yield words


def commands() -> list[list[str]]:
    """Every command that runs in our image: of services, of health checks, and inside shell scripts."""
    found = [service["command"] for service in OURS.values()]
    found += [service["healthcheck"]["test"][1:] for service in OURS.values() if "healthcheck" in service]
    return found + [words for command in found if command[0] == "bash" for words in shell_commands(command[2])]


def commands_of(program: str) -> list[list[str]]:
    found = [command for command in commands() if command[0] == program]
    assert found, f"no service runs {program}"
    return found


def run(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stdout}\n{result.stderr}"
    return result


def test_compose_file_matches_the_compose_schema():
    check = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec")
    run(*check, str(ROOT / "docker-compose.yaml"))


def test_env_example_has_every_variable_and_no_other():
    assert set(ENV_EXAMPLE) == set(DEFAULTS) | REQUIRED
    assert not set(DEFAULTS) & REQUIRED
    assert "$" not in VARIABLE.sub("", COMPOSE), "write ${NAME:?why} or ${NAME:-default}"


def test_env_example_explains_each_variable_and_shows_its_default():
    for above, line in pairwise(EXAMPLE):
        if line and not line.startswith("#"):
            assert re.match(r"# \S", above), f"one line must say what {line} is"
    assert {name: ENV_EXAMPLE[name] for name in DEFAULTS} == DEFAULTS
    assert {name for name in REQUIRED if ENV_EXAMPLE[name]} == set()


def test_no_secret_is_written_down_or_has_a_default():
    required = r"\$\{\w+:\?[^}]+\}"
    for name, service in RAW.items():
        for key, value in service.get("environment", {}).items():
            if SECRET.search(key):
                assert re.fullmatch(required, value), f"{name}: {key}"
            for password in re.findall(r"//\w+:(.*)@", value):
                assert re.fullmatch(required, password), f"{name}: {key}"
        assert "secret" not in str(SERVICES[name].get("command", "")), f"{name} has a secret in its command"
    assert [name for name in DEFAULTS if SECRET.search(name)] == []
    assert [line for line in DOCKERFILE.splitlines() if re.match("ARG|ENV", line) and SECRET.search(line)] == []


def test_every_service_restarts_and_says_whether_it_is_healthy():
    lasting = {name: service for name, service in SERVICES.items() if service["restart"] != "no"}
    assert set(SERVICES) - set(lasting) == {"airflow-init"}
    for name, service in lasting.items():
        assert service["restart"] == "unless-stopped", name
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"]), name


def test_services_wait_for_what_can_become_true():
    for name, service in SERVICES.items():
        for target, wait in service.get("depends_on", {}).items():
            lasting = SERVICES[target]["restart"] != "no"
            assert wait["condition"] == ("service_healthy" if lasting else "service_completed_successfully"), name


def test_ports_are_published_on_loopback_only():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)] == []
    hosts = [port.split(":")[1] for port in published]
    assert sorted(hosts) == sorted(set(hosts))


def test_addresses_name_services():
    for service in OURS.values():
        values = [*service.get("environment", {}).values(), *service["command"]]
        names = {m for value in values for m in re.findall(r"^[\w+]+://(?:\w+:\w+@)?([\w-]+)", value)}
        assert names - {"localhost"} <= set(SERVICES)


def test_airflow_dask_and_spark_share_the_folder_that_the_image_names():
    folders = {key: value for key, value in image_environment().items() if key.startswith("LAMPLIGHTER_")}
    home = folders.pop("LAMPLIGHTER_HOME")
    for key in ("DATA", "TABLES", "WORK", "CACHE", "SNAPSHOTS"):
        assert folders[f"LAMPLIGHTER_{key}"].startswith(f"{home}/")
    for name in set(OURS) - {"mlflow"}:
        assert f"lamplighter:{home}" in OURS[name]["volumes"], name


def test_every_command_exists():
    path = os.pathsep.join([str(BIN), os.defpath])
    assert [command for command in commands() if shutil.which(command[0], path=path) is None] == []
    for _, flag, code in commands_of("python"):
        assert flag == "-c"
        ast.parse(code)


@pytest.mark.parametrize("program", ["mlflow", "dask", "spark-class"])
def test_options_are_accepted(program):
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    for _, *words in commands_of(program):
        told = run(str(BIN / program), *words, "--help", env=environment)
        known = set(re.findall(r"--[\w-]+", told.stdout + told.stderr))
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= known  # Dask swallows unknown ones


def test_airflow_knows_every_command_and_every_option(tmp_path):
    environment = OURS["airflow-init"]["environment"]
    options = [key for key in [*environment, *image_environment()] if key.startswith("AIRFLOW__")]
    asked = {"commands": [words for _, *words in commands_of("airflow")], "options": options}
    inside = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")}
    inside |= {"AIRFLOW_HOME": str(tmp_path), MANAGER: environment[MANAGER]}
    result = run(sys.executable, "-c", AIRFLOW_PROBE, input=json.dumps(asked), env=inside)
    assert result.stdout.splitlines()[-1] == "unknown: []"


def test_a_killed_task_is_noticed_within_a_minute():
    environment = OURS["airflow-scheduler"]["environment"]
    names = ("TIMEOUT", "TIMEOUT_DETECTION_INTERVAL")
    assert sum(int(environment[f"AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_{name}"]) for name in names) <= 45


def test_the_image_is_built_from_plain_names_and_runs_as_nobody_special():
    instructions = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if re.match(r"[A-Z]+ ", line)]
    names = [rest.split("=")[1] for word, rest in instructions if word == "ARG" and "IMAGE" in rest]
    names += [service["image"] for service in SERVICES.values()]
    assert [name for name in names if not re.fullmatch(r"[\w.-]+:[\w.-]+", name)] == []
    assert [rest for word, rest in instructions if word == "USER"] == ["lamplighter"]


def test_what_the_image_copies_exists_and_is_not_ignored():
    lines = [line.split() for line in DOCKERFILE.splitlines() if line.startswith("COPY ") and "--from" not in line]
    sources = {source for line in lines for source in line[1:-1]}
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignore if line.startswith("!")} == sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [s for s in sources if any(fnmatch(s, p) for p in ignore[ignore.index("*") + 1 :] if p[0] not in "!#")] == []


class Recorder(dict[str, str]):
    """An empty environment that remembers which variables were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str | None:
        self.asked.add(key)
        return default


def test_every_variable_of_the_project_is_documented():
    asked = Recorder()
    Settings.from_environment(asked)
    literal, composed = asked.asked - {"USER"}, set()
    for folder in ("jobs", "lamplighter", "plugins", "dags", "model_registry", "models"):
        for file in (ROOT / folder).rglob("*.py"):
            literal |= set(re.findall(r"\bLAMPLIGHTER_[A-Z]\w*", file.read_text(encoding="utf-8")))
            if file != ROOT / "jobs" / "settings.py":
                composed |= set(re.findall(r"\bLAMPLIGHTER_\{[^}]*\}\w*", file.read_text(encoding="utf-8")))
    patterns = {re.sub(r"\{[^}]*\}", "[A-Z]+", name) for name in composed}
    table = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", table, flags=re.MULTILINE))
    matched = {pattern: {name for name in documented if re.fullmatch(pattern, name)} for pattern in patterns}
    assert "LAMPLIGHTER_[A-Z]+" not in patterns, "only jobs/settings.py may compose a name from nothing"
    assert all(matched.values())
    assert documented == literal.union(*matched.values())


@pytest.fixture
def fresh_database(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # without it, the import warns
    server = start_postgres(postgres_version=16)
    try:
        yield server
    finally:
        server.cleanup()


def test_the_init_script_gives_each_role_its_own_database(fresh_database):
    script = ROOT / "deploy" / "postgres-init.sql"
    mounts = [volume for volume in SERVICES["postgres"]["volumes"] if volume.startswith("./")]
    assert mounts == ["./deploy/postgres-init.sql:/docker-entrypoint-initdb.d/lamplighter.sql:ro"]
    uri = fresh_database.get_uri()
    psql = fresh_database.bin_path / "psql"
    environment = os.environ | SERVICES["postgres"]["environment"] | {"LEDGER_DB_PASSWORD": "it's $odd"}
    run(str(psql), uri, "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-f", str(script), env=environment)
    for role in ("airflow", "mlflow", "lamplighter"):
        with psycopg.connect(uri, user=role, dbname=role) as connection:
            connection.execute("CREATE TABLE mine (id int)")
            assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        for other in {"airflow", "mlflow", "lamplighter"} - {role}:
            with pytest.raises(psycopg.OperationalError, match="CONNECT"):
                psycopg.connect(uri, user=role, dbname=other)
