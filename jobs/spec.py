"""The spec of a model: everything that `models/<name>/model.yaml` may say. docs/spec.md is generated from here."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, field_serializer, field_validator, model_validator

from jobs.expectations import Expectation
from jobs.partition import Calendar, Every
from jobs.spec_behaviour import Behaviour, faults
from jobs.spec_gates import MetricGate, Part, PromotionPolicy
from jobs.spec_schedule import Schedules
from jobs.spec_storage import Output, Stored
from jobs.spec_types import Duration, Name, Zone
from model_registry.evidence import Severity
from model_registry.rules import CHANGED, COSTS, Mode

CLASSIFICATION_METRICS = ("auc", "average_precision", "log_loss", "brier", "calibration_error")
REGRESSION_METRICS = ("rmse", "mae", "r2", "calibration_error")


class Source(Stored):
    """Where the rows to score are."""

    column: Name
    """Name of the partition column. In SQL it holds a date, an instant within the partition, or the partition's key."""
    every: Every
    """Length of a partition."""
    timezone: Zone = "UTC"
    """Time zone in which a partition begins."""

    @property
    def calendar(self) -> Calendar:
        """The partitions of this source."""
        return Calendar(self.every, self.timezone)


class FeatureKind(StrEnum):
    """How a feature's column is read."""

    number = "number"
    category = "category"
    flag = "flag"


class Feature(Part):
    """How a feature is read, and which of its values reject a row."""

    kind: FeatureKind
    """`number` is read as float64, `category` as text, `flag` as 0.0 or 1.0; a null is NaN in all of them."""
    required: bool = False
    """Reject a row in which the feature is null."""
    at_least: float | None = None
    """Reject a row with a smaller number."""
    at_most: float | None = None
    """Reject a row with a larger number."""


