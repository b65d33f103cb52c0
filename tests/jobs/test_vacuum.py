"""`lamplighter vacuum` removes nothing that an attempt may still publish: it takes the right to publish first."""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from deltalake import DeltaTable
from typer.testing import CliRunner

from jobs import commit as commit_module
from jobs import follow as follow_module
from jobs import vacuum as vacuum_job
from jobs.errors import Rejected, Superseded
from jobs.fragments import RECORDS
from jobs.output_gate import output_gate
from jobs.publish import publish
from jobs.table import app_id_of, predictions_path, publications
from jobs.vacuum import vacuum
from lamplighter.cli import app

DAY, OTHER_DAY = "2026-01-16", "2026-01-17"


@pytest.fixture
def published(open_shop: Any) -> Any:
    publish(open_shop.prepare(DAY, "first"))
    rows = pd.read_parquet(open_shop.sales(DAY))
    open_shop.write_sales(DAY, rows.head(110))
    return open_shop


def table(shop: Any) -> Path:
    return Path(str(predictions_path(shop.settings, shop.job(DAY).spec)))


def grow_old(shop: Any, files: str = "*.parquet") -> None:
    two_days_ago = time.time() - timedelta(days=2, hours=1).total_seconds()
    for path in shop.settings.tables.rglob(files):
        os.utime(path, (two_days_ago, two_days_ago))


def test_an_attempt_whose_files_were_old_says_so_and_its_next_run_publishes(published: Any) -> None:
    slow = published.prepare(DAY, "slow")
    grow_old(published)
    assert vacuum(published.settings, slow.spec).files == 1
    assert vacuum(published.settings, slow.spec).files == 0
    assert DeltaTable(table(published)).transaction_version(app_id_of(DAY)) == 2  # it was 1
    for job in (output_gate, publish):
        with pytest.raises(Superseded) as told:
            job(slow)
        assert str(told.value) == (
            f"toys {DAY} was taken over after this attempt began, by another tool or by `lamplighter vacuum` because "
            f"its files were old: nothing was published. Run it again from its plan."
        )
    assert len(DeltaTable(table(published)).to_pandas()) == 120
    assert publish(published.prepare(DAY, "again")).publication.rows_scored == 110
    assert [p.rows_scored for p in publications(table(published))] == [120, 110]
    published.write_sales(DAY, pd.read_parquet(published.sales(DAY)).head(100))
    slower = published.prepare(DAY, "slower")
    grow_old(published)
    assert vacuum(published.settings, slower.spec).files == 1
    with pytest.raises(Superseded):
        publish(slower)


