"""`make bench`: how fast a partition is scored, ours beside what else a user would take, in one run on one machine.

Every design is a process of its own that stays open, and runs take turns: ours with the limit and the stock first, then
what else a user would take, so that gigabytes of the latter stand in nobody's way. Cold is the first run from the start
of its process, warm the median of the others. Memory is the most that the process and all that it started had at once.
Figures are ratios to stock `mlflow.pyfunc.spark_udf` of the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import flights
import psutil
from chart import draw
from designs import OTHERS, OURS, SHADOWED, save_pyfunc
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
PLACE = Path(".lamplighter") / "bench"
LOOK = 0.5  # seconds: each look at all processes costs a core some ten milliseconds
PACKAGES = ("numpy", "pandas", "pyarrow", "scikit-learn", "numba", "mlflow", "pyspark", "dask", "ray", "deltalake")


@dataclass
class Session:
    """A design at work on a model."""

    design: str
    model: str
    process: subprocess.Popen[str]
    seconds: list[float] = field(default_factory=list)
    jobs: list[dict[str, float]] = field(default_factory=list)
    peak: int = 0

    def run(self) -> None:
        """One more run, with an eye on the memory of the whole tree."""
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(over,))
        watch.start()
        try:
            print("run", file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline() if self.process.stdout else ""
        finally:
            over.set()
            watch.join()
        if not answer:
            raise SystemExit(f"bench: {self.design} on {self.model} ended with {self.process.wait()}")
        told = json.loads(answer)
        self.seconds.append(told["seconds"])
        self.jobs += [told["jobs"]] if told["jobs"] else []

    def of_jobs(self) -> dict[str, float]:
        """The median seconds of each job when warm; empty for a design that has none."""
        warm = self.jobs[1:]
        return {name: round(median(run[name] for run in warm), 3) for name in (warm[0] if warm else ())}

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(LOOK):
            total = 0
            with suppress(psutil.Error):
                parent = psutil.Process(self.process.pid)
                for member in (parent, *parent.children(recursive=True)):
                    with suppress(psutil.Error):
                        total += member.memory_info().rss
            self.peak = max(self.peak, total)


def prepare(home: Path, rows: int, models: list[str], *, others: bool, shadow: bool) -> None:
    """Lay out the table and put the models into production, if that was not done; for `others` as MLflow saves them.

    For a `shadow` a second version of each, trained a day later, stands in staging.
    """
    flights.lay_out(home, rows)
    from datetime import timedelta

    from jobs.context import JobContext
    from jobs.evaluate import evaluate
    from jobs.judge import judge
    from jobs.moves import promote
    from jobs.settings import Settings
    from jobs.train import train
    from model_registry.store import Stage

    settings, day = Settings.from_environment(), flights.FIRST + timedelta(days=flights.TRAINING_DAYS - 1)
    for model in models:
        versions = [(Stage.production, day), (Stage.staging, day + timedelta(days=1))]
        for stage, key in versions if shadow else versions[:1]:
            job = JobContext.create(settings, model, str(key), "bench")
            if not (job.folder / "promote.json").exists():
                for step in (train, evaluate, judge):
                    step(job)
                promote(job, stage)
        if others:
            save_pyfunc(home, model)


def in_turns(designs: list[str]) -> list[list[str]]:
    """The designs that take turns: those whose ratios are promised, and the rest."""
    rest = [design for design in designs if design in OTHERS and design not in ("limit", "spark_udf")]
    return [[design for design in designs if design not in rest], rest]


def measured(home: Path, model: str, designs: list[str], runs: int) -> list[Session]:
    """The designs on a model: each once from cold, then all by turns."""
    sessions = []
    try:
        for design in designs:
            command = [sys.executable, str(HERE / "session.py"), str(home), design, model]
            with (home / f"{design}-{model}.log").open("w") as log:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                )
            sessions.append(Session(design, model, process))
            sessions[-1].run()
        for _ in range(runs):
            for session in sessions:
                session.run()
    finally:
        for session in sessions:
            with suppress(ProcessLookupError):
                os.killpg(session.process.pid, 9)
            session.process.wait()
    return sessions


def as_rows(sessions: list[Session], rows: int) -> list[dict[str, Any]]:
    """The figures of a model's sessions, each beside stock and beside the limit of the same run."""
    warm = {session.design: median(session.seconds[1:]) for session in sessions}
    return [
        {
            "design": session.design,
            "model": session.model,
            "rows": rows,
            "runs": len(session.seconds) - 1,
            "cold_s": round(session.seconds[0], 2),
            "warm_s_median": round(warm[session.design], 3),
            "rows_per_s": round(rows / warm[session.design]),
            "of_limit": round(warm["limit"] / warm[session.design], 3) if "limit" in warm else None,
            "over_stock": round(warm["spark_udf"] / warm[session.design], 2) if "spark_udf" in warm else None,
            "peak_mb": session.peak >> 20,
        }
        | _by_job(session, warm.get("limit"))
        for session in sessions
    ]