def _feature(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


class Label(Stored):
    """Where the labels come from, partitioned like the source, and when."""

    columns: tuple[str, ...] = Field(min_length=1)
    """Columns that `label(frame)` needs."""
    delay: Duration
    """How long after the end of a partition its labels are mature."""
    known_at: str | None = None
    """Column with the instant at which a label became known; later ones are not used."""


class Training(Part):
    """What a retrain learns from."""

    window: Duration
    """Length of the data before the newest mature partition, holdout included."""
    holdout: Duration
    """Length of the newest part, kept for the evaluation."""
    seed: int = Field(ge=0, lt=2**32)
    """Seed of everything random."""
    threads: int = Field(default=1, ge=1, le=256)
    """Threads of the fit. One gives the same model on any machine; some estimators keep the number in the model."""
    minimum_rows: int = Field(ge=1)
    """Fewer labelled rows than this, in training or holdout, stop the retrain."""


class InputCheck(Part):
    """One Great Expectations expectation about a batch."""

    expectation: Expectation
    """Name of the expectation."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Its arguments, as Great Expectations names them."""

    @field_serializer("arguments", when_used="json")
    def _as_yaml(self, arguments: dict[str, Any]) -> str:
        """YAML has dates, and JSON has not."""
        return yaml.safe_dump(arguments, explicit_start=True)

    @field_validator("arguments", mode="before")
    @classmethod
    def _from_yaml(cls, arguments: object) -> object:
        if isinstance(arguments, str) and arguments.startswith("---\n"):
            return yaml.safe_load(arguments)
        return arguments

    severity: Literal[Severity.error, Severity.warning] = Severity.error
    """`error` closes the gate, `warning` is reported."""


class Bounds(Part):
    """A closed interval; an end that is left out is open."""

    at_least: float | None = None
    """Smallest value allowed."""
    at_most: float | None = None
    """Largest value allowed."""


class OutputChecks(Part):
    """What the scores of a partition must look like, beyond what always holds."""

    score: Bounds
    """Bounds on every score."""
    mean_score: Bounds = Bounds()
    """Bounds on the mean score of the partition."""


class EngineChoice(Part):
    """What maps the work over the fragments."""

    name: Literal["auto", "local", "dask", "spark"] = "auto"
    """`auto` takes `local` for small partitions, and a configured cluster or Dask for large ones."""
    workers: int = Field(default=2, ge=1, le=1024)
    """Workers of an engine that this machine runs itself."""
    rows_per_fragment: int = Field(default=131_072, ge=1_000)
    """Row groups are put together up to about this many rows, and no more are scored at a time."""


class Retries(Part):
    """How often Airflow tries a task again when something was unavailable."""

    attempts: int = Field(default=5, ge=0, le=20)
    """Tries after the first."""
    delay: Duration = timedelta(seconds=5)
    """Wait before the first of them, or up to twice as long; before each further one it is twice that of before."""


def _key_faults(key: tuple[str, ...], own: tuple[str, ...]) -> list[str]:
    """What no table of the output takes, which has columns of its `own`: a table compares names without case."""
    names, found = [name.lower() for name in key], []
    if len(set(names)) != len(names):
        case = "" if len(set(key)) != len(key) else ", but for capitals, and a table takes one of them"
        found.append(f"key: {', '.join(key)} names a column twice{case}")
    found += ["key: a column with a NUL in its name cannot be published"] if "\0" in "".join(key) else []
    taken = [name for name in key if name.lower() in {"score", "model_version", "partition", "reason", *own}]
    return [*found, *(f"key: a key column cannot be called {name}, as a column of the output is" for name in taken)]


class ModelSpec(Part):
    """Everything that Lamplighter knows about a model."""

    model: Name
    """Name of the model: the name of its folder."""
    description: str = Field(min_length=1)
    """One sentence for the people who will meet it in Airflow and MLflow."""
    owner: str = Field(min_length=1)
    """Who answers for it."""
    tags: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = ()
    """Tags of its DAGs."""
    task: Literal["classification", "regression"]
    """`classification` scores the probability of the class 1, `regression` a number."""
    source: Source
    key: tuple[str, ...] = Field(min_length=1)
    """Columns that name a row uniquely within a partition."""
    features: dict[str, Annotated[Feature, BeforeValidator(_feature, json_schema_input_type=FeatureKind | Feature)]] = (
        Field(min_length=1)
    )
    """Columns that the pipeline gets, in this order: a kind, or a kind with rules."""
    label: Label
    training: Training
    input_checks: tuple[InputCheck, ...] = Field(min_length=1)
    """Expectations about every batch, beyond those that always hold (rows are there, keys are unique)."""
    output_checks: OutputChecks
    metric_gates: tuple[MetricGate, ...] = Field(min_length=1)
    """Rules for a candidate; all must hold, and at least one is enforced."""
    behaviour: Behaviour = Behaviour()
    """How a candidate must score rows that the holdout does not have; these count like the metric gates."""
    promotion: PromotionPolicy = PromotionPolicy()
    schedules: Schedules = Schedules()
    engine: EngineChoice = EngineChoice()
    output: Output
    shadow: bool = False
    """Let the version in staging score the same rows, too, into the table `<table>_shadow`. Whatever is wrong with it,
    production goes on."""
    reject_budget: float = Field(ge=0, le=1)
    """Largest share of a partition's rows that may be rejected; over it nothing is published."""
    retries: Retries = Retries()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that belong to the task."""
        return CLASSIFICATION_METRICS if self.task == "classification" else REGRESSION_METRICS

    @model_validator(mode="after")
    def _fits_together(self) -> ModelSpec:
        found = [
            f"metric_gates: {gate.metric} is no metric of {self.task}; allowed are {', '.join(self.metrics)}"
            for gate in self.metric_gates
            if gate.metric not in {*self.metrics, *COSTS, CHANGED}
        ]
        if all(gate.mode is not Mode.enforce for gate in self.metric_gates):
            found.append("metric_gates: no rule has mode enforce, so that every candidate would pass; enforce one")
        if self.training.holdout >= self.training.window:
            found.append("training.holdout must be shorter than training.window")
        found += _key_faults(self.key, self.output.own) + self.output.key_faults(self.key)
        found += faults(self.behaviour, self.features)
        found += [f"schedules: {fault}" for fault in self.schedules.faults(self.source.every)]
        if found:
            raise ValueError("; ".join(found))
        return self
