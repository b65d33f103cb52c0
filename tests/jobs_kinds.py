"""Every kind of bad input, and what becomes of it: the tests, and the table in docs/input.md, have the same list.

A kind takes a world and the rows of a good partition (with values that must never get into a log), and delivers them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.errors import LamplighterError, MissingPartition, Rejected

# ruff: noqa: E501 - a kind is a line

DAY = "2026-01-16"
ROWS = 120
CANARY = "CANARY"
PRICE = 731.4159


@dataclass(frozen=True)
class Kind:
    """A kind of input: `error` and `says` when it is refused, else how many rows are scored and why others are not."""

    deliver: Callable[[Any, pa.Table], None]
    error: type[LamplighterError] | None = None
    says: str = ""
    scored: int = ROWS
    reasons: dict[str, int] | None = None


def good_rows() -> pa.Table:
    """Rows in which every text and number can be recognised."""
    random = np.random.default_rng(3)
    colour = [f"{CANARY}-colour" if n % 3 else "red" for n in range(ROWS)]
    return pa.table(
        {
            "toy_id": [f"{CANARY}-key-{n}" for n in range(ROWS)],
            "colour": colour,
            "price": pa.array(np.where(random.random(ROWS) < 0.8, PRICE, 20.0)),
            "wrapped": random.random(ROWS) < 0.3,
        }
    )


def with_column(rows: pa.Table, name: str, values: Any) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, values)


def changed(change: Callable[[pa.Table], pa.Table]) -> Callable[[Any, pa.Table], None]:
    return lambda shop, rows: shop.write_sales(DAY, change(rows))


def first(rows: pa.Table, name: str, *values: Any) -> pa.Table:
    """The rows with other values in the first of them."""
    kind = rows.schema.field(name).type
    return with_column(rows, name, pa.array([*values, *rows[name].to_pylist()[len(values) :]], kind))


def bytes_of(change: Callable[[bytes], bytes]) -> Callable[[Any, pa.Table], None]:
    def deliver(shop: Any, rows: pa.Table) -> None:
        shop.write_sales(DAY, rows)
        path = shop.sales(DAY) / "part-0.parquet"
        path.write_bytes(change(path.read_bytes()))

    return deliver


def missing(shop: Any, rows: pa.Table) -> None:
    for path in shop.sales(DAY).iterdir():
        path.unlink()
    shop.sales(DAY).rmdir()


def nothing_but_a_marker(shop: Any, rows: pa.Table) -> None:
    missing(shop, rows)
    shop.sales(DAY).mkdir()
    (shop.sales(DAY) / "_SUCCESS").touch()


def broken_page(column: str) -> Callable[[Any, pa.Table], None]:
    def deliver(shop: Any, rows: pa.Table) -> None:
        shop.write_sales(DAY, rows)
        path = shop.sales(DAY) / "part-0.parquet"
        group = pq.ParquetFile(path).metadata.row_group(0)
        chunk = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == column)
        content = bytearray(path.read_bytes())
        content[(chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 1] ^= 0xFF
        path.write_bytes(bytes(content))

    return deliver


def two_files(second: Callable[[pa.Table], pa.Table]) -> Callable[[Any, pa.Table], None]:
    def deliver(shop: Any, rows: pa.Table) -> None:
        shop.write_sales(DAY, rows.slice(0, 60))
        shop.write_sales(DAY, second(rows.slice(60)), "part-1.parquet")

    return deliver


def twice_named(rows: pa.Table) -> pa.Table:
    return pa.Table.from_arrays([*rows.columns, rows["price"]], names=[*rows.column_names, "price"])


def numbered(kind: pa.DataType) -> pa.Array:
    return pa.array(range(10**6, 10**6 + ROWS), pa.int64()).cast(kind)


def at(kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: with_column(rows, "toy_id", numbered(pa.int64()).cast(kind)[: len(rows)])


def hostile_texts(rows: pa.Table) -> pa.Table:
    texts = [
        "", " ", "\0", "a\0b", "line\nbreak", "tab\tstop", "\r\n", "née", "日本語", "\u202eright to left", "👩‍👩‍👧", "\ufeff",
        "NaN", "None", "null", "NULL", "nan", "0", "-0.0", "1e999", "=1+1", "'; DROP TABLE toys; --", "<script>alert(1)</script>",
        "../../etc/passwd", "%s%n", "{0}", "${HOME}", "\\", '"', "'", "\x1b[31m", "\u2028", "x" * 100_000,
    ]  # fmt: skip
    return first(first(rows, "toy_id", *texts), "colour", *texts)


def not_utf8(column: str) -> Callable[[pa.Table], pa.Table]:
    def change(rows: pa.Table) -> pa.Table:
        broken = [b"\xff\xfe" + CANARY.encode(), *rows[column].cast(pa.binary()).to_pylist()[1:]]
        return with_column(rows, column, pa.array(broken, pa.binary()).view(pa.string()))

    return change


UNREADABLE = r"part-0.parquet in day=2026-01-16 cannot be read as Parquet: .* Deliver it again"
KINDS: dict[str, Kind] = {
    "partition missing": Kind(missing, MissingPartition, "sales has no files for 2026-01-16: expected Parquet files in"),
    "folder without files": Kind(nothing_but_a_marker, MissingPartition, "sales has no files for 2026-01-16"),
    "file of no bytes": Kind(bytes_of(lambda _: b""), Rejected, UNREADABLE),
    "file that is no Parquet": Kind(bytes_of(lambda _: b"toy_id,colour\n" + CANARY.encode()), Rejected, UNREADABLE),
    "file truncated": Kind(bytes_of(lambda content: content[:-100]), Rejected, UNREADABLE),
    "footer corrupt": Kind(bytes_of(lambda c: c[:-60] + bytes(40) + c[-20:]), Rejected, UNREADABLE),
    "page checksum broken, in the key": Kind(broken_page("toy_id"), Rejected, UNREADABLE),
    "page checksum broken, in a feature": Kind(broken_page("price"), Rejected, UNREADABLE),
    "no rows at all": Kind(changed(lambda rows: rows.slice(0, 0)), Rejected, "rows are there FAILED: expected at least"),
    "one of the files without rows": Kind(two_files(lambda rows: rows.slice(0, 0)), scored=60),
    "two columns of one name": Kind(changed(twice_named), Rejected, "has two columns price: deliver it with one"),
    "column added": Kind(changed(lambda rows: rows.append_column("smell", rows["toy_id"]))),
    "column dropped": Kind(
        changed(lambda rows: rows.drop_columns("price")), Rejected, "part-0.parquet in day=2026-01-16 has no column price"
    ),
    "column renamed": Kind(
        changed(lambda rows: rows.rename_columns(["toy_id", "colour", "cost", "wrapped"])), Rejected, "has no column price"
    ),
    "columns reordered": Kind(changed(lambda rows: rows.select(["wrapped", "price", "toy_id", "colour"]))),
    "column retyped, number as text": Kind(
        changed(lambda rows: with_column(rows, "price", rows["price"].cast(pa.string()))),
        Rejected,
        "day=2026-01-16/part-0.parquet: the column price is string, and the spec wants a number: deliver it so",
    ),
    "column retyped, flag as number": Kind(
        changed(lambda rows: with_column(rows, "wrapped", rows["wrapped"].cast(pa.int8()))),
        Rejected,
        "the column wrapped is int8, and the spec wants true or false",
    ),
    "column retyped, an instant for a number": Kind(
        changed(lambda rows: with_column(rows, "price", numbered(pa.timestamp("us", "UTC")))),
        Rejected,
        r"the column price is timestamp\[us, tz=UTC\], and the spec wants a number",
    ),
    "number of another width": Kind(
        changed(lambda rows: with_column(rows, "price", pc.round(rows["price"]).cast(pa.float32())))
    ),
    "number as decimal": Kind(
        changed(lambda rows: with_column(rows, "price", pa.array([Decimal("7.5")] * ROWS, pa.decimal128(9, 2))))
    ),
    "category as integer or dictionary": Kind(
        two_files(lambda rows: with_column(rows, "colour", rows["colour"].dictionary_encode()))
    ),
    "text as views (what Delta Lake writes after a DELETE)": Kind(
        two_files(lambda rows: rows.cast(pa.schema([(f.name, pa.string_view() if f.type == pa.string() else f.type) for f in rows.schema])))
    ),
    "category as text in one file and as integer in another": Kind(
        two_files(lambda rows: with_column(rows, "colour", pa.array(range(len(rows))))),
        Rejected,
        r"sales 2026-01-16: the files differ in the type of a column: .* colour .* string vs int64. day=2026-01-16/part-1.parquet is the first that differs. Deliver one type",
    ),
    "types differ between files": Kind(
        two_files(at(pa.int64())), Rejected, r"sales 2026-01-16: the files differ in the type of a column: .* toy_id"
    ),
    "first null in an integer column": Kind(
        changed(lambda rows: first(with_column(rows, "price", pc.round(rows["price"]).cast(pa.int32())), "price", None)),
        scored=ROWS - 1,
        reasons={"price:null": 1},
    ),
    "column without any value, optional": Kind(changed(lambda rows: with_column(rows, "wrapped", pa.nulls(ROWS)))),
    "column without any value, required": Kind(
        changed(lambda rows: with_column(rows, "price", pa.nulls(ROWS))),
        Rejected,
        r"at least one row is scored FAILED.*rejected rows are within the budget FAILED.* 120 rows, for example price:null",
    ),
    "category as whole numbers that a null has made floats": Kind(
        changed(lambda rows: with_column(rows, "colour", pa.array([None, *map(float, range(ROWS - 1))]))),
        Rejected,
        "the column colour is double, and the spec wants text: deliver it so, or change the spec",
    ),
    "category never seen": Kind(
        changed(lambda rows: with_column(rows, "colour", pa.array([f"{CANARY}-{n}" for n in range(ROWS)])))
    ),
    "key with a time zone": Kind(changed(at(pa.timestamp("us", "Europe/Paris")))),
    "key without a time zone": Kind(changed(at(pa.timestamp("ms")))),
    "key with and without a time zone": Kind(
        lambda shop, rows: two_files(at(pa.timestamp("us")))(shop, at(pa.timestamp("us", "UTC"))(rows)),
        Rejected,
        "the files differ in the type of a column: .* toy_id",
    ),
    "key as whole number in one file and as float in another": Kind(
        lambda shop, rows: two_files(lambda half: with_column(half, "toy_id", pa.array([n + 0.5 for n in range(len(half))])))(
            shop, with_column(rows, "toy_id", pa.array(range(len(rows))))
        ),
        Rejected,
        "day=2026-01-16/part-1.parquet: the key toy_id is double, and int64 in day=2026-01-16/part-0.parquet: deliver one type in all files",
    ),
    "key finer than a microsecond": Kind(
        changed(at(pa.timestamp("ns"))), Rejected, "the key toy_id cannot be published: .* would lose data"
    ),
    "key of a type that no table holds": Kind(
        changed(at(pa.duration("s"))), Rejected, r"the key toy_id cannot be published: .*duration\[s\] is no type for a key"
    ),
    "strings that break things": Kind(changed(hostile_texts)),
    "text that is not UTF-8": Kind(
        changed(not_utf8("colour")), Rejected, "the column colour holds text that is not UTF-8: deliver it as UTF-8"
    ),
    "key that is not UTF-8": Kind(changed(not_utf8("toy_id")), Rejected, "the column toy_id holds text that is not UTF-8"),
    "key null": Kind(
        changed(lambda rows: first(rows, "toy_id", None, None)), scored=ROWS - 2, reasons={"null_key": 2}
    ),
    "key twice": Kind(
        changed(lambda rows: first(rows, "toy_id", f"{CANARY}-key-1")), Rejected, "keys are unique on column toy_id FAILED"
    ),
    "number missing, infinite or outside its bounds": Kind(
        changed(lambda rows: first(rows, "price", None, float("nan"), float("inf"), -1.0, 1000.5)),
        scored=ROWS - 5,
        reasons={"price:null": 2, "price:infinite": 1, "price:below_minimum": 1, "price:above_maximum": 1},
    ),
    "more rejected rows than the budget": Kind(
        changed(lambda rows: first(rows, "price", *[-1.0] * 7)),
        Rejected,
        r"rejected rows are within the budget FAILED: .* observed 5.8333%, 7 rows, for example price:below_minimum 7",
    ),
}  # fmt: skip
