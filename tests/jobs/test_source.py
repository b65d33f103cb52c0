"""The one reading of data: nulls, types, row rules, and files that are not what they should be."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.errors import MissingPartition, Rejected
from jobs.plan import plan_fragments
from jobs.source import SourceFile, input_digest, partition_files, read
from jobs.spec import ModelSpec
from jobs.spec_file import parse_spec
from jobs.treat import treat

DAY = "2026-01-16"


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    import yaml

    content = yaml.safe_load(
        (Path(__file__).resolve().parents[2] / "models" / "flight_delays" / "model.yaml").read_text()
    )
    del content["behaviour"]  # is about features of the flights
    content["key"] = ["id"]
    content["features"] = {
        "text": "category",
        "size": {"kind": "number", "required": True, "at_least": 0, "at_most": 100},
        "weight": "number",
        "flag": "flag",
    }
    return parse_spec(yaml.safe_dump(content), "model.yaml")


def table(**columns: Any) -> pa.Table:
    rows = len(next(iter(columns.values())))
    whole = {
        "id": range(rows),
        "text": ["a"] * rows,
        "size": [1.0] * rows,
        "weight": [1.0] * rows,
        "flag": [True] * rows,
    }
    return pa.table(whole | columns)


def test_a_null_is_a_null_is_a_null(spec: ModelSpec) -> None:
    texts = pa.array(["a", None])
    dictionary = texts.dictionary_encode()
    numbers = pa.chunked_array([pa.array([np.nan]), pa.array([None], pa.float64())])
    for text in (texts, dictionary, texts.cast(pa.large_string()), texts.cast(pa.string_view())):
        features = treat(table(text=text, weight=numbers), spec, "f").features
        assert features["text"].dtype == object
        assert features["text"].isna().tolist() == [False, True]
        assert isinstance(features["text"][1], float)
        assert features["weight"].isna().all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, None], pa.int64()), [1.0, np.nan]),
        (pa.array([1, 2], pa.uint8()), [1.0, 2.0]),
        (pa.array([1.5, None], pa.float32()), [1.5, np.nan]),
        (pa.array([None, None]), [np.nan, np.nan]),
    ],
)
def test_numbers_of_any_sort_are_float64(spec: ModelSpec, values: pa.Array, expected: list[float]) -> None:
    found = treat(table(weight=values), spec, "f").features["weight"]
    assert found.dtype == np.float64
    assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("weight", pa.array(["1"]), "day=1/f: the column weight is string, and the spec wants a number"),
        ("weight", pa.array([True]), "the column weight is bool, and the spec wants a number"),
        ("text", pa.array([1.5]), "the column text is double, and the spec wants text"),
        ("text", pa.array([b"a"], pa.binary_view()), "the column text is binary_view, and the spec wants text"),
        ("flag", pa.array([1]), "the column flag is int64, and the spec wants true or false"),
    ],
)
def test_a_wrong_type_is_refused_by_file_and_column(spec: ModelSpec, column: str, values: pa.Array, says: str) -> None:
    with pytest.raises(Rejected, match=says):
        treat(table(**{column: values}), spec, "day=1/f")


def test_a_row_is_rejected_for_the_first_rule_that_it_breaks(spec: ModelSpec) -> None:
    found = treat(
        table(id=[None, 1, 2, 3, 4, 5], size=[-1.0, -1.0, 101.0, None, np.inf, 100.0], weight=[np.inf] + [1.0] * 5),
        spec,
        "f",
    )
    assert found.good.tolist() == [False] * 5 + [True]
    assert found.why().to_pylist() == [
        "null_key",
        "size:below_minimum",
        "size:above_maximum",
        "size:null",
        "size:infinite",
    ]
    assert found.good.tolist() == [False] * 5 + [True]


FLOATS = st.one_of(st.none(), st.floats(allow_nan=True, width=64))
ROWS = st.lists(
    st.tuples(st.one_of(st.none(), st.integers(0, 9)), st.one_of(st.none(), st.text(max_size=3)), FLOATS, FLOATS),
    min_size=1,
    max_size=30,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, cut=st.integers(0, 30))
def test_rows_are_treated_alike_in_whichever_fragment_they_are(
    spec: ModelSpec, rows: list[tuple[Any, ...]], cut: int
) -> None:
    ids, texts, sizes, weights = zip(*rows, strict=True)
    types = {"id": pa.int64(), "text": pa.string(), "size": pa.float64(), "weight": pa.float64()}
    columns = dict(zip(types, (ids, texts, sizes, weights), strict=True))
    whole = table(**{name: pa.array(columns[name], types[name]) for name in types})
    parts = [treat(part, spec, "f") for part in (whole.slice(0, cut), whole.slice(cut))]
    together = treat(whole, spec, "f")
    assert [good for part in parts for good in part.good] == together.good.tolist()
    assert [why for part in parts for why in part.why().to_pylist()] == together.why().to_pylist()
    pd.testing.assert_frame_equal(
        pd.concat([p.features for p in parts], ignore_index=True).astype(together.features.dtypes), together.features
    )


def files(shop: Any) -> list[SourceFile]:
    spec = shop.job(DAY).spec
    return partition_files(shop.settings.data, spec.source.path, spec.source.column, shop.job(DAY).partition)


def test_the_files_of_a_partition_come_from_metadata_in_the_order_of_their_names(shop: Any) -> None:
    shop.write_sales(DAY, pd.read_parquet(shop.sales(DAY)).head(10), "a.parquet")
    (shop.sales(DAY) / "_SUCCESS").touch()
    (shop.sales(DAY) / ".part.parquet").write_text("being written")
    assert [(Path(f.path).name, f.row_groups) for f in files(shop)] == [
        ("a.parquet", (10,)),
        ("part-0.parquet", (50, 50, 20)),
    ]


def test_a_partition_that_is_not_there_may_come(shop: Any) -> None:
    spec = shop.job(DAY).spec
    with pytest.raises(
        MissingPartition, match="sales has no files for 2027-01-01: expected Parquet files in day=2027-01-01"
    ):
        partition_files(shop.settings.data, "sales", spec.source.column, shop.job("2027-01-01").partition)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"these are not the rows", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_file_that_is_no_parquet_is_named(shop: Any, content: bytes) -> None:
    (shop.sales(DAY) / "part-0.parquet").write_bytes(content)
    with pytest.raises(
        Rejected, match=r"part-0.parquet in day=2026-01-16 cannot be read as Parquet: .* Deliver it again"
    ):
        files(shop)


def test_a_truncated_file_is_named(shop: Any) -> None:
    path = shop.sales(DAY) / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Rejected, match="cannot be read as Parquet"):
        files(shop)


def test_a_page_whose_checksum_is_broken_is_named(shop: Any) -> None:
    path = shop.sales(DAY) / "part-0.parquet"
    column = pq.ParquetFile(path).metadata.row_group(0).column(2)
    content = bytearray(path.read_bytes())
    content[column.dictionary_page_offset + column.total_compressed_size // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(Rejected, match=r"part-0.parquet in day=2026-01-16 cannot be read"):
        read(str(path), None, ["toy_id", "colour", "price"])


def test_a_missing_column_is_named(shop: Any) -> None:
    path = shop.sales(DAY) / "part-0.parquet"
    with pytest.raises(Rejected, match="has no column weight and no column age"):
        read(str(path), None, ["toy_id", "weight", "age"])


def test_a_column_that_stands_twice_is_named(shop: Any) -> None:
    path = shop.sales(DAY) / "part-0.parquet"
    rows = pq.read_table(path)
    pq.write_table(pa.table([*rows.columns, rows["price"]], names=[*rows.column_names, "price"]), path)
    with pytest.raises(Rejected, match="has two columns price: deliver it with one"):
        read(str(path), None, ["toy_id", "price"])


def test_a_file_without_rows_gives_no_fragment(shop: Any) -> None:
    shop.write_sales(DAY, pq.read_table(shop.sales(DAY) / "part-0.parquet").slice(0, 0), "none.parquet")
    fragments = plan_fragments(files(shop), 1000)
    assert [f.rows for f in fragments] == [120]


@given(groups=st.lists(st.integers(0, 500), max_size=12), most=st.integers(1, 600))
def test_fragments_hold_every_row_group_once(groups: list[int], most: int) -> None:
    fragments = plan_fragments([SourceFile("f", tuple(groups), "")], most)
    held = [g for f in fragments for g in f.row_groups]
    assert held == [n for n, rows in enumerate(groups) if rows]
    assert [f.number for f in fragments] == list(range(len(fragments)))
    assert all(f.rows == sum(groups[g] for g in f.row_groups) for f in fragments)
    assert all(f.rows <= most or len(f.row_groups) == 1 for f in fragments)


def test_the_digest_of_the_input_changes_with_every_byte(shop: Any) -> None:
    before = input_digest(files(shop))
    path = shop.sales(DAY) / "part-0.parquet"
    content = path.read_bytes()
    assert input_digest(files(shop)) == before
    shop.write_sales(DAY, pd.read_parquet(path).assign(price=1.0))
    assert input_digest(files(shop)) != before
    path.write_bytes(content)
    assert input_digest(files(shop)) == before
    path.rename(path.with_name("other.parquet"))
    assert input_digest(files(shop)) != before
