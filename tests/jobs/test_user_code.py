"""What a model's own pipeline.py may do wrong: one sentence that names it, in training and in scoring."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from jobs.errors import Misconfigured
from jobs.plan import Fragment
from jobs.predictor import DATA, Predictor, save_predictor
from jobs.score_fragment import FragmentTask, score_fragment
from jobs.storage import stamp_of
from jobs.train import train

FAILED = r"label\(\) of toys must return numbers, and failed for returns [-0-9]+, where returned is double: "
RETURN = 'return frame["returned"]'
BUILD = "    encode = Ordinal"
LEARN = "make_pipeline(prepare, HistGradientBoostingClassifier("
BROKEN = "make_pipeline(prepare, type('Broken', (HistGradientBoostingClassifier,), {{'fit': {}}})("


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (RETURN, 'return frame["smell"]', FAILED + "KeyError"),
        (RETURN, "raise RuntimeError", FAILED + r"RuntimeError\."),
        (RETURN, 'return frame["colour"]', "could not convert string to float"),
        (RETURN, "return None", "must return one value for each row"),
        (BUILD, f"    raise RuntimeError('x')\n{BUILD}", r"build\(\) of toys failed: RuntimeError: x"),
        (BUILD, f"    return None\n{BUILD}", r"build\(\) of toys must return a scikit-learn Pipeline, not NoneType"),
        (LEARN, BROKEN.format("lambda self, X, y: int('')"), "cannot be fitted: ValueError: invalid literal"),
        (LEARN, BROKEN.format("lambda self, X, y: self.nothing"), "cannot be fitted: AttributeError"),
        (LEARN, BROKEN.format("lambda self, X, y: 1 / 0"), "cannot be fitted: ZeroDivisionError"),  # as of a booster
        (
            LEARN,
            BROKEN.format("lambda self, X, y: [][0]"),
            "IndexError",
        ),
        ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor", "has no predict_proba, and its task is"),
    ],
)
def test_what_training_cannot_use_is_one_sentence(shop: Any, before: str, after: str, says: str) -> None:
    pipeline = (shop.settings.models / "toys" / "pipeline.py").read_text()
    assert before in pipeline
    shop.write_model(pipeline=pipeline.replace(before, after))
    with pytest.raises(Misconfigured, match=says) as caught:
        train(shop.job("2026-01-14"))
    assert "\n" not in str(caught.value)


def test_a_null_that_the_pipeline_never_learned_from_is_one_sentence() -> None:
    pipeline = make_pipeline(LogisticRegression()).fit(pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]}), [0, 0, 1, 1])
    predictor = Predictor(pipeline, "classification", {"x": "number"})
    assert predictor.score(pd.DataFrame({"x": [1.0]})).shape == (1,)
    with pytest.raises(Misconfigured, match="The pipeline cannot score these rows: ValueError: Input X contains NaN"):
        predictor.score(pd.DataFrame({"x": [np.nan]}))


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # that is what is asked for
def test_a_score_that_overflows_is_counted_as_not_finite(shop: Any) -> None:
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LinearRegression

    text = (shop.settings.models / "toys" / "model.yaml").read_text()
    changes = {"task: classification": "task: regression", "metric: auc, at_least: 0.55": "metric: rmse"}
    for before, after in (changes | {"at_most: 1000}": "at_most: 1.0e+308}"}).items():
        text = text.replace(before, after)
    shop.write_model(spec=text)
    job = shop.job("2026-01-16")
    rows = pd.read_parquet(shop.sales("2026-01-16"))
    pipeline = make_pipeline(make_column_transformer(("passthrough", ["price"])), LinearRegression())
    pipeline.fit(rows, rows["price"] * 1e10)
    save_predictor(shop.root / "version" / DATA, pipeline, job.spec)
    rows.loc[[3, 4], "price"] = 1e300
    shop.write_sales("2026-01-16", rows)
    result = score_fragment(
        FragmentTask(
            fragment=Fragment(0, str(shop.sales("2026-01-16") / "part-0.parquet"), (0, 1, 2), 120),
            spec=job.spec,
            partition="2026-01-16",
            version=1,
            version_files=str(shop.root / "version"),
            predictions_folder=str(shop.root / "good"),
            rejected_folder=str(shop.root / "bad"),
            attempt="one",
            fence=0,
            key="k",
            stamp=stamp_of(shop.sales("2026-01-16") / "part-0.parquet"),
            key_types=pa.schema([("toy_id", pa.string())]),
        )
    )
    assert (result.rows_scored, result.not_finite) == (120, 2)
    assert result.score_max is not None
    assert np.isfinite(result.score_max)
