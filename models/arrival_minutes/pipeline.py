"""How the minutes of lateness are learned: one-hot categories and scaled numbers into a ridge regression."""

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder

CATEGORIES = ["carrier", "origin", "dest"]
NUMBERS = ["weekday", "scheduled_minute", "distance", "weather_precip", "weather_visib"]


def build() -> Pipeline:
    """The unfitted pipeline, from the features of model.yaml to minutes.

    Numbers are clipped to what the training has seen: a line through drizzle says nothing about a cloudburst.
    """
    numbers = make_pipeline(SimpleImputer(strategy="median"), MinMaxScaler(clip=True))
    categories = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=30)
    prepare = ColumnTransformer([("categories", categories, CATEGORIES), ("numbers", numbers, NUMBERS)])
    return Pipeline([("prepare", prepare), ("learn", Ridge(alpha=10.0))])


def label(frame: pd.DataFrame) -> pd.Series:
    """Minutes late on arrival (negative when early), at most four hours; null where the flight never arrived."""
    return frame["arr_delay"].clip(upper=240.0)
