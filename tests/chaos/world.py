"""A world in which runs of one partition are disturbed, and the checks of what is left when they are over."""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from chaos.children import JOBS, Child
from chaos.reader import Content, Reader, rows_of
from tally import Tally

from jobs.context import JobContext
from jobs.engines.choose import PROCESSES
from jobs.faults import VARIABLE
from jobs.follow import follow
from jobs.rescore import score_partition
from jobs.source import input_digest, partition_files
from jobs.sweep import named_files
from jobs.table import open_table, predictions_path, publications, rejected_path

DAY = "2026-01-16"
ROWS = 600
FRAGMENTS = 6
REJECTED_EVERY = 97
TRIES = 8
ROUNDS_A_TABLE = 20
ENGINES = ("local", "dask", "dask-threads", "spark")


def on(engine: str) -> dict[str, str]:
    """What tells a child the engine: `dask` has workers that are processes, which can be killed alone."""
    name, _, threads = engine.partition("-")
    workers = {"LAMPLIGHTER_DASK_SCHEDULER": PROCESSES} if name == "dask" and not threads else {}
    return {"CHAOS_ENGINE": name} | workers


class World:
    """A partition that is delivered in two variants by turns, so that every round has something to publish."""

    rows = ROWS

    def __init__(self, shop: Any, folder: Path, tally: Tally) -> None:
        self.shop = shop
        self.folder = folder
        self.tally = tally
        self.expected: dict[str, Content] = {}
        self.rounds = 0
        self._parts: list[Any] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._learn()

    @property
    def job(self) -> JobContext:
        """The partition's context."""
        found: JobContext = self.shop.job(DAY)
        return found

    def deliver(self, variant: int) -> str:
        """Deliver a variant of the partition's rows; the digest of the input."""
        frame = self._variant(variant)
        for part in range(FRAGMENTS):  # a file is a fragment at least
            share = frame.iloc[part * self.rows // FRAGMENTS : (part + 1) * self.rows // FRAGMENTS]
            self.shop.write_sales(DAY, share, f"part-{part}.parquet")
        source = self.job.spec.source
        files = partition_files(self.shop.settings.data, source.path, source.column, self.job.partition)
        return input_digest(files)

    def child(self, jobs: Sequence[str], run: str, **environment: str) -> Child:
        """Jobs of a run in a process of their own."""
        settings = self.shop.settings
        about = {"LAMPLIGHTER_HOME": str(settings.home), "LAMPLIGHTER_MODELS": str(settings.models)}
        about |= {"LAMPLIGHTER_ACTOR": "chaos", "OMP_NUM_THREADS": "1"}
        about |= {"LAMPLIGHTER_TABLES": str(settings.tables), "LAMPLIGHTER_LEDGER_URL": settings.ledger_url}
        return Child(jobs, run, DAY, about | environment, self.folder / f"{run.replace(' ', '-')}.log")

    @contextmanager
    def round(self, what: str) -> Iterator[str]:
        """A delivery that is disturbed in the block, with a reader; afterwards everything is as if nothing had been.

        Yields the name of the run.
        """
        self.rounds += 1
        self.tally.runs += 1
        digest = self.deliver(self.rounds % 2)
        before = len(publications(predictions_path(self.shop.settings, self.job.spec)))
        complaints = len(self.tally.notes)
        run = f"round {self.rounds}"
        try:
            with Reader(self.job, self.expected, self.tally):
                yield run
        except AssertionError as error:
            self.tally.notes.append(f"did not converge: {error}")
        else:
            self.check(digest, before)
        if len(self.tally.notes) > complaints:
            notes = "\n".join(self.tally.notes[complaints : complaints + 3])
            logs = "\n".join(p.read_text()[-1500:] for p in sorted(self.folder.glob(f"{run.replace(' ', '-')}*.log")))
            raise AssertionError(f"{what}: {notes}\n{logs}")
        self.tally.converged += 1

    def finish(self, run: str, jobs: Sequence[str] = JOBS) -> None:
        """Run the jobs as Airflow does, each one again until it is done. Raises AssertionError when one never is."""
        for job in jobs:
            self.task(job, run)

    def task(self, job: str, run: str, **first: str) -> list[int]:
        """Run one job until it is done, the first time with more variables; its exit codes."""
        codes: list[int] = []
        environment = dict(first)
        while len(codes) < TRIES:
            child = self.child([job], run, **environment)
            code = child.wait()
            child.kill()
            assert code is not None, f"{job} hangs"
            codes.append(code)
            if code == 0:
                return codes
            assert code not in {2, 3, 4}, f"{job} ended for good with {code}"
            environment.pop(VARIABLE, None)
        raise AssertionError(f"{job} ended with {codes}")

    def check(self, digest: str, before: int) -> None:
        """Compare what is published with what an undisturbed run publishes."""
        content, settings, spec = self.expected[digest], self.shop.settings, self.job.spec
        made = publications(predictions_path(settings, spec))
        self._count("stale", len(made) - before - 1, "publications more than one")
        self._count("stale", int(made[-1].input_digest != digest), "publication of another input at the end")
        follow(self.job)
        table, beside = open_table(predictions_path(settings, spec)), open_table(rejected_path(settings, spec))
        assert table is not None
        assert beside is not None
        good, bad = rows_of(table, DAY), rows_of(beside, DAY)
        keys = Counter(good["toy_id"].to_pylist() + bad["toy_id"].to_pylist())
        wanted = {*content.predictions["toy_id"].to_pylist(), *content.rejected["toy_id"].to_pylist()}
        assert len(wanted) == self.rows
        self._count("lost", len(wanted - keys.keys()), "rows lost")
        self._count("duplicates", sum(keys.values()) - len(keys), "rows twice")
        if not good.equals(content.predictions) or not bad.equals(content.rejected):
            self.tally.notes.append("the content is not that of an undisturbed run")

    def orphans(self) -> set[Path]:
        """Files that no publication names."""
        settings, spec = self.shop.settings, self.job.spec
        folders = (predictions_path(settings, spec), rejected_path(settings, spec))
        return {p for folder in folders for p in folder.glob("partition=*/*")} - named_files(settings, spec)

    def undisturbed(self, variant: int) -> None:
        """Score what was delivered, in this process."""
        score_partition(self.shop.job(DAY, f"undisturbed {variant}"))

    def read_all_versions(self) -> None:
        """Every publication that ever was can still be read."""
        reader = Reader(self.job, self.expected, self.tally)
        table = open_table(predictions_path(self.shop.settings, self.job.spec))
        torn = self.tally.torn
        for version in range(table.version() + 1 if table is not None else 0):
            reader.look(version)
        assert self.tally.torn == torn, self.tally.notes[-3:]

    def renew_sometimes(self) -> None:
        """Begin with new tables now and then: that is a case of its own, and long histories are read slowly."""
        if self.rounds % ROUNDS_A_TABLE:
            return
        self.read_all_versions()
        for folder in (self.shop.settings.tables, self.shop.settings.work):
            shutil.rmtree(folder, ignore_errors=True)

    def _count(self, name: str, by: int, what: str) -> None:
        if by > 0:
            setattr(self.tally, name, getattr(self.tally, name) + by)
            self.tally.notes.append(f"{by} {what}")

    def _learn(self) -> None:
        """What undisturbed runs publish of both variants, one after the other."""
        settings, spec = self.shop.settings, self.job.spec
        for variant in (0, 1):
            digest = self.deliver(variant)
            self.undisturbed(variant)
            tables = (open_table(path(settings, spec)) for path in (predictions_path, rejected_path))
            self.expected[digest] = Content(*(rows_of(table, DAY) for table in tables if table is not None))
        for folder in (settings.tables, settings.work):
            shutil.rmtree(folder)

    def _variant(self, variant: int) -> pd.DataFrame:
        frame = pd.read_parquet(self.shop.sales("2026-01-15"))
        frame = pd.concat([frame] * (self.rows // len(frame) + 1), ignore_index=True).head(self.rows)
        frame["toy_id"] = [f"toy-{n:04d}" for n in range(self.rows)]
        frame["price"] = (frame["price"] + 10 * variant).clip(0, 999)
        frame.loc[variant::REJECTED_EVERY, "price"] = -1.0
        return frame
