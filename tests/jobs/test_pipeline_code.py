"""What people write in a pipeline.py: taken as it was meant, or told in one sentence."""

from typing import Any

import pytest
from conftest import PIPELINE

from jobs.errors import Misconfigured
from jobs.fit import built
from jobs.registry import open_registry
from jobs.rescore import score_partition
from jobs.spec_file import load_pipeline_module
from jobs.status import status
from jobs.train import train

LABEL = 'return frame["returned"]'


def write(shop: Any, label: str = LABEL, before: str = "") -> None:
    assert LABEL in PIPELINE
    shop.write_model(pipeline=before + PIPELINE.replace(LABEL, label))


def test_a_label_belongs_to_the_row_that_its_index_names(shop: Any) -> None:
    digests = []
    for label in (LABEL, f"{LABEL}.sort_values()", f"{LABEL}.to_numpy()", f"{LABEL}.to_list()"):
        write(shop, label)
        digests.append(train(shop.job("2026-01-14")).version.digest)
    assert len(set(digests)) == 1


@pytest.mark.parametrize(
    "label", [f"{LABEL}.set_axis([0] * len(frame))", f'{LABEL}.set_axis(frame["toy_id"])', f"{LABEL}.add_prefix('x')"]
)
def test_a_label_with_another_index_than_the_frame_is_refused(shop: Any, label: str) -> None:
    write(shop, label)
    with pytest.raises(Misconfigured, match=r"label\(\) of toys .*: the index of its Series is not that of the frame"):
        train(shop.job("2026-01-14"))


def test_a_label_for_fewer_rows_is_refused(shop: Any) -> None:
    write(shop, f"{LABEL}.head(3)")
    with pytest.raises(Misconfigured, match="must return one value for each row of the frame"):
        train(shop.job("2026-01-14"))


def test_code_that_ends_the_process_is_a_sentence(shop: Any) -> None:
    write(shop, "raise SystemExit(0)")
    with pytest.raises(Misconfigured, match=r"label\(\) of toys must return numbers, and failed for .*SystemExit"):
        train(shop.job("2026-01-14"))
    write(shop, before="import sys\nsys.exit(0)\n")
    with pytest.raises(Misconfigured, match=r"pipeline\.py cannot be imported: SystemExit: 0"):
        train(shop.job("2026-01-14"))
    job = shop.job("2026-01-14")
    shop.write_model(pipeline="def build():\n    raise SystemExit(0)\ndef label(frame):\n    pass\n")
    with pytest.raises(Misconfigured, match=r"build\(\) of toys failed: SystemExit"):
        built(load_pipeline_module(shop.settings.models, "toys"), job.spec)


def test_what_another_model_published_into_a_table_is_not_told_of_this_one(open_shop: Any) -> None:
    score_partition(open_shop.job("2026-01-16"))
    folder = open_shop.settings.models / "toys"
    (folder / "model.yaml").write_text((folder / "model.yaml").read_text().replace("model: toys", "model: games"))
    folder.rename(folder.with_name("games"))
    found = status(open_shop.settings, open_registry(open_shop.settings))["models"]
    assert {name: told["partitions"] for name, told in found.items()} == {"games": {}}
