"""What a restatement changed, against a comparison with pandas that reads everything at once."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable

from jobs.diff import Diff, diff
from jobs.diff_picture import picture
from jobs.errors import Misconfigured
from jobs.rescore import score_partition
from jobs.table import predictions_path
from model_registry.codec import from_json, to_json

DAY = "2026-01-16"


def restated(shop: Any) -> tuple[Any, int]:
    """A partition that was published, disturbed, and published again; the job, and the first table version."""
    first = score_partition(shop.job(DAY)).publication
    rows = pd.read_parquet(shop.sales(DAY))
    rows.loc[10:40, "price"] *= 3
    rows.loc[50, "price"] = -1.0
    new = rows.head(4).assign(toy_id=["a", "b", "c", "d"])
    shop.write_sales(DAY, pd.concat([rows.iloc[5:], new]))
    score_partition(shop.job("2026-01-17"))
    score_partition(shop.job(DAY, "again"))
    assert first.table_version is not None
    return shop.job(DAY), first.table_version


def expected(shop: Any, before: int) -> pd.DataFrame:
    path = predictions_path(shop.settings, shop.job(DAY).spec)
    sides = [DeltaTable(path, version=version).to_pandas() for version in (before, None)]
    old, new = (side[side["partition"] == DAY] for side in sides)
    return old.merge(new, on="toy_id", how="outer", suffixes=("_before", "_after"), indicator=True)


def test_rows_and_movers_are_those_of_a_join_in_memory(open_shop: Any) -> None:
    job, before = restated(open_shop)
    found, joined = diff(job), expected(open_shop, before)
    both = joined[joined["_merge"] == "both"]
    change = both["score_after"] - both["score_before"]
    assert (found.rows_added, found.rows_removed) == (4, 6)
    assert found.rows_changed == int((change != 0).sum()) > 10
    assert found.rows_same == int((change == 0).sum())
    ranked = both.assign(change=change)[change != 0].sort_values("change", key=np.abs, ascending=False).head(10)
    assert [m.change for m in found.movers] == pytest.approx(ranked["change"].tolist())
    assert {m.key[0] for m in found.movers[:3]} <= set(ranked["toy_id"])
    assert found.quantiles["0.5"] == pytest.approx(float(np.median(change[change != 0])))
    assert sum(found.scores_before.counts) == found.rows_before == 120
    assert sum(found.scores_after.counts) == found.rows_after == 118
    assert found.changes is not None
    assert sum(found.changes.counts) == found.rows_changed
    assert found.newly_rejected == {"price:below_minimum": 1}
    assert found.no_longer_rejected == {}
    assert "(other input): 4 rows added, 6 removed" in found.sentence()


def test_many_small_buckets_give_the_same_answer(open_shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job, _ = restated(open_shop)
    whole = diff(job)
    monkeypatch.setattr("jobs.diff_buckets.ROWS_PER_BUCKET", 10)
    monkeypatch.setattr("jobs.diff_buckets.BATCH", 7)
    assert diff(job) == whole


def test_a_table_version_means_what_readers_saw_then(open_shop: Any) -> None:
    job, before = restated(open_shop)
    assert diff(job, before, before + 2) == diff(job)
    same = diff(job, before, before + 1)  # in between another partition was published
    assert same.sentence().endswith("no row was added, removed or changed.")
    assert (same.movers, same.changes, same.rows_same) == ((), None, 120)


def test_back_and_forth_are_each_others_mirror(open_shop: Any) -> None:
    job, before = restated(open_shop)
    there, back = diff(job), diff(job, before + 2, before)
    assert (there.rows_added, there.rows_removed) == (back.rows_removed, back.rows_added)
    assert [m.change for m in there.movers] == [-m.change for m in back.movers]
    assert there.newly_rejected == back.no_longer_rejected


def test_what_is_not_there_is_said(open_shop: Any) -> None:
    with pytest.raises(Misconfigured, match="was never published"):
        diff(open_shop.job(DAY))
    score_partition(open_shop.job(DAY))
    with pytest.raises(Misconfigured, match="was not published before table version 1"):
        diff(open_shop.job(DAY))


def test_nothing_is_left_behind_and_json_goes_both_ways(open_shop: Any) -> None:
    job, _ = restated(open_shop)
    before = set(open_shop.settings.cache.rglob("*"))
    found = diff(job)
    assert set(open_shop.settings.cache.rglob("*")) == before
    assert from_json(Diff, to_json(found)) == found


def test_the_picture_is_a_png_also_when_nothing_changed(open_shop: Any) -> None:
    job, before = restated(open_shop)
    for found in (diff(job), diff(job, before, before + 1)):
        assert picture(found).startswith(b"\x89PNG\r\n\x1a\n")


def test_a_table_version_that_never_was_is_told(open_shop: Any) -> None:
    job = open_shop.job("2026-01-16")
    newest = score_partition(job).publication.table_version
    with pytest.raises(Misconfigured, match=f"was not published after table version {newest}: name that"):
        diff(job, before=0, after=999)
