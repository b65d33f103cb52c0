"""The parts of a spec that say where rows come from and where predictions go."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jobs.spec_gates import Part
from jobs.spec_schedule import Ready

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
