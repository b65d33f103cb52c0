"""Specs: the good ones load, and bad ones name every fault with line, key, value and what is allowed."""

from pathlib import Path

import pytest

from jobs.errors import InvalidSpec, Misconfigured
from jobs.expectations import Expectation
from jobs.spec_file import code_digest, load_pipeline_module, load_spec, model_names, parse_spec

MODELS = Path(__file__).resolve().parents[2] / "models"
METRICS = (
    "'auc', 'average_precision', 'log_loss', 'brier', 'calibration_error', 'rmse', 'mae', 'r2', 'changed_predictions', "
    "'latency_ratio', 'load_ratio' or 'artifact_mb'"
)
FAULTS = f"""\
models/x/model.yaml:1: owner: field required
models/x/model.yaml:4: ownr = 'data-team': extra inputs are not permitted
models/x/model.yaml:11: source.every = 'fortnight': input should be 'hour' or 'day'
models/x/model.yaml:33: training.window = '8 weeks': a duration is a whole number with s, m, h or d behind it, like 7d
models/x/model.yaml:59: metric_gates.1.metric = 'beauty': input should be {METRICS}
models/x/model.yaml:74: schedules.score.cron = 'midnight': a cron expression of five fields, like '0 0 * * *'
models/x/model.yaml:80: reject_budget = 2: input should be less than or equal to 1
"""
GOOD = (MODELS / "flight_delays" / "model.yaml").read_text()


@pytest.mark.parametrize("name", ["arrival_minutes", "flight_delays"])
def test_the_models_of_the_repository_load(name: str) -> None:
    assert name in model_names(MODELS)
    assert load_spec(MODELS, name).model == name
    module = load_pipeline_module(MODELS, name)
    assert module.build().steps


def test_all_faults_are_named_at_once() -> None:
    text = (
        GOOD.replace("window: 56d", "window: 8 weeks")
        .replace("every: day", "every: fortnight")
        .replace("metric: brier", "metric: beauty")
        .replace("reject_budget: 0.01", "reject_budget: 2")
        .replace('cron: "0 2 * * *", partition: begins', "cron: midnight, partition: begins")
        .replace("owner: data-team\n", "ownr: data-team\n")
    )
    with pytest.raises(InvalidSpec) as caught:
        parse_spec(text, "models/x/model.yaml")
    assert str(caught.value).splitlines() == FAULTS.splitlines()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            "metric: brier, at_most: 0.25",
            "metric: rmse, at_most: 9",
            "metric_gates: rmse is no metric of classification",
        ),
        ("metric: brier, at_most: 0.25, not_worse_by: 0.01", "metric: brier", "a metric gate needs at_least, at_most"),
        ("metric: brier, at_most: 0.25", "metric: brier, better_by: 0.1", "not_worse_by or better_by, not both"),
        ("metric: brier, at_most: 0.25", "metric: brier, largest_gap: 0.25", "with largest_gap needs by"),
        (
            "metric: artifact_mb, at_most",
            "metric: artifact_mb, not_worse_by",
            "on a cost takes at_least or at_most only",
        ),
        ("by_more_than: 0.25, at_most", "at_most", "on changed_predictions needs by_more_than"),
        (
            "metric: brier, at_most",
            "metric: brier, by_more_than: 1, at_most",
            "by_more_than on changed_predictions only",
        ),
        ("not_worse_by: 0.03", "not_worse_by: -0.03", "greater than or equal to 0"),
        ("at_most: 0.25, not", "confidence: 1, at_most: 0.25, not", "less than or equal to 0.999"),
        ("feature: distance", "feature: distances", "behaviour.directions[0]: there is no feature distances"),
        ("promotion: {to: production}", "promotion: {approval: maybe}", "'none', 'required' or 'two_persons'"),
        ("holdout: 7d", "holdout: 99d", "training.holdout must be shorter than training.window"),
        ("key: [flight_id]", "key: [score]", "a key column cannot be called score"),
        ("key: [flight_id]", "key: [reason]", "a key column cannot be called reason, as a column of the output is"),
        ("key: [flight_id]", "key: [Partition]", "a key column cannot be called Partition"),
        ("key: [flight_id]", "key: [Day, day]", "key: Day, day names a column twice, but for capitals"),
        ("key: [flight_id]", "key: []", "key"),
        ("key: [flight_id]", "key: [flight_id, flight_id]", "names a column twice"),
        ("reject_budget: 0.01", "reject_budget: .nan", "reject_budget = nan"),
        ("start: 2013-01-01", "start: 2013-02-31", "this is not YAML: day is out of range for month"),
        ("task: classification", "task: classification\ntask: regression", "task: the key stands twice"),
        ("expect_table_row_count_to_be_between", "expect_miracles", "input_checks.0.expectation = 'expect_miracles'"),
        ("model: flight_delays", "model: Flight Delays", "model = 'Flight Delays'"),
        ("name: auto", "name: ray", "engine.name = 'ray'"),
    ],
)
def test_what_does_not_fit_together_is_said(before: str, after: str, says: str) -> None:
    assert before in GOOD
    with pytest.raises(InvalidSpec) as caught:
        parse_spec(GOOD.replace(before, after, 1), "model.yaml")
    assert says in str(caught.value)


