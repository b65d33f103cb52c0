"""Who asks what is published reads no more of a table's log than it must, and is told the right commit."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import rows_of
from deltalake import CommitProperties, DeltaTable, Transaction

from jobs.plan import plan
from jobs.publish import publish
from jobs.table import (
    LOG,
    app_id_of,
    ensure_table,
    newest_first,
    open_version,
    predictions_path,
    publication_in,
    publication_of,
    published,
)

DAYS = ["2026-01-15", "2026-01-16", "2026-01-17"]
COLUMNS = pa.schema([("toy_id", pa.string()), ("score", pa.float64()), ("model_version", pa.int32())])


@pytest.fixture
def three(open_shop: Any) -> tuple[Any, Path]:
    """Three days that are published, one after the other, as versions 1, 2 and 3 of a table."""
    for day in DAYS:
        publish(open_shop.prepare(day))
    return open_shop, predictions_path(open_shop.settings, open_shop.job(DAYS[0]).spec)


def test_each_partition_has_the_publication_that_the_whole_history_gives_it(three: tuple[Any, Path]) -> None:
    shop, path = three
    shop.write_sales(DAYS[0], rows_of(date(2026, 1, 15)).assign(price=3.0))
    publish(shop.prepare(DAYS[0], "again"))
    whole = published(path)
    assert {day: publication_of(path, day) for day in DAYS} == whole
    assert [whole[day].table_version for day in DAYS] == [4, 2, 3]
    assert publication_of(path, "2026-01-18") is None
    assert publication_of(path.parent / "nowhere", DAYS[0]) is None


def test_what_is_older_than_the_answer_is_not_read(three: tuple[Any, Path]) -> None:
    _, path = three
    DeltaTable(path).create_checkpoint()
    for version in (0, 1, 2):
        (path / LOG / f"{version:020d}.json").write_text("not to be read")
    newest = publication_of(path, DAYS[2])
    assert newest is not None
    assert newest.table_version == 3
    table = open_version(path, None)
    assert [commit["version"] for commit in newest_first(table, path, since=2)] == [3]
    assert list(newest_first(table, path, since=3)) == []


def test_a_table_that_was_opened_before_a_commit_tells_of_the_time_when_it_was_opened(three: tuple[Any, Path]) -> None:
    shop, path = three
    before = open_version(path, None)
    shop.write_sales(DAYS[2], rows_of(date(2026, 1, 17)).assign(price=3.0))
    publish(shop.prepare(DAYS[2], "again"))
    old, new = publication_in(before, path, DAYS[2]), publication_of(path, DAYS[2])
    assert (old and old.table_version, new and new.table_version) == (3, 4)


def test_commits_of_other_tools_are_passed_over(three: tuple[Any, Path]) -> None:
    shop, path = three
    DeltaTable(path).alter.set_table_properties({"delta.appendOnly": "false"})
    bare = path / LOG / f"{5:020d}.json"
    bare.write_text('{"txn": {"appId": "of another tool", "version": 1}}\n')  # who committed may say nothing of it
    assert DeltaTable(path).version() == 5
    assert [publication_of(path, day) for day in DAYS] == list(published(path).values())
    assert plan(shop.job(DAYS[1], "again")).published


def test_what_was_committed_is_summed_up_after_every_ten_commits(tmp_path: Path) -> None:
    table, fields = ensure_table(tmp_path / "table", COLUMNS), [*COLUMNS, pa.field("partition", pa.string())]
    for number in range(1, 11):
        table.create_write_transaction(
            [],
            mode="overwrite",
            schema=pa.schema(fields),
            partition_by=["partition"],
            partition_filters=[("partition", "=", "a")],
            commit_properties=CommitProperties(app_transactions=[Transaction(app_id_of("a"), number)]),
        )
        table.update_incremental()
    assert (tmp_path / "table" / LOG / "_last_checkpoint").is_file()
    assert DeltaTable(tmp_path / "table").transaction_version(app_id_of("a")) == 10
    assert len(list((tmp_path / "table" / LOG).glob("*.json"))) == 11  # nothing of the history is lost


def test_a_new_night_reads_nothing_of_the_nights_before(three: tuple[Any, Path]) -> None:
    shop, path = three
    beside = path.with_name("toys_rejected")
    for table in (path, beside):
        DeltaTable(table).create_checkpoint()
        for version in range(DeltaTable(table).version()):
            (table / LOG / f"{version:020d}.json").write_text("not to be read")
    rows = rows_of(date(2026, 1, 18))
    rows.loc[0, "price"] = -1.0  # the file of rejected rows is known without the nights before, too
    shop.write_sales("2026-01-18", rows)
    made = publish(shop.prepare("2026-01-18")).publication
    assert (made.table_version, made.rows_in, made.rows_rejected) == (4, 120, 1)
    assert len(DeltaTable(path).to_pandas()) == 479
