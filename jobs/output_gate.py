"""The output gate: what was scored must add up to what came in, and the scores be what the spec allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.commit import not_overtaken
from jobs.errors import Rejected
from jobs.plan import Plan
from jobs.report_page import write_page
from jobs.score import ScoreResult
from jobs.steps import step
from jobs.table import predictions_path, same_types
from model_registry.evidence import Check, GateReport

if TYPE_CHECKING:
    from pathlib import Path

    from jobs.context import JobContext
    from jobs.spec import Bounds, ModelSpec


@dataclass(frozen=True)
class OutputGateResult:
    """What the output gate said; `unchanged` when the partition was published already and nothing was judged."""

    report: GateReport | None
    attempt: str
    unchanged: bool = False


def output_gate(job: JobContext) -> OutputGateResult:
    """Judge the scores of this run. Raises Rejected with the report when the gate is closed."""
    plan, scored = job.recall("plan", Plan), job.recall("score", ScoreResult)
    if plan.published:
        result = OutputGateResult(None, scored.attempt, unchanged=True)
        job.keep("output-gate", result)
        return result
    try:
        report = judge_scores(job.spec, plan, scored, predictions_path(job.settings, job.spec))
    except FileNotFoundError:
        not_overtaken(job, plan.predictions)
        raise
    result = OutputGateResult(report, scored.attempt)
    job.keep("output-gate", result)
    step("output-gate:kept")
    write_page(job.folder / "output-gate.html", [report], sentences=[scored.sentence()])
    if not report.passed:
        raise Rejected(report.verdict(), report)
    return result


def judge_scores(spec: ModelSpec, plan: Plan, scored: ScoreResult, table: Path) -> GateReport:
    """The report about the scores that lie, not yet published, in the folder of the table."""
    fragments = scored.fragments
    lows = [f.score_min for f in fragments if f.score_min is not None]
    highs = [f.score_max for f in fragments if f.score_max is not None]
    mean = sum(f.score_sum for f in fragments) / scored.rows_scored if scored.rows_scored else None
    share = scored.rows_rejected / scored.rows_in if scored.rows_in else 0.0
    not_finite = sum(f.not_finite for f in fragments)
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
        _keys(spec, scored, table),
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


def _keys(spec: ModelSpec, scored: ScoreResult, table: Path) -> Check:
    """Read the keys back from the files: what counts is what would be published."""
    files = [f.predictions for f in scored.fragments if f.predictions is not None]
    key = list(spec.key)
    found = [
        pq.read_table(table / f.path, columns=key, partitioning=None, page_checksum_verification=True) for f in files
    ]
    if not found:
        return Check("keys are unique", passed=True, observed="no keys", expected="each key once")
    if any(f.schema != found[0].schema for f in found) or not same_types(found[0].schema, table):
        types = ", ".join(sorted({str(t) for f in found for t in f.schema.types}))
        expected = "one in all files, and the one that the table has: deliver that, or choose another output.table"
        return Check("keys have one type", passed=False, observed=types, expected=expected, column=", ".join(key))
    keys = pa.concat_tables(found)
    groups = keys.group_by(key).aggregate([([], "count_all")])
    twice = groups.filter(pc.greater(groups["count_all"], 1))
    as_counted = len(keys) == scored.rows_scored
    examples = tuple(" ".join(str(v)[:40] for v in row.values()) for row in twice.select(key).slice(0, 5).to_pylist())
    observed = f"{len(twice)} keys more than once, {len(keys)} rows in the files"
    expected = f"each key once, {scored.rows_scored} rows"
    return Check(
        "keys are unique", not len(twice) and as_counted, observed, expected, column=", ".join(key), examples=examples
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
