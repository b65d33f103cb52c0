"""The output gate: what was scored must add up to what came in, and the scores be what the spec allows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs.batches import read_batches
from jobs.commit import not_overtaken, scores_are_gone
from jobs.errors import Rejected
from jobs.expect import bounded
from jobs.own_files import is_lost
from jobs.plan import Plan
from jobs.report_page import write_page
from jobs.row_digest import RowDigest
from jobs.score import ScoreResult
from jobs.score_statistics import ScoreStatistics
from jobs.steps import step
from jobs.storage import Place, reaching, read_schema, stamp_of
from jobs.table import predictions_path, rejected_path, same_types
from jobs.threads import in_threads
from jobs.unique_keys import UniqueKeys
from model_registry.evidence import Check, GateReport

if TYPE_CHECKING:
    from jobs.context import JobContext
    from jobs.key_counts import Duplicates
    from jobs.spec import Bounds, ModelSpec


@dataclass(frozen=True)
class OutputGateResult:
    """What the output gate said of `scored`; no `report` when it was published already and nothing was judged.

    `content` is the digest of the keys and scores, and of the rejected keys and their reasons, with a dash between: the
    same for the same rows, whatever the engine, the workers, the fragments and the attempt. `stamps` are those of the
    files that were read, in the order of `judged_files`.
    """

    report: GateReport | None
    scored: ScoreResult
    stamps: tuple[str, ...]
    content: str = ""


@dataclass(frozen=True)
class ReadBack:
    """What the files hold that would be published; `types` are those of the key, and `versions` of models, over all."""

    rows: int
    rejected: int
    reasons: dict[str, int]
    not_finite: int
    score_min: float | None
    score_max: float | None
    twice: Duplicates
    types: tuple[str, ...]
    fits_table: bool
    versions: tuple[int | None, ...]
    content: str


def output_gate(job: JobContext) -> OutputGateResult:
    """Judge the scores of this run. Raises Rejected with the report when the gate is closed."""
    plan = job.recall("plan", Plan)
    job = job.under(plan)
    scored = job.recall("score", ScoreResult)
    if plan.published:
        result = OutputGateResult(None, scored, ())
        job.keep("output-gate", result)
        return result
    tables = predictions_path(job.settings, job.spec), rejected_path(job.settings, job.spec)
    try:
        with reaching(tables[0]):
            stamps = tuple(stamp_of(path, patient=True) for path in chain(*judged_files(scored, *tables)))
            found = read_back(job.spec, scored, *tables)
    except (OSError, pa.ArrowInvalid, Rejected) as error:
        if not is_lost(error):
            raise
        not_overtaken(job, plan.predictions)
        raise scores_are_gone(job) from error
    report = judge_scores(job.spec, plan, scored, found)
    result = OutputGateResult(report, scored, stamps, content=found.content)
    job.keep("output-gate", result)
    step("output-gate:kept")
    write_page(job.folder / "output-gate.html", [report], sentences=[scored.sentence()])
    if not report.passed:
        raise Rejected(report.verdict(), report)
    return result


def judged_files(scored: ScoreResult, table: Place, beside: Place) -> tuple[list[Place], list[Place]]:
    """The files of the scores, and those of the rejected rows, in the folders of their tables."""
    good = [table / f.predictions.path for f in scored.fragments if f.predictions is not None]
    bad = [beside / f.rejected.path for f in scored.fragments if f.rejected is not None]
    return good, bad


def read_back(spec: ModelSpec, scored: ScoreResult, table: Place, beside: Place) -> ReadBack:
    """Read the files of the scores and of the rejected rows, in the folders of their tables, batch by batch."""
    key = list(spec.key)
    good, bad = judged_files(scored, table, beside)
    schemas = [pa.schema([read_schema(path).field(name) for name in key]) for path in [*good, *bad]]
    alike = all(schema == schemas[0] for schema in schemas)
    one_type = alike and all(same_types(schema, place) for schema in schemas[:1] for place in (table, beside))
    scored_rows, scores, keys = RowDigest(), ScoreStatistics(), UniqueKeys()
    versions: set[int | None] = set()
    for digest, found, by in in_threads(lambda path: _scores_of(path, key, keys if alike else None), good):
        scored_rows.merge(digest)
        scores.merge(found)
        versions |= by
    twice = keys.duplicates(lambda: (batch for path in good for batch in read_batches(str(path), None, key)))
    rejects, reasons = RowDigest(), Counter[str]()
    for digest, counted in in_threads(lambda path: _rejects_of(path, key), bad):
        rejects.merge(digest)
        reasons.update(counted)
    return ReadBack(
        rows=scored_rows.rows,
        rejected=rejects.rows,
        reasons=dict(reasons),
        not_finite=scores.not_finite,
        score_min=scores.smallest,
        score_max=scores.largest,
        twice=twice,
        types=tuple(sorted({str(t) for schema in schemas for t in schema.types})),
        fits_table=one_type,
        versions=tuple(sorted(versions, key=str)),
        content=f"{scored_rows.hexdigest()}-{rejects.hexdigest()}",
    )


def _scores_of(
    path: Place, key: list[str], keys: UniqueKeys | None
) -> tuple[RowDigest, ScoreStatistics, set[int | None]]:
    digest, scores, versions = RowDigest(), ScoreStatistics(), set[int | None]()
    for batch in read_batches(str(path), None, [*key, "score", "model_version"]):
        digest.add(batch.select([*key, "score"]))
        scores.add(batch["score"].to_numpy())
        ends = pc.min_max(batch["model_version"], skip_nulls=False)  # of several as good as all; None beside a null
        versions |= set(ends.as_py().values())
        if keys is not None:
            keys.add(batch.select(key))
    return digest, scores, versions


def _rejects_of(path: Place, key: list[str]) -> tuple[RowDigest, Counter[str]]:
    digest, reasons = RowDigest(), Counter[str]()
    for batch in read_batches(str(path), None, [*key, "reason"]):
        digest.add(batch)
        counts = pc.value_counts(batch["reason"])
        reasons.update(dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)))
    return digest, reasons


def judge_scores(spec: ModelSpec, plan: Plan, scored: ScoreResult, found: ReadBack) -> GateReport:
    """The report about the scores that lie, not yet published, in the folder of the table."""
    fragments = scored.fragments
    lows = [f.score_min for f in fragments if f.score_min is not None]
    highs = [f.score_max for f in fragments if f.score_max is not None]
    mean = sum(f.score_sum for f in fragments) / scored.rows_scored if scored.rows_scored else None
    share = scored.rows_rejected / scored.rows_in if scored.rows_in else 0.0
    not_finite = max(found.not_finite, sum(f.not_finite for f in fragments))
    done = [f.fragment for f in fragments]
    checks = [
        Check(
            "every fragment is done once",
            done == [f.number for f in plan.fragments],
            len(done),
            f"{len(plan.fragments)} fragments",
        ),
        Check("every row came in", scored.rows_in == plan.rows, scored.rows_in, f"{plan.rows} rows, as planned"),
        Check(
            "every row is scored or rejected",
            scored.rows_in == scored.rows_scored + scored.rows_rejected,
            f"{scored.rows_scored} scored and {scored.rows_rejected} rejected",
            f"{scored.rows_in} rows",
        ),
        Check("at least one row is scored", scored.rows_scored > 0, scored.rows_scored, "at least 1"),
        Check("scores are finite", not_finite == 0, not_finite, "no infinite or missing score", rows=not_finite),
        _keys(spec, scored, found),
        Check(
            "every row says which version scored it",
            set(found.versions) <= {plan.version.number},
            ", ".join(map(str, found.versions)),
            f"version {plan.version.number}",
        ),
        Check(
            "the files hold what was done",
            _as_done(scored, found, min(lows, default=None), max(highs, default=None)),
            f"{found.rows} rows scored and {found.rejected} rejected",
            f"{scored.rows_scored} and {scored.rows_rejected}, with the scores and the reasons that were counted",
        ),
        Check(
            "rejected rows are within the budget",
            share <= spec.reject_budget,
            f"{share:.4%}",
            f"at most {spec.reject_budget:.4%}",
            rows=scored.rows_rejected,
            examples=tuple(f"{reason} {count}" for reason, count in scored.reasons.items())[:5],
        ),
    ]
    checks += _within("smallest score", min(lows, default=None), spec.output_checks.score)
    checks += _within("largest score", max(highs, default=None), spec.output_checks.score)
    checks += _within("mean score", mean, spec.output_checks.mean_score)
    return GateReport("output gate", f"{plan.model} {plan.partition}", tuple(checks))


def _as_done(scored: ScoreResult, found: ReadBack, low: float | None, high: float | None) -> bool:
    counted = (scored.rows_scored, scored.rows_rejected, dict(scored.reasons), low, high)
    return counted == (found.rows, found.rejected, found.reasons, found.score_min, found.score_max)


def _keys(spec: ModelSpec, scored: ScoreResult, found: ReadBack) -> Check:
    """What counts is what would be published: the keys that the files hold."""
    column = ", ".join(spec.key)
    if not found.fits_table:
        expected = "one in all files, and the one that the table has: deliver that, or choose another output.table"
        return Check(
            "keys have one type", passed=False, observed=", ".join(found.types), expected=expected, column=column
        )
    return Check(
        "keys are unique",
        not found.twice.keys and found.rows == scored.rows_scored,
        f"{found.twice.keys} keys more than once, {found.rows} rows in the files",
        f"each key once, {scored.rows_scored} rows",
        column=column,
        values=tuple(bounded(" ".join(str(v) for v in key)) for key in found.twice.first),
    )


def _within(name: str, value: float | None, bounds: Bounds) -> list[Check]:
    if value is None:
        return []
    checks = []
    if bounds.at_least is not None:
        checks.append(Check(name, value >= bounds.at_least, float(f"{value:.6g}"), f"at least {bounds.at_least:g}"))
    if bounds.at_most is not None:
        checks.append(Check(name, value <= bounds.at_most, float(f"{value:.6g}"), f"at most {bounds.at_most:g}"))
    return checks