def test_what_is_published_while_vacuum_looks_stays(published: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = published.prepare(DAY, "slow")
    grow_old(published)
    raised = vacuum_job.raise_fence

    def after_a_publication(*arguments: Any) -> bool:
        publish(slow)
        return raised(*arguments)

    monkeypatch.setattr(vacuum_job, "raise_fence", after_a_publication)
    assert vacuum(published.settings, slow.spec).files == 0
    assert len(DeltaTable(table(published)).to_pandas()) == 110


def test_what_began_after_vacuum_had_looked_at_the_table_stays(published: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = vacuum_job._fences

    def and_then_others_publish(*arguments: Any) -> dict[str, int]:
        fences: dict[str, int] = looked(*arguments)
        publish(published.prepare(DAY, "one"))
        shorter = pd.read_parquet(published.sales(DAY)).head(90)
        published.write_sales(DAY, shorter)
        published.prepare(DAY, "two")
        return fences

    shorter = pd.read_parquet(published.sales(DAY)).head(100)
    published.write_sales(DAY, shorter)
    monkeypatch.setattr(vacuum_job, "_fences", and_then_others_publish)
    vacuum(published.settings, published.job(DAY).spec, timedelta(seconds=-60))
    assert publish(published.job(DAY, "two")).publication.rows_in == 90
    assert len(DeltaTable(table(published)).to_pandas()) == 90


def test_of_a_publication_and_a_vacuum_at_once_one_commits(published: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = published.prepare(DAY, "slow")
    grow_old(published)
    opened = commit_module.open_version

    def and_a_publication_meanwhile(path: Any, version: int | None) -> Any:
        monkeypatch.undo()
        table = opened(path, version)
        publish(slow)
        return table

    monkeypatch.setattr(commit_module, "open_version", and_a_publication_meanwhile)
    assert vacuum(published.settings, slow.spec).files == 0
    assert len(DeltaTable(table(published)).to_pandas()) == 110


def test_before_the_first_publication_nothing_is_removed(open_shop: Any) -> None:
    job = open_shop.prepare(DAY)
    grow_old(open_shop)
    assert vacuum(open_shop.settings, job.spec, timedelta(0)).files == 0
    assert publish(job).publication.rows_scored == 120


def test_rejected_rows_of_a_partition_that_has_no_others_are_removed_too(published: Any) -> None:
    rows = pd.read_parquet(published.sales(OTHER_DAY))
    published.write_sales(OTHER_DAY, rows.assign(price=-1.0))
    with pytest.raises(Rejected, match="at least one row is scored"):
        published.prepare(OTHER_DAY)
    assert vacuum(published.settings, published.job(DAY).spec).files == 0
    grow_old(published)
    assert vacuum(published.settings, published.job(DAY).spec).files == 1
    assert not list(published.settings.tables.rglob(f"partition={OTHER_DAY}/*.parquet"))


def test_of_an_attempt_that_was_passed_files_go_at_once_also_before_the_rejected_rows_have_followed(
    open_shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = open_shop.prepare(DAY, "slow")
    open_shop.write_sales(DAY, pd.read_parquet(open_shop.sales(DAY)).head(110))
    fast = open_shop.prepare(DAY, "fast")
    monkeypatch.setattr(follow_module, "_keep_up", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish(fast)
    monkeypatch.undo()
    assert vacuum(open_shop.settings, slow.spec).files == 1
    assert publish(fast).publication.rows_scored == 110


def test_what_others_have_written_goes_when_it_is_old(published: Any) -> None:
    spec, strange = published.job(DAY).spec, table(published) / f"partition={DAY}" / "strange.parquet"
    strange.write_bytes(b"rows")
    (strange.parent / "folder").mkdir()  # is left alone
    assert vacuum(published.settings, spec).files == 0
    grow_old(published)
    assert vacuum(published.settings, spec).files == 1


def test_what_somebody_else_removes_meanwhile_is_no_trouble(published: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = published.prepare(DAY, "slow")
    grow_old(published)
    raised = vacuum_job.raise_fence

    def after_a_sweep(*arguments: Any) -> bool:
        for path in (table(published) / f"partition={DAY}").glob("000001-*"):
            path.unlink()
        return raised(*arguments)

    monkeypatch.setattr(vacuum_job, "raise_fence", after_a_sweep)
    assert vacuum(published.settings, slow.spec).files == 1


def test_records_of_fragments_go_when_nobody_has_touched_any_of_them_for_long(published: Any) -> None:
    slow = published.prepare(DAY, "slow")
    records = sorted((table(published) / RECORDS).rglob("*.json"))
    assert records
    bare = records[0].parent.with_name("just-made")
    bare.mkdir()
    beside = records[0].with_name("99999.json")
    beside.write_text("{}")
    grow_old(published, records[0].name)
    vacuum(published.settings, slow.spec)
    assert all(path.exists() for path in records)
    grow_old(published, "*.json")
    vacuum(published.settings, slow.spec)
    assert not records[0].parent.exists()
    assert bare.exists()


def test_a_dry_run_takes_no_right(published: Any) -> None:
    slow = published.prepare(DAY, "slow")
    grow_old(published)
    path = next((table(published) / f"partition={DAY}").glob("000001-*"))
    planned = vacuum(published.settings, slow.spec, dry_run=True)
    assert (planned.files, planned.size) == (1, path.stat().st_size)
    assert publish(slow).publication.rows_scored == 110


@pytest.mark.parametrize("job", [output_gate, publish])
def test_scores_that_somebody_has_removed_are_one_sentence(published: Any, job: Any) -> None:
    slow = published.prepare(DAY, "slow")
    for path in (table(published) / f"partition={DAY}").glob("000001-*"):
        path.unlink()
    with pytest.raises(Rejected) as told:
        job(slow)
    assert str(told.value) == (
        f"Files that score left for toys {DAY} are gone from the table's folder, or broken: run score and "
        "output-gate again."
    )


def test_the_command_says_what_it_removes_before_it_does(published: Any) -> None:
    published.prepare(DAY, "slow")
    grow_old(published)
    variables = {
        "LAMPLIGHTER_HOME": str(published.settings.home),
        "LAMPLIGHTER_MODELS": str(published.settings.models),
        "COLUMNS": "200",
    }
    path = next((table(published) / f"partition={DAY}").glob("000001-*"))
    for arguments, says in (
        (["--dry-run"], "toys: 1 file that no publication names (0.0 MB) would be removed."),
        (["--days", "3"], "toys: 0 files that no publication names (0.0 MB) were removed."),
        ([], "toys: 1 file that no publication names (0.0 MB) was removed."),
    ):
        assert path.exists()
        done = CliRunner().invoke(app, ["vacuum", "toys", *arguments], env=variables)
        assert (done.exit_code, says in " ".join(done.output.split())) == (0, True), done.output
    assert not path.exists()
