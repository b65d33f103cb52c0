"""What the server of children has imported before it forks the first one."""

import sys

_main = sys.modules["__main__"]
if not hasattr(_main, "__file__"):
    _main.__file__ = __file__  # without it pyspark, which Great Expectations imports, believes that doctests run

import alembic.command  # noqa: E402, F401
import chaos.children  # noqa: E402, F401
import deltalake  # noqa: E402, F401
import great_expectations  # noqa: E402, F401
import mlflow.store.tracking.sqlalchemy_store  # noqa: E402, F401
import pandas  # noqa: E402, F401, ICN001
import sklearn.ensemble  # noqa: E402, F401
import skops.io  # noqa: E402, F401

import jobs.engines.choose  # noqa: E402
import jobs.predictor  # noqa: E402, F401
import lamplighter.cli  # noqa: E402, F401
import model_registry.mlflow_store  # noqa: E402, F401
