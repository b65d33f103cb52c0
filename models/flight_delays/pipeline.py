"""How a flight's lateness is learned: ordinal codes for categories, histogram gradient boosting on top."""

import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder


def build() -> Pipeline:
    """The unfitted pipeline, from the features of model.yaml to a probability."""
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=20)
    prepare = ColumnTransformer(
        [("categories", encode, make_column_selector(dtype_include=object))], remainder="passthrough"
    )
    learn = HistGradientBoostingClassifier(max_iter=120, learning_rate=0.06, max_leaf_nodes=15, min_samples_leaf=80)
    return Pipeline([("prepare", prepare), ("learn", learn)])


def label(frame: pd.DataFrame) -> pd.Series:
    """1 where a flight arrived more than 15 minutes late, 0 where not, null where it never arrived."""
    return frame["arr_delay"].gt(15).astype(float).where(frame["arr_delay"].notna())