def test_a_gate_that_only_warns_is_no_gate() -> None:
    text = GOOD.replace(", mode: warn", "").replace("- {metric: ", "- {mode: warn, metric: ")
    with pytest.raises(InvalidSpec, match="no rule has mode enforce, so that every candidate would pass; enforce one"):
        parse_spec(text, "model.yaml")


def test_a_time_zone_that_there_is_not() -> None:
    with pytest.raises(InvalidSpec, match="an IANA time zone, like UTC"):
        parse_spec(GOOD.replace("every: day", "every: day\n  timezone: Mars/Base"), "model.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model: [", "this is not YAML"),
        ("- a\n- b", "a spec is a mapping"),
        ("", "a spec is a mapping"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("a: !!python/object:os.system x", "this is not YAML"),
    ],
)
def test_what_is_no_spec_at_all(text: str, says: str) -> None:
    with pytest.raises(InvalidSpec, match=says):
        parse_spec(text, "model.yaml")


def test_long_values_are_cut() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec(GOOD.replace("reject_budget: 0.01", f"reject_budget: {'x' * 5000}"), "model.yaml")
    assert len(str(caught.value)) < 300


def test_the_folder_names_the_model(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.yaml").write_text(GOOD)
    with pytest.raises(InvalidSpec, match="'flight_delays' must be the name of its folder, 'other'"):
        load_spec(tmp_path, "other")


def test_an_unknown_model_is_told_which_there_are() -> None:
    with pytest.raises(Misconfigured, match="the models are: arrival_minutes, flight_delays"):
        load_spec(MODELS, "nope")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def build(): ...", "has no function label"),
        ("x = 1", "has no function build and no function label"),
        ("import no_such_thing", "cannot be imported: ModuleNotFoundError"),
        ("def build(:", "cannot be imported: SyntaxError"),
    ],
)
def test_a_pipeline_that_cannot_be_used_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "pipeline.py").write_text(text)
    with pytest.raises(Misconfigured, match=says):
        load_pipeline_module(tmp_path, "x")


def test_every_expectation_that_a_spec_may_name_is_in_the_library() -> None:
    import great_expectations  # noqa: F401 - fills the registry
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    assert set(Expectation.__args__) <= set(list_registered_expectation_implementations())


def test_the_code_digest_changes_with_the_model_and_not_with_others(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pipeline.py").write_text("x = 1\n")
    before = code_digest(tmp_path, "one")
    (tmp_path / "two" / "pipeline.py").write_text("x = 2\n")
    assert code_digest(tmp_path, "one") == before
    (tmp_path / "one" / "pipeline.py").write_text("x = 2\n")
    assert code_digest(tmp_path, "one") != before
