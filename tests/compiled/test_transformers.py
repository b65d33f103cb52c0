"""Hundreds of random cases for each transformer: the compiled form gives what scikit-learn gives, or refuses too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from compiled_rows import compare, compiled, fitted, infinite, pick, read, rows, target
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeRegressor

CASES = 120
Rng = np.random.Generator
TEXT, NUMBER = ["color", "shape", "code"], ["size", "price", "count", "new"]


def some(rng: Rng, names: list[str]) -> list[str]:
    return [str(name) for name in rng.permutation(names)[: rng.integers(1, len(names) + 1)]]


def one_hot(rng: Rng) -> object:
    frequency = pick(rng, [None, 3, 0.1, 0.3])
    return OneHotEncoder(
        drop=pick(rng, [None, "first", "if_binary"]),
        handle_unknown=pick(rng, ["error", "ignore", "infrequent_if_exist", "warn"]),
        min_frequency=int(frequency) if frequency == 3 else frequency,
        max_categories=pick(rng, [None, 3]),
        sparse_output=bool(rng.integers(2)),
    )


def ordinal(rng: Rng) -> object:
    unknown = bool(rng.integers(3))
    value = pick(rng, [-1, -5, np.nan]) if unknown else None
    return OrdinalEncoder(
        handle_unknown="use_encoded_value" if unknown else "error",
        unknown_value=value,
        encoded_missing_value=pick(rng, [np.nan, -2, 77]),
        min_frequency=pick(rng, [None, 0.1]),
    )


def filled_texts(rng: Rng) -> object:
    strategy = pick(rng, ["most_frequent", "constant"])
    fill = pick(rng, ["red", "no such text"]) if strategy == "constant" else None
    imputer = SimpleImputer(strategy=strategy, fill_value=fill)
    return make_pipeline(imputer, OneHotEncoder(handle_unknown="ignore") if rng.integers(2) else ordinal(rng))


def target_encoder(rng: Rng) -> object:
    return TargetEncoder(smooth=pick(rng, ["auto", 2.0]), target_type="continuous", cv=2, random_state=0)


def imputer(rng: Rng) -> object:
    strategy = pick(rng, ["mean", "median", "most_frequent", "constant"])
    return SimpleImputer(
        strategy=strategy,
        fill_value=-3.5 if strategy == "constant" else None,
        add_indicator=bool(rng.integers(2)),
        keep_empty_features=bool(rng.integers(2)),
    )


def scaler(kind: Callable[[Rng], object]) -> Callable[[Rng], object]:
    return lambda rng: make_pipeline(*((imputer(rng), kind(rng)) if rng.integers(2) else (kind(rng), imputer(rng))))


def encoded_scaled(rng: Rng) -> object:
    """A table by code that goes through scalers and another encoder, sparse or not."""
    after = pick(rng, [MaxAbsScaler(), StandardScaler(with_mean=False), RobustScaler(with_centering=False)])
    if rng.integers(2):
        return make_pipeline(one_hot(rng), after)
    return make_pipeline(ordinal(rng), imputer(rng), OneHotEncoder(handle_unknown="ignore"))


TEXTUAL: dict[str, Callable[[Rng], object]] = {
    "one-hot": one_hot,
    "ordinal": ordinal,
    "target": target_encoder,
    "imputed texts": filled_texts,
    "encoded, then scaled": encoded_scaled,
}
NUMERIC: dict[str, Callable[[Rng], object]] = {
    "imputer": imputer,
    "standard": scaler(lambda rng: StandardScaler(with_mean=bool(rng.integers(2)), with_std=bool(rng.integers(2)))),
    "min-max": scaler(
        lambda rng: MinMaxScaler(clip=bool(rng.integers(2)), feature_range=(-1, float(rng.integers(1, 5))))
    ),
    "robust": scaler(
        lambda rng: RobustScaler(with_centering=bool(rng.integers(2)), with_scaling=bool(rng.integers(2)))
    ),
    "encoded numbers": lambda rng: make_pipeline(imputer(rng), one_hot(rng)),
    "one-hot numbers": one_hot,
    "function": scaler(lambda rng: FunctionTransformer(validate=bool(rng.integers(2)))),
    "union": lambda rng: make_pipeline(
        SimpleImputer(), FeatureUnion([("a", StandardScaler()), ("b", MinMaxScaler()), ("c", "passthrough")])
    ),
}


@pytest.mark.parametrize("name", [*TEXTUAL, *NUMERIC])
def test_the_scores_are_those_of_scikit_learn(name: str) -> None:
    scored = 0
    for seed in range(CASES):
        rng = np.random.default_rng([seed, len(name)])
        train = rows(rng, int(rng.integers(30, 60)), nulls=float(pick(rng, [0.0, 0.1, 0.3])))
        frame = read(train)
        chosen = some(rng, TEXT if name in TEXTUAL else NUMBER)
        step = (TEXTUAL.get(name) or NUMERIC[name])(rng)
        prepare = ColumnTransformer([("chosen", step, chosen), ("some", imputer(rng), ["count"])], sparse_threshold=0.5)
        tree = rng.integers(3) == 0
        learn = DecisionTreeRegressor(max_depth=4, random_state=0) if tree else Ridge()
        try:
            predictor = fitted(
                Pipeline([("prepare", prepare), ("learn", learn)]), frame, target(rng, frame, 0), "regression"
            )
        except ValueError:  # settings that do not go together, or nulls that the model cannot learn from
            continue
        _, mine = compiled(predictor)
        scored += compare(predictor, mine, train)
        table = rows(rng, 25, wild=float(pick(rng, [0.0, 0.05, 0.4])))
        scored += compare(predictor, mine, table)
        if seed % 4 == 0:
            compare(predictor, mine, infinite(rng, table))
    assert scored > CASES / 2


def test_columns_are_chosen_by_name_number_type_and_remainder() -> None:
    rng = np.random.default_rng(0)
    frame = read(rows(rng, 60, nulls=0.0))
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    for chosen in (TEXT, [0, 1, 2], slice(0, 3), [True] * 3 + [False] * 4, make_column_selector(dtype_include=object)):
        for rest in ("passthrough", "drop", StandardScaler()):
            prepare = ColumnTransformer(
                [("numbers", "passthrough", ["count", "size"]), ("gone", "drop", ["price"]), ("texts", encode, chosen)],
                remainder=rest,
            )
            pipeline = Pipeline([("prepare", prepare), ("skip", "passthrough"), ("learn", LogisticRegression())])
            predictor = fitted(pipeline, frame, target(rng, frame, 2), "classification")
            assert compare(predictor, compiled(predictor)[1], rows(rng, 50, nulls=0.0))
