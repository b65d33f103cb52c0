"""The short form of `make bench` and of the growth chart: they run, and write down what they promise."""

import json
import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
FIGURES = {
    "design", "model", "rows", "runs", "cold_s", "warm_s_median", "rows_per_s", "of_limit", "over_stock", "peak_mb",
    "jobs_s", "of_limit_without_gates",
}  # fmt: skip


JOBS = ["plan", "input-gate", "score", "output-gate", "publish"]


def run(script: str, *arguments: str) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("LAMPLIGHTER_")}
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *arguments],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3_000:]
    return done.stdout


def test_both_write_a_table_a_chart_and_all_figures(tmp_path: Path) -> None:
    places = ["--home", str(tmp_path / "home"), "--out", str(tmp_path)]
    little = ["--rows", "4000", "--runs", "1", "--models", "m2"]
    said = run("bench.py", *little, "--designs", "limit", "lamplighter local", *places)
    found = json.loads((tmp_path / "results.json").read_text())
    assert [(row["model"], row["design"]) for row in found["rows"]] == [("m2", "limit"), ("m2", "lamplighter local")]
    for row in found["rows"]:
        assert set(row) == FIGURES
        assert (row["rows"], row["runs"], row["over_stock"]) == (4_000, 1, None)
        assert abs(row["rows_per_s"] * row["warm_s_median"] - 4_000) < 200  # both are rounded
        assert row["peak_mb"] > 50
        assert row["cold_s"] > row["warm_s_median"] > 0
    assert found["rows"][0]["of_limit"] == 1.0
    best, ours = found["rows"]
    assert (best["jobs_s"], best["of_limit_without_gates"]) == ({}, None)
    assert ours["of_limit_without_gates"] > ours["of_limit"] > 0
    assert list(ours["jobs_s"]) == JOBS
    beside_jobs = ours["warm_s_median"] - sum(ours["jobs_s"].values())  # of one warm run; all six are rounded
    assert -0.005 < beside_jobs < ours["warm_s_median"] / 2
    assert {"processor", "cores", "at", "python", "numpy", "pyspark"} <= set(found["about"])
    assert "lamplighter local" in said
    run("growth.py", *little, "--designs", "lamplighter local on one core", *places)
    grown = json.loads((tmp_path / "growth.json").read_text())["rows"]
    assert [row["design"] for row in grown] == ["lamplighter local on one core"]
    assert list(grown[0]["jobs_s"]) == JOBS
    for picture in ("results.png", "growth.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
