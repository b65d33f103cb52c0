"""Scores inside Spark, for tables that only Spark reads and for analysts' SQL: nothing is published, nothing gated.

A version is resolved once, when it is asked for, and its files are verified then. Rows are treated and scored as on
every engine: a row that the spec rejects has no score, and a reason. The project is installed on the workers, and they
read the driver's cache of versions (`LAMPLIGHTER_HOME` on a shared disk when they are other machines).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from jobs.errors import Misconfigured
from jobs.registry import open_registry
from jobs.scorer import load_scorer
from jobs.settings import Settings
from jobs.spec_file import load_spec
from jobs.treat import treat
from model_registry.artifacts import verified
from model_registry.resolution import Selector, resolve
from model_registry.semver import PATTERN

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from jobs.spec import ModelSpec
    from model_registry.store import Version

ROWS = 65_536


@dataclass(frozen=True)
class ScoreRows:
    """Scores tables of rows by one version; small, and picklable for Spark."""

    spec: ModelSpec
    version: int
    files: str

    def scored(self, table: pa.Table) -> tuple[pa.Array, pa.Array]:
        """For each row its score (null when it is rejected) and the reason why it is rejected (null when it is not).

        `table` has the key and the features. Raises Rejected when a column's type is not what the spec says.
        """
        where = f"the rows for {self.spec.model}"
        treated = treat(table, self.spec, where)
        scores = np.zeros(len(table))
        scores[treated.good] = load_scorer(self.files).score(table, treated, where)
        reasons = pa.array([None, *treated.reasons], pa.string()).take(pa.array(treated.codes))
        return pa.array(scores, mask=~treated.good), reasons

    def of_arguments(self, *arguments: pa.Array) -> pa.Table:
        """The features as a table: of one struct that has them all by name, or of one argument for each, in order.

        A row has no key here, and the spec's key is filled with something that is not null.
        """
        names = list(self.spec.features)
        if len(arguments) == 1 and pa.types.is_struct(arguments[0].type):
            columns = dict(zip(arguments[0].type.names, arguments[0].flatten(), strict=True))
            missing = [name for name in names if name not in columns]
            if missing:
                raise Misconfigured(f"{self.spec.model} needs {', '.join(missing)}, and the struct has no such field.")
        elif len(arguments) == len(names):
            columns = dict(zip(names, arguments, strict=True))
        else:
            raise Misconfigured(
                f"{self.spec.model} takes one struct, or its {len(names)} features in this order: {', '.join(names)}."
            )
        present = pa.array(np.zeros(len(arguments[0]), np.int64))
        keys = {name: present for name in self.spec.key if name not in names}
        return pa.table(keys | {name: columns[name] for name in names})

    def batches(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """For `mapInArrow`: the key, the score, the version and the reason of each row."""
        for table in _together(batches):
            scores, reasons = self.scored(table)
            version = pa.array(np.full(len(table), self.version, np.int32))
            found = table.select(list(self.spec.key))
            for name, values in (("score", scores), ("model_version", version), ("reason", reasons)):
                found = found.append_column(name, values)
            yield from found.to_batches()


def register_udf(spark: SparkSession, which: str, name: str | None = None, settings: Settings | None = None) -> Version:
    """Make a version a function of Spark SQL; returns the version that was resolved.

    `which` is `MODEL@production`, `MODEL@3`, `MODEL@1.2.0`, or `MODEL@PARTITION` for the version in production as of a
    partition. In SQL, `flight_delays(struct(*))` or `flight_delays(feature, feature, ...)` is a row's score, null for a
    row that the spec rejects, and `flight_delays_reason(...)` says why. Raises UnknownVersion, Misconfigured and
    InvalidSpec.
    """
    from pyspark.sql.functions import arrow_udf

    score_rows, version = _resolved(which, settings)

    def score(*arguments: pa.Array) -> pa.Array:
        return score_rows.scored(score_rows.of_arguments(*arguments))[0]

    def reason(*arguments: pa.Array) -> pa.Array:
        return score_rows.scored(score_rows.of_arguments(*arguments))[1]

    called = name or version.model
    spark.udf.register(called, arrow_udf(score, "double"))
    spark.udf.register(f"{called}_reason", arrow_udf(reason, "string"))
    return version


def score_frame(frame: DataFrame, which: str, settings: Settings | None = None) -> DataFrame:
    """The rows of any table that Spark reads, scored: the key, `score`, `model_version` and `reason`.

    `which` as in `register_udf`. Raises Misconfigured when the frame lacks a column, and what `register_udf` raises.
    """
    from pyspark.sql.types import DoubleType, IntegerType, StringType, StructField, StructType

    score_rows, _ = _resolved(which, settings)
    spec = score_rows.spec
    needed = list(dict.fromkeys([*spec.key, *spec.features]))
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        raise Misconfigured(f"{spec.model} needs {', '.join(missing)}, and the frame has no such column.")
    keys = [frame.schema[column] for column in spec.key]
    more = [("score", DoubleType()), ("model_version", IntegerType()), ("reason", StringType())]
    schema = StructType([*keys, *(StructField(column, kind) for column, kind in more)])
    return frame.select(*map(_quoted, needed)).mapInArrow(score_rows.batches, schema)


def _quoted(column: str) -> str:
    """A column by its name alone: to Spark a dot is the way into a struct."""
    return f"`{column.replace('`', '``')}`"


def _resolved(which: str, settings: Settings | None) -> tuple[ScoreRows, Version]:
    settings = settings or Settings.from_environment()
    model, at, selector = which.partition("@")
    if not (model and at and selector):
        raise Misconfigured(f"{which!r} names no version: write one like MODEL@production, MODEL@3 or MODEL@PARTITION.")
    spec = load_spec(settings.models, model)
    registry = open_registry(settings)
    version = resolve(registry, model, *_selected(spec, selector))
    files = str(verified(registry.store, version, settings.cache))
    load_scorer(files).check_features(spec)
    return ScoreRows(spec, version.number, files), version


def _selected(spec: ModelSpec, selector: str) -> tuple[str, datetime]:
    if selector == Selector.PRODUCTION or selector.isdecimal() or PATTERN.fullmatch(selector):
        return selector, datetime.now(UTC)
    return Selector.AS_OF, spec.source.calendar.parse(selector).start


def _together(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Small batches put together, so that a call costs little beside its rows."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(map(len, held)) >= ROWS:
            yield pa.Table.from_batches(held)
            held = []
    if any(map(len, held)):
        yield pa.Table.from_batches(held)
