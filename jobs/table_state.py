"""What another tool may have made of a table, or made it as: whether it can be published to, and its files be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.errors import Misconfigured
from jobs.table import PARTITION

if TYPE_CHECKING:
    from collections.abc import Collection

    from deltalake import DeltaTable

    from jobs.storage import Place

FEATURES = {"appendOnly", "changeDataFeed", "checkConstraints", "generatedColumns", "invariants", "timestampNtz"}
"""Those of Delta that a table may have, tried one by one; Delta refuses to write, or to read, a table with others."""
MAPPING = "delta.columnMapping.mode"
"""What says so in a table of an older protocol, which has no list of features."""
CONSTRAINT = "delta.constraints."
APPEND_ONLY = "delta.appendOnly"
_FOREIGN = "it was not made by Lamplighter, or for another key. Choose another output.table."


def unsupported(table: DeltaTable) -> list[str]:
    """The features of a table with which its files alone are not its rows, or it cannot be written."""
    protocol = table.protocol()
    found = {*(protocol.reader_features or []), *(protocol.writer_features or [])} - FEATURES
    if table.metadata().configuration.get(MAPPING, "none") != "none":
        found.add("columnMapping")
    return sorted(found)


def must_be_supported(table: DeltaTable, path: Place) -> None:
    """Raise Misconfigured when the table has a feature that is not supported."""
    if found := unsupported(table):
        raise Misconfigured(
            f"{path.name} uses {', '.join(found)}, which another tool has switched on and which is not supported here: "
            f"write the table anew without, or choose another output.table."
        )


def must_have_key(table: DeltaTable, path: Place, key: Collection[str]) -> None:
    """Raise Misconfigured when predictions are published with another key: the columns before the score."""
    names = [field.name for field in table.schema().fields]
    if "score" in names and (found := names[: names.index("score")]) and set(found) != set(key):
        raise Misconfigured(
            f"{path.name} has the key {', '.join(found)}, and the spec {', '.join(key)}: its readers join by the one "
            f"that it has. Choose another output.table for a new key."
        )


def must_be_writable(table: DeltaTable, path: Place, columns: Collection[str] = ()) -> None:
    """Raise Misconfigured when no commit of ours would pass, or one would do harm, or it has none of these columns."""
    must_be_supported(table, path)
    if table.metadata().partition_columns != [PARTITION]:
        raise Misconfigured(f"{path.name} is not partitioned by {PARTITION} alone: {_FOREIGN}")
    types = {field.name: str(getattr(field.type, "type", field.type)) for field in table.schema().fields}
    if types[PARTITION] != "string":
        raise Misconfigured(f"{path.name} is partitioned by a {types[PARTITION]}, not by a text: {_FOREIGN}")
    if missing := [name for name in columns if name not in types]:
        raise Misconfigured(f"{path.name} has no column {missing[0]}: {_FOREIGN}")
    properties = table.metadata().configuration
    if any(name.startswith(CONSTRAINT) for name in properties):
        raise Misconfigured(
            f"{path.name} has a CHECK constraint, which nobody looks at here: state output_checks instead."
        )
    if str(properties.get(APPEND_ONLY)).lower() == "true":
        raise Misconfigured(
            f"{path.name} is append-only, and a partition is published by replacing it: set {APPEND_ONLY} to false."
        )
