"""Everything that travels comes back equal from JSON, files are whole or not there, and an empty report is closed."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_registry.codec import digest, from_json, to_json, to_plain, write_json
from model_registry.evidence import Check, GateReport, Severity
from model_registry.metric_gate import Action, Decision
from model_registry.store import NewVersion, Stage
from model_registry.timeline import Kind, Promotion

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(1, 10_000)
INSTANTS = st.datetimes(timezones=st.just(UTC))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
CHECKS = st.builds(
    Check,
    name=TEXT,
    passed=st.booleans(),
    observed=SCALARS,
    expected=TEXT,
    severity=st.sampled_from(Severity),
    column=st.none() | TEXT,
    rows=st.none() | st.integers(0, 10**9),
    examples=st.lists(TEXT, max_size=3).map(tuple),
)
REPORTS = st.builds(GateReport, TEXT, TEXT, st.lists(CHECKS, max_size=4).map(tuple))
NEW = st.builds(NewVersion, TEXT, TEXT, TEXT, TEXT, INSTANTS, INSTANTS, TEXT, TEXT)
VERSIONS = st.builds(NewVersion.numbered, NEW, NUMBERS)
DECISIONS = st.builds(Decision, VERSIONS, st.none() | VERSIONS, st.sampled_from(Action), REPORTS)
PROMOTIONS = st.builds(
    Promotion,
    model=TEXT,
    version=NUMBERS,
    digest=TEXT,
    stage=st.sampled_from(Stage),
    effective_from=INSTANTS,
    recorded_at=INSTANTS,
    actor=TEXT,
    reason=TEXT,
    evidence=st.none() | TEXT,
    kind=st.sampled_from(Kind),
    until=st.none() | INSTANTS,
    replaces=st.none() | NUMBERS,
    approved_by=st.none() | TEXT,
    request=st.none() | TEXT,
)


@given(value=REPORTS | VERSIONS | DECISIONS | PROMOTIONS)
def test_what_travels_comes_back_equal(value: object) -> None:
    text = to_json(value)
    back = from_json(type(value), text)
    assert back == value
    assert to_json(back) == text
    assert digest(back) == digest(value)


@given(report=REPORTS)
def test_an_observation_keeps_its_type(report: GateReport) -> None:
    back = from_json(GateReport, to_json(report))
    assert [type(c.observed) for c in back.checks] == [type(c.observed) for c in report.checks]


@pytest.mark.parametrize("observed", [float("inf"), float("-inf"), float("nan")])
def test_a_report_with_an_endless_figure_comes_back(observed: float) -> None:
    report = GateReport("metric gate", "m", (Check("log_loss", False, observed, "at most 1"),))
    back = from_json(GateReport, to_json(report))
    assert repr(back.checks[0].observed) == repr(observed)
    assert digest(back) == digest(report)


@pytest.mark.parametrize("spoil", [lambda p: p.pop("checks"), lambda p: p.update(checks="all of them")])
def test_what_does_not_fit_is_refused(spoil: object) -> None:
    plain = to_plain(GateReport("metric gate", "m", ()))
    spoil(plain)  # type: ignore[operator]
    with pytest.raises(ValidationError):
        from_json(GateReport, json.dumps(plain))


JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=4))


@given(value=st.dictionaries(TEXT, JSON, max_size=6), order=st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_the_order_of_keys(value: dict[str, object], order: object) -> None:
    items = list(value.items())
    order.shuffle(items)  # type: ignore[attr-defined]
    assert digest(dict(items)) == digest(value)


@given(one=REPORTS, two=REPORTS)
def test_the_digest_tells_reports_apart(one: GateReport, two: GateReport) -> None:
    assert (digest(one) == digest(two)) == (to_json(one) == to_json(two))


def test_the_digest_is_the_same_on_every_machine() -> None:
    report = GateReport("metric gate", "flight_delays version 1", (Check("auc", True, 0.7, "at least 0.6"),))
    assert digest({"b": [1, None], "a": "ü"}) == "5ddd266d13a5e8cdcca4c2007bb2032c5c319ab15de36c670f395fe8765fc949"
    assert digest(report) == digest(to_plain(report)) == digest(json.loads(to_json(report)))


def test_a_file_is_written_with_its_folder_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "nightly" / "judge.json"
    for subject in ("Zürich", "one"):
        write_json(target, GateReport("metric gate", subject, ()))
        assert from_json(GateReport, target.read_text(encoding="utf-8")).subject == subject
    assert [path.name for path in target.parent.iterdir()] == ["judge.json"]


def test_a_value_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "judge.json"
    write_json(target, {"a": 1})
    with pytest.raises(ValueError, match="serializ"):
        write_json(target, {"a": object()})
    assert json.loads(target.read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["judge.json"]


def test_readers_and_writers_at_once_never_meet_a_half_file(tmp_path: Path) -> None:
    target, ended, errors = tmp_path / "judge.json", threading.Event(), []
    values = [{"of": n, "text": str(n) * (20_000 * (n + 1))} for n in range(4)]
    write_json(target, values[0])

    def watch(step: object) -> None:
        try:
            while not ended.is_set():
                step()  # type: ignore[operator]
        except Exception as error:
            errors.append(error)
            raise

    def read() -> None:
        if json.loads(target.read_text(encoding="utf-8")) not in values:
            errors.append(AssertionError("a mixture"))

    steps = [read, read, *(lambda value=value: write_json(target, value) for value in values)]
    threads = [threading.Thread(target=watch, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    ended.wait(0.5)
    ended.set()
    for thread in threads:
        thread.join()
    assert errors == []


PASSED = Check("rows", True, 842, "at least 1")
FAILED = Check("auc on the holdout", False, 0.51, "at least 0.6")
WARNED = replace(FAILED, severity=Severity.warning)


@pytest.mark.parametrize(
    ("checks", "passed", "failures", "warnings"),
    [
        ((), False, 0, 0),
        ((PASSED,), True, 0, 0),
        ((FAILED,), False, 1, 0),
        ((WARNED,), True, 0, 1),
        ((PASSED, WARNED, WARNED), True, 0, 2),
        ((PASSED, WARNED, FAILED), False, 1, 1),
    ],
)
def test_only_an_error_or_nothing_at_all_closes_a_gate(
    checks: tuple[Check, ...], passed: bool, failures: int, warnings: int
) -> None:
    report = GateReport("input gate", "2013-02-08", checks)
    assert (report.passed, len(report.failures), len(report.warnings)) == (passed, failures, warnings)


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ((), "is closed: no check was evaluated."),
        ((PASSED,), "is open: 1 check evaluated."),
        ((PASSED, WARNED), "is open: 2 checks evaluated, 1 warned."),
        ((FAILED,), "is closed: auc on the holdout FAILED: expected at least 0.6, observed 0.51."),
    ],
)
def test_the_verdict_is_one_sentence(checks: tuple[Check, ...], verdict: str) -> None:
    assert GateReport("input gate", "2013-02-08", checks).verdict() == f"The input gate of 2013-02-08 {verdict}"


def test_a_long_verdict_is_cut_after_three_reasons() -> None:
    verdict = GateReport("input gate", "2013-02-08", (FAILED,) * 5).verdict()
    assert verdict.count("FAILED") == 3
    assert verdict.endswith("; and 2 more.")


def test_a_check_says_where_and_gives_examples_only_when_it_did_not_pass() -> None:
    check = replace(FAILED, column="tailnum", rows=3, examples=("N0", "N1"))
    assert check.sentence() == (
        "auc on the holdout on column tailnum FAILED: expected at least 0.6, observed 0.51, 3 rows, for example N0, N1"
    )
    assert (
        replace(check, severity=Severity.warning).sentence().startswith("auc on the holdout on column tailnum warned")
    )
    assert replace(check, passed=True).sentence().endswith("passed: expected at least 0.6, observed 0.51")
