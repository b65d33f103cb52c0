"""Every kind of bad input has one outcome, which is documented, and none of its values gets into a log."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st
from jobs_kinds import CANARY, DAY, KINDS, PRICE, Kind, good_rows

from jobs.batches import read_batches
from jobs.errors import LamplighterError, Misconfigured, without_values
from jobs.rescore import score_partition
from jobs.row_digest import RowDigest
from jobs.table import predictions_path, published, rejected_path
from lamplighter.console import run_and_exit

ELSEWHERE = {
    "partition still being written",  # test_readiness.py
    "something else beside the files: `x.PARQUET`, `x.pq`, a subfolder",
    "a file written anew after the plan",  # test_input_changes.py
    "file whose name is not UTF-8",  # test_odd_files.py has these
    "file that this user may not read",
    "file that disk or network does not give",
    "file that was deleted after the plan",
    "day beyond the year 9999, in a column of a check",  # test_gate_batches.py
    "key of another type than the table of predictions has",  # test_hostile_input.py
    "keys in another time zone in each file",  # test_drift.py
}
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "input.md").read_text()


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_input_has_its_outcome_and_no_value_in_a_log(
    name: str, open_shop: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    kind, result = KINDS[name], tmp_path / "result.json"
    caplog.set_level(logging.DEBUG)
    kind.deliver(open_shop, good_rows())
    job = open_shop.job(DAY)
    code = 0
    try:
        run_and_exit("score", lambda: score_partition(job), result, {"partition": DAY})
    except typer.Exit as ended:
        code = ended.exit_code
    assert code == (kind.error.exit_code if kind.error else 0)
    message = json.loads(result.read_text())["message"]
    there = published(predictions_path(open_shop.settings, job.spec))
    if kind.error:
        assert re.search(kind.says, message), message
        assert message.count("\n") == 0
        assert there == {}
    else:
        assert there[DAY].rows_scored == kind.scored
        assert there[DAY].reasons == (kind.reasons or {})
        assert there[DAY].content
        check_tables(open_shop, job, kind)
    for said in (caplog.text, message, "".join(capfd.readouterr())):
        assert CANARY not in said
        assert str(PRICE) not in said


def check_tables(shop: Any, job: Any, kind: Kind) -> None:
    """Every key that came in is in one of the tables, once."""
    tables = [predictions_path(shop.settings, job.spec), rejected_path(shop.settings, job.spec)]
    found = [DeltaTable(path).to_pandas() for path in tables]
    assert found[0]["score"].between(0, 1).all()
    assert list(found[1].columns) == ["toy_id", "reason", "partition"]
    delivered = pd.concat(pq.read_table(path, partitioning=None).to_pandas() for path in shop.sales(DAY).iterdir())
    keys = pd.concat([one["toy_id"] for one in found])
    instants = isinstance(delivered["toy_id"].dtype, pd.DatetimeTZDtype)
    expected = delivered["toy_id"].dt.tz_convert("UTC") if instants else delivered["toy_id"]
    assert sorted(map(str, keys.dropna())) == sorted(map(str, expected.dropna()))
    assert len(keys) == len(delivered)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_input_is_on_the_page(name: str) -> None:
    row = next((line for line in PAGE.splitlines() if line.startswith(f"| {name} |")), "")
    outcome = "refused" if KINDS[name].error else "rejected" if KINDS[name].reasons else "coerced|as it is"
    assert re.search(outcome, row), row


def test_the_page_has_no_kind_that_is_not_tested() -> None:
    rows = [line.split("|")[1].strip() for line in PAGE.splitlines() if line.startswith("| ")]
    assert set(rows) - {"input", "---", *ELSEWHERE} <= {*KINDS, "code"} | set(reason_codes())


def reason_codes() -> list[str]:
    return [
        "`null_key`",
        "`<feature>:null`",
        "`<feature>:infinite`",
        "`<feature>:below_minimum`",
        "`<feature>:above_maximum`",
    ]


def test_the_order_of_the_columns_and_of_the_rows_makes_no_difference(open_shop: Any) -> None:
    rows = good_rows()
    contents = []
    for change in (
        rows,
        rows.select(["wrapped", "price", "toy_id", "colour"]),
        rows.sort_by([("toy_id", "descending")]),
    ):
        open_shop.write_sales(DAY, change)
        contents.append(score_partition(open_shop.job(DAY, str(len(contents)))).publication.content)
    assert len(set(contents)) == 1
    open_shop.write_sales(DAY, rows.slice(1))
    assert score_partition(open_shop.job(DAY, "less")).publication.content != contents[0]


CLOSING = [
    ("expect_column_values_to_be_in_set", {"column": "colour", "value_set": ["red"]}),
    ("expect_column_values_to_match_regex", {"column": "toy_id", "regex": "^x"}),
    ("expect_column_max_to_be_between", {"column": "price", "max_value": 1}),
    ("expect_column_min_to_be_between", {"column": "toy_id", "min_value": "X"}),
    ("expect_column_median_to_be_between", {"column": "price", "min_value": 800}),
    (
        "expect_column_quantile_values_to_be_between",
        {"column": "price", "quantile_ranges": {"quantiles": [0.9], "value_ranges": [[0, 1]]}},
    ),
    ("expect_column_most_common_value_to_be_in_set", {"column": "colour", "value_set": ["red"]}),
    ("expect_column_distinct_values_to_be_in_set", {"column": "colour", "value_set": ["red"]}),
    ("expect_column_values_to_be_unique", {"column": "colour"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["colour", "price"]}),
    ("expect_column_pair_values_to_be_equal", {"column_A": "colour", "column_B": "toy_id"}),
    ("expect_column_values_to_be_between", {"column": "toy_id", "min_value": 3}),
    ("expect_column_max_to_be_between", {"column": "toy_id", "min_value": 3}),
]


@pytest.mark.parametrize(("expectation", "arguments"), CLOSING)
def test_values_are_on_the_page_of_the_report_and_never_in_its_sentence(
    expectation: str, arguments: Any, open_shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from jobs.input_gate import input_gate

    spec = (open_shop.settings.models / "toys" / "model.yaml").read_text()
    checks = json.dumps([{"expectation": expectation, "arguments": arguments}])
    open_shop.write_model(spec=re.sub(r"input_checks:\n(  - .*\n)+", lambda _: f"input_checks: {checks}\n", spec))
    open_shop.write_sales(DAY, good_rows())
    caplog.set_level(logging.DEBUG)
    job = open_shop.job(DAY)
    with pytest.raises(LamplighterError) as caught:
        input_gate(job)
    for said in (caplog.text, str(caught.value)):
        assert CANARY not in said
        assert str(PRICE) not in said
    if not isinstance(caught.value, Misconfigured):
        page = (job.folder / "input-gate.html").read_text()
        assert CANARY in page or str(PRICE) in page


@pytest.mark.parametrize("engine", ["local", "dask"])
def test_what_a_pipeline_says_of_its_rows_is_not_repeated(
    engine: str, open_shop: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    from jobs.input_gate import input_gate
    from jobs.plan import plan
    from jobs.score import score

    rows = good_rows()
    open_shop.write_sales(DAY, rows)
    job = open_shop.job(DAY)
    version = plan(job).version
    input_gate(job)
    refuse_unknown(open_shop, job, version)
    with pytest.raises(Misconfigured, match="The pipeline cannot score these rows: ValueError") as caught:
        score(job, engine)
    for said in (caplog.text, "".join(capfd.readouterr()), str(caught.value), str(caught.value.__cause__)):
        assert CANARY not in said


def refuse_unknown(shop: Any, job: Any, version: Any) -> None:
    """Put a pipeline into the place of the version that quotes the categories that it does not know."""
    from dataclasses import replace

    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    from jobs.plan import Plan
    from jobs.predictor import DATA, save_predictor
    from model_registry.artifacts import digest_of

    frame = pd.DataFrame({"colour": ["red", "blue"], "price": [1.0, 2.0], "wrapped": [0.0, 1.0]})
    encode = make_column_transformer((OrdinalEncoder(), ["colour"]), remainder="passthrough")
    made = shop.root / "made"
    save_predictor(made / DATA, make_pipeline(encode, LogisticRegression()).fit(frame, [0, 1]), job.spec)
    digest = digest_of(made)
    made.rename(shop.settings.cache / digest)
    job.keep("plan", replace(job.recall("plan", Plan), version=replace(version, digest=digest)))


@pytest.mark.parametrize(
    ("message", "texts", "said"),
    [
        ("could not convert string to float: 'née'", [], "ValueError: could not convert string to float: …"),
        (
            "Found unknown categories ['a', 'it\\'s'] in column 0",
            [],
            "ValueError: Found unknown categories […, …] in column …",
        ),
        ("doesn't take 'x'", [], "ValueError: doesn't take …"),
        ("bad colour née, id 17", ["née"], "ValueError: bad colour …, id …"),
        ("string vs int64, timestamp[us]", [], "ValueError: string vs int64, timestamp[us]"),
        ("two\nlines 'a\nb'", [], "ValueError: two"),
    ],
)
def test_whatever_could_be_a_value_is_left_out_of_what_others_say(message: str, texts: list[str], said: str) -> None:
    assert without_values(ValueError(message), texts) == said


def digest_of_rows(path: Path) -> str:
    made = RowDigest()
    for batch in read_batches(str(path), None, ["toy_id", "colour", "price", "wrapped"]):
        made.add(batch)
    return made.hexdigest()


@pytest.fixture(scope="module")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "part-0.parquet"
    pq.write_table(good_rows(), path, row_group_size=50, write_page_checksum=True)
    return path


@given(data=st.data())
def test_a_file_with_changed_bytes_is_refused_or_the_same_or_of_another_type(
    good_file: Path, data: st.DataObject
) -> None:
    content = bytearray(good_file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    length = data.draw(st.integers(0, 40))
    content[at : at + length] = data.draw(st.binary(max_size=40))
    path = good_file.with_name("changed.parquet")
    path.write_bytes(bytes(content))
    said, found = "", ""
    try:
        found = digest_of_rows(path)
    except LamplighterError as error:
        said = str(error)
    assert CANARY not in said
    if found and found != digest_of_rows(good_file):
        assert pq.ParquetFile(path).schema_arrow.types != good_rows().schema.types
    else:
        assert found or re.search("Deliver it again|deliver it", said)


def test_a_footer_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"x": range(77)})
    pq.write_table(table, path, store_schema=False)
    content = path.read_bytes()
    at = [found.start() for found in re.finditer(re.escape(bytes([0x9A, 0x01])), content)]  # 77 as a zigzag varint
    assert len(at) >= 2
    path.write_bytes(content[: at[-1]] + bytes([0x98]) + content[at[-1] + 1 :])
    with pytest.raises(LamplighterError, match="its footer contradicts itself about the number of rows"):
        list(read_batches(str(path), None, ["x"]))
