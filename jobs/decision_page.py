"""A decision for people who were not there: as an HTML page, and as Markdown for whoever has to approve it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from jobs.report_page import render
from model_registry.evidence import Severity
from model_registry.rules import RARER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jobs.evaluation import Evaluation
    from model_registry.metric_gate import Decision
    from model_registry.rules import Estimate, Measured
    from model_registry.store import Version

CAPTIONS = {
    "roc": "How well both tell one class from the other: the higher the curve, the better.",
    "errors": "How large the errors of both are: the further left the curve, the better.",
    "calibration": "Whether a score means what it says: on the dotted line it does.",
    "changed": "Every holdout row's score by the champion and by the candidate: on the line nothing changed.",
    "changes": "How many scores change, and by how much.",
    "slices": "Every slice with its bounds, candidate and champion.",
}
MEANINGS = {
    "auc": "How often a row of the positive class has a higher score than one of the other: 1 is perfect, 0.5 a guess.",
    "average_precision": "Precision over all thresholds, weighted by recall; a guess has the share of the positives.",
    "brier": "Mean squared distance of the score from what came true, 0 to 1: lower is better.",
    "log_loss": "Minus the mean logarithm of the probability that the score gave to what came true: lower is better.",
    "calibration_error": "How far scores are from the shares that came true, less what chance alone explains: below 0 "
    "means less than chance.",
    "mae": "Mean absolute error, in the target's unit: lower is better.",
    "rmse": "Root of the mean squared error, in the target's unit: lower is better.",
    "r2": "Share of the target's variance that the scores explain: 1 is perfect, 0 what its mean does.",
    "changed_predictions": "Share of the rows whose score differs from the champion's by more than the rule allows.",
}


@dataclass(frozen=True)
class ReportText:
    """The report of a version as Markdown."""

    model: str
    version: int
    passed: bool
    markdown: str

    def sentence(self) -> str:
        """The report itself."""
        return self.markdown


def decision_page(decision: Decision, found: Evaluation, plots: Mapping[str, bytes]) -> str:
    """The page of a decision as HTML text, with the pictures of the evaluation."""
    return render(
        "decision.html",
        {CAPTIONS.get(name, name): image for name, image in plots.items()},
        title=f"Metric gate of {decision.candidate}",
        decision=decision,
        outcome=_outcome(decision),
        facts=_facts(decision, found),
        slices=list(_slice_tables(found.measured)),
        meanings=list(_meanings(found)),
    )


def decision_text(decision: Decision) -> ReportText:
    """The decision as Markdown: what is to happen, and every question with its answer."""
    lines = [f"**{decision.headline()}** {_outcome(decision)}", "", *_version_lines(decision), ""]
    lines += ["| question | answer | wanted | found |", "| --- | --- | --- | --- |"]
    for check in decision.report.checks:
        remarks = f"; {check.advice}" if check.advice else ""
        cells = (check.name, check.verdict, check.expected, f"{check.observed}{remarks}")
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    lines += ["", *(f"* {note}" for note in decision.report.notes)]
    return ReportText(decision.candidate.model, decision.candidate.number, decision.report.passed, "\n".join(lines))


def _outcome(decision: Decision) -> str:
    report = decision.report
    asked, bad = len(report.asked), len(report.failures)
    missed = bad + len(report.warnings)
    words = f"{asked - missed} of {asked} questions passed" if missed else f"All {asked} questions passed"
    words += f", {bad} did not" if bad else ""
    names = ", ".join(check.name for check in report.warnings)
    warned = f"{len(report.warnings)} warned ({names})" if names else ""
    off = f"{sum(c.severity is Severity.off for c in report.checks)} off" if report.off else ""
    return ", ".join(part for part in (words, warned, off) if part) + "."


def _version_lines(decision: Decision) -> Iterable[str]:
    for role, version in (("Candidate", decision.candidate), ("Champion", decision.champion)):
        if version is not None:
            yield f"* {role}: {_described(version)}"


def _described(version: Version) -> str:
    named = f" ({version.semver})" if version.semver else ""
    return (
        f"version {version.number}{named}, retrained for {version.partition} on data from "
        f"{_window(version)}, digest {version.digest[:12]}"
    )


def _window(version: Version) -> str:
    """The first and the last day that it has seen."""
    last = version.trained_until - timedelta(microseconds=1)
    return f"{version.trained_from:%Y-%m-%d} to {last:%Y-%m-%d}"


def _facts(decision: Decision, found: Evaluation) -> list[tuple[str, ...]]:
    versions = (decision.candidate, decision.champion)
    rows: list[tuple[str, ...]] = [
        ("Version", *(f"{v.number}{f' ({v.semver})' if v.semver else ''}" if v else "" for v in versions)),
        ("Retrained for", *(v.partition if v else "" for v in versions)),
        ("Data seen", *(f"{_window(v)}" if v else "" for v in versions)),
        ("Digest", *(v.digest[:12] if v else "" for v in versions)),
    ]
    theirs = found.champion_metrics or {}
    for name, value in sorted(found.metrics.items()):
        rows.append((name.replace("_", " "), f"{value:.4g}", f"{theirs[name]:.4g}" if name in theirs else ""))
    return rows


def _meanings(found: Evaluation) -> Iterable[tuple[str, str]]:
    """What each metric of the page says."""
    shown = {*found.metrics, *(m.subject.metric for m in found.measured)}
    for name in sorted(shown & MEANINGS.keys()):
        yield name.replace("_", " "), MEANINGS[name]


def _slice_tables(measured: Sequence[Measured]) -> Iterable[tuple[str, list[tuple[str, ...]]]]:
    tables: dict[str, list[tuple[str, ...]]] = {}
    for m in measured:
        if m.part is not None:
            metric, by, sure = m.subject.metric, m.subject.by, m.subject.confidence * 100
            title = f"{metric.replace('_', ' ')} by {by}, with {sure:.4g}% confidence"
            few = m.rarer is not None and m.rarer < RARER
            unsure = ("not enough rows", "", "", "", "")  # bounds of so few would be taken for a judgement
            cells = unsure if few else (*_cells(m.candidate), _cells(m.champion)[0], *_cells(m.worse_by))
            tables.setdefault(title, []).append((f"{m.small:,} {m.part}" if m.small else m.part, f"{m.rows:,}", *cells))
    return tables.items()


def _cells(estimate: Estimate | None) -> tuple[str, str]:
    if estimate is None or estimate.value != estimate.value:
        return "", ""
    return f"{estimate.value:.4g}", f"{estimate.low:.4g} and {estimate.high:.4g}"
