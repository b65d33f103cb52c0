"""The parts of a spec that say where rows come from and where predictions go."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jobs.spec_gates import Part
from jobs.spec_schedule import Ready
from jobs.spec_types import Name

LONGEST = 40
"""Characters of a name that PostgreSQL does not cut off with what is added to it."""
MOST_BYTES = 63
SYSTEM = {"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"}
STAGED = ("lamplighter_attempt", "lamplighter_number")
"""Columns of ours beside the key, while rows are on their way into a database."""
REJECTED, SHADOW = BESIDE = ("_rejected", "_shadow")
"""Ends of the names of tables that go with one of predictions: of its rejected rows, and of the shadow's scores."""
Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,62}$")]


class Stored(Part):
    """Where rows are."""

    kind: Literal["parquet", "delta", "sql"] = "parquet"
    """`parquet` is a folder of files, `delta` a Delta table, `sql` a table or a query of a database."""
    path: str = Field(min_length=1)
    """`parquet`: a folder below the data root, an absolute one or a URL (`s3://...`); a partition is a subfolder
    `<column>=<key>` of it. `delta`: a table there, partitioned by the column. `sql`: name of the table or the query."""
    version: int | None = Field(default=None, ge=0)
    """`delta`: always read this version; without it the newest one, which each plan pins."""
    database: Variable | None = None
    """`sql`: name of the environment variable with the SQLAlchemy address of the database."""
    query: str | None = Field(default=None, min_length=1)
    """`sql`: a SELECT that stands for the table; it gives the partition's column, too."""
    ready: Ready = Ready()
    """`parquet`: when a partition may be read; one that is still being delivered is waited for."""

    @model_validator(mode="after")
    def _belongs_to_kind(self) -> Self:
        for name, kind in (("version", "delta"), ("database", "sql"), ("query", "sql")):
            if getattr(self, name) is not None and self.kind != kind:
                raise ValueError(f"{name} belongs to kind: {kind}")
        if self.kind == "sql" and self.database is None:
            raise ValueError("kind: sql needs database: the name of the environment variable with its address")
        if self.kind != "parquet" and self.ready != Ready():
            raise ValueError("ready belongs to kind: parquet; a table has a partition as soon as it has rows of it")
        return self


class Output(Part):
    """Where predictions are published."""

    kind: Literal["delta", "sql"] = "delta"
    """`delta` is a Delta table; `sql` is that and, in step with it, a table of a database."""
    table: Name
    """Name of the table of predictions; its rejected rows are in the Delta table `<table>_rejected`."""
    database: Variable | None = None
    """`sql`: name of the environment variable with the SQLAlchemy address of the database."""

    @property
    def own(self) -> tuple[str, ...]:
        """Names that a column of the key cannot have where predictions go."""
        return STAGED if self.kind == "sql" else ()

    def key_faults(self, key: tuple[str, ...]) -> list[str]:
        """Names that PostgreSQL would cut off, or has itself in every table; SQLite gets the same."""
        if self.kind != "sql":
            return []
        long = [name for name in key if len(name.encode(errors="replace")) > MOST_BYTES]
        return [
            *(
                f"key: {name} is too long a name for a column of a database: at most {MOST_BYTES} bytes"
                for name in long
            ),
            *(
                f"key: a column of a database cannot be called {name}, as PostgreSQL has one"
                for name in key
                if name in SYSTEM
            ),
        ]

    @model_validator(mode="after")
    def _belongs_to_kind(self) -> Self:
        if self.table.endswith(BESIDE):
            raise ValueError(f"names that end with {' or '.join(BESIDE)} belong to tables beside other ones")
        if (self.kind == "sql") != (self.database is not None):
            raise ValueError("database (the name of the environment variable with its address) goes with kind: sql")
        if self.kind == "sql" and len(self.table) > LONGEST:
            raise ValueError(f"table is too long a name for a database: at most {LONGEST} characters")
        return self