def _by_job(session: Session, limit: float | None) -> dict[str, Any]:
    """Of ours: the seconds of each job, and what those that score and publish reach of the limit."""
    jobs = session.of_jobs()
    ours = round(limit / (jobs["score"] + jobs["publish"]), 3) if limit and jobs else None
    return {"jobs_s": jobs, "of_limit_without_gates": ours}


def print_table(rows: list[dict[str, Any]]) -> None:
    """One model's rows for a person."""
    table = Table(title=f"{rows[0]['model']}: {rows[0]['rows']:,} rows, median of {rows[0]['runs']}")
    names = (
        "design",
        "cold_s",
        "warm_s_median",
        "rows_per_s",
        "of_limit",
        "of_limit_without_gates",
        "over_stock",
        "peak_mb",
    )
    for name in names:
        table.add_column(name.replace("_", " "), justify="left" if name == "design" else "right")
    for row in rows:
        values = (row[name] for name in names)
        table.add_row(*(f"{v:,}" if isinstance(v, int) else "" if v is None else str(v) for v in values))
    Console(width=120).print(table)


def bench(place: Path, rows: int, designs: list[str], runs: int, models: list[str]) -> list[dict[str, Any]]:
    """All designs on the models, each with its figures, printed as they come; `place` keeps what can be used again."""
    home = (place / str(rows)).absolute()
    places = {"HOME": home / "lamplighter", "MODELS": home / "models", "DATA": home / "data"}
    os.environ |= {f"LAMPLIGHTER_{name}": str(place) for name, place in places.items()} | {"OMP_NUM_THREADS": "1"}
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow leaves that of the partition before, whose home is another
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))  # for workers
    others = any(design in OTHERS and design != "limit" for design in designs)
    prepare(home, rows, models, others=others, shadow=any(design in SHADOWED for design in designs))
    found: list[dict[str, Any]] = []
    for model in models:
        sessions = [session for some in in_turns(designs) for session in measured(home, model, some, runs)]
        figures = as_rows(sessions, rows)
        print_table(figures)
        found += figures
    return found


def machine() -> dict[str, Any]:
    """What the figures depend on: the day, the processor, the versions."""
    about = {"at": time.strftime("%Y-%m-%d"), "processor": _processor(), "cores": len(os.sched_getaffinity(0))}
    return about | {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def main() -> None:
    """Measure, print a table, and write it down."""
    parser = argparse.ArgumentParser(description="How fast a partition is scored.")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--designs", nargs="*", default=[*OTHERS, *OURS, *SHADOWED])
    parser.add_argument("--models", nargs="*", default=list(flights.MODELS), choices=flights.MODELS)
    parser.add_argument("--home", type=Path, default=PLACE)
    parser.add_argument("--out", type=Path, default=HERE, help="Where results.json and results.png go.")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    found = bench(chosen.home, chosen.rows, chosen.designs, chosen.runs, chosen.models)
    about = machine()
    (chosen.out / "results.json").write_text(json.dumps({"rows": found, "about": about}, indent=2) + "\n")
    draw(found, about, chosen.out / "results.png")
    print(f"Written: {chosen.out / 'results.json'} and results.png.")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
