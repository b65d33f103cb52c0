"""One row of a publication: its score, or why it was rejected. Read as of that publication, whatever came later."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from jobs.errors import Misconfigured
from jobs.own_files import checked, files_kept
from jobs.storage import Place, arrow
from jobs.table import PARTITION, open_table, predictions_path, rejected_path, shadow_path
from jobs.table_state import must_have_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.fragments import WrittenFile
    from jobs.settings import Settings
    from jobs.spec import ModelSpec
    from jobs.table import Publication


@dataclass(frozen=True)
class RowLineage:
    """What became of a row: a `score` by `version`, or the `reason` why it was rejected, or neither."""

    key: dict[str, str]
    score: float | None
    version: int | None
    reason: str | None
    sentence: str


def find_row(settings: Settings, spec: ModelSpec, publication: Publication, key: Sequence[str]) -> RowLineage:
    """The row with this key, one text for each column of the key; a composite key may be one text with commas.

    Raises Misconfigured when the key does not have the columns or the types of the model's key.
    """
    named = dict(zip(spec.key, _split(spec, key), strict=True))
    with files_kept(predictions_path(settings, spec), publication.model, publication.partition):
        return _find(settings, spec, publication, named)


def _find(settings: Settings, spec: ModelSpec, publication: Publication, named: dict[str, str]) -> RowLineage:
    scored = _read(predictions_path(settings, spec), publication.table_version, publication.partition, named)
    if scored:
        score, version = scored[0]["score"], scored[0]["model_version"]
        said = f"The row has the score {score:.6g}, by version {version}."
        return RowLineage(named, score, version, None, said + _in_the_shadow(settings, spec, publication, named))
    rejected = _rejected(settings, spec, publication, named)
    if rejected:
        reason = rejected[0]["reason"]
        return RowLineage(named, None, None, reason, f"The row was rejected: {reason}.")
    said = f"There is no row with this key in {publication.model} {publication.partition}, neither scored nor rejected."
    return RowLineage(named, None, None, None, said)


def _split(spec: ModelSpec, key: Sequence[str]) -> list[str]:
    given = key[0].split(",") if len(key) == 1 and len(spec.key) > 1 else list(key)
    if len(given) != len(spec.key):
        raise Misconfigured(
            f"The key of {spec.model} is {', '.join(spec.key)}: give --key once for each of them, in this order, or "
            f"all in one with commas."
        )
    return given


def _rejected(
    settings: Settings, spec: ModelSpec, publication: Publication, named: dict[str, str]
) -> list[dict[str, Any]]:
    """The rejected rows with this key, from the files that the publication lists."""
    path = rejected_path(settings, spec)
    if publication.rejected_files is None:
        return _read(path, publication.rejected_table_version, publication.partition, named)
    return _in_files(path, publication.rejected_files, named)


def _in_the_shadow(settings: Settings, spec: ModelSpec, publication: Publication, named: dict[str, str]) -> str:
    """What the version in staging made of the row, as a sentence."""
    shadow = publication.shadow
    found = _in_files(shadow_path(settings, spec), shadow.files, named) if shadow else []
    return f" In the shadow it has {found[0]['score']:.6g}, by version {found[0]['model_version']}." if found else ""


def _in_files(table: Place, files: Sequence[WrittenFile], named: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file in files:
        where, filesystem = arrow(table / file.path)
        rows = ds.dataset(where, filesystem=filesystem)
        found += rows.to_table(filter=_wanted(rows.schema, named), fragment_scan_options=checked()).to_pylist()
    return found


def _wanted(schema: pa.Schema, key: dict[str, str]) -> pc.Expression:
    tests = [pc.field(name) == _value(name, text, schema.field(name).type) for name, text in key.items()]
    return functools.reduce(operator.and_, tests)


def _read(path: Place, table_version: int | None, partition: str, key: dict[str, str]) -> list[dict[str, Any]]:
    table = open_table(path, table_version) if table_version is not None else None
    if table is None:
        return []
    must_have_key(table, path, list(key))
    rows = table.to_pyarrow_dataset()
    wanted = (pc.field(PARTITION) == partition) & _wanted(rows.schema, key)
    found: list[dict[str, Any]] = rows.to_table(filter=wanted, fragment_scan_options=checked()).to_pylist()
    return found


def _value(name: str, text: str, kind: pa.DataType) -> pa.Scalar:
    try:
        return pa.array([text], pa.string()).cast(kind)[0]
    except (pa.ArrowException, UnicodeEncodeError):
        raise Misconfigured(
            f"The key {name} is {kind}, and --key does not give one: write it as the source does."
        ) from None
