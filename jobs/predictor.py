"""From the files of a version to scores: without MLflow, without pickle, the same everywhere.

A version's files hold the fitted pipeline as a skops archive and its features as JSON. An archive is loaded with our
own fixed list of types only; it is written in a canonical form, so that equal pipelines give equal bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.errors import Misconfigured, in_brief, texts_of, without_values
from jobs.spec import Feature, FeatureKind

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from jobs.spec import ModelSpec

DATA = "data/predictor"
PIPELINE = "pipeline.skops"
FEATURES = "features.json"
TRUSTED = (
    "builtins.object",  # a dtype in make_column_selector
    "collections.OrderedDict",
    "functools.partial",  # of functions that are trusted themselves, such as check_array in histogram boosting
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "numpy.dtype",
    "numpy.number",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss._loss.CyHalfGammaLoss",
    "sklearn._loss._loss.CyHalfMultinomialLoss",
    "sklearn._loss._loss.CyHalfPoissonLoss",
    "sklearn._loss._loss.CyHalfSquaredError",
    "sklearn._loss._loss.CyHalfTweedieLoss",
    "sklearn._loss._loss.CyHalfTweedieLossIdentity",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogLink",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfGammaLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfPoissonLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRFClassifier",
    "xgboost.sklearn.XGBRFRegressor",
    "xgboost.sklearn.XGBRegressor",
)


@dataclass(frozen=True)
class Predictor:
    """A fitted pipeline with the task and the features that it was trained with."""

    pipeline: Pipeline
    task: str
    features: dict[str, str]

    def score(self, features: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
        """One score for each row: the probability of class 1, or the predicted number. Shape (rows,).

        Raises Misconfigured when the pipeline cannot take the rows, for instance a null that it never learned from.
        """
        if not len(features):
            return np.empty(0)
        frame = features[list(self.features)]
        try:
            if self.task == "classification":
                return np.asarray(self.pipeline.predict_proba(frame)[:, 1], dtype=np.float64)
            return np.asarray(self.pipeline.predict(frame), dtype=np.float64)
        except (MemoryError, OSError):
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's pipeline raises
            said = without_values(error, texts_of(frame))
            raise Misconfigured(f"The pipeline cannot score these rows: {said}") from None  # the cause may quote rows

    def check_features(self, spec: ModelSpec) -> None:
        """Raise Misconfigured when the spec's features are not those that the version was trained with."""
        check_features(self.features, spec)


def check_features(features: dict[str, str], spec: ModelSpec) -> None:
    """Raise Misconfigured when the spec's features are not these, a version's own."""
    now = {name: feature.kind.value for name, feature in spec.features.items()}
    if now != features:
        changed = sorted(set(now.items()) ^ set(features.items()))
        names = ", ".join(dict.fromkeys(name for name, _ in changed)) or "their order"
        raise Misconfigured(
            f"The features of {spec.model} changed since this version was trained ({names}): retrain the model."
        )


def save_predictor(folder: Path, pipeline: Pipeline, spec: ModelSpec) -> None:
    """Write the two files of a fitted pipeline. Raises Misconfigured when it holds types that would not be loaded."""
    import skops.io

    folder.mkdir(parents=True, exist_ok=True)
    try:
        archive = _canonical(skops.io.dumps(pipeline))
    except RecursionError:  # a scorer that early stopping keeps, for instance
        raise Misconfigured(
            f"The pipeline of {spec.model} refers to itself and cannot be kept: give early stopping no `scoring` of "
            f"its own."
        ) from None
    unknown = [t for t in skops.io.get_untrusted_types(data=archive) if t not in TRUSTED]
    if unknown:
        raise Misconfigured(
            f"The pipeline of {spec.model} holds {', '.join(unknown[:3])}, which no scoring worker would load: build "
            f"it from scikit-learn's own transformers and estimators."
        )
    (folder / PIPELINE).write_bytes(archive)
    features = {name: feature.kind.value for name, feature in spec.features.items()}
    content = {"format": 1, "task": spec.task, "features": features}
    (folder / FEATURES).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@lru_cache(maxsize=4)
def load_predictor(files: str) -> Predictor:
    """The predictor in a version's (verified) files; kept for the next fragment of the same process.

    Raises Misconfigured when the files hold a type that is not in our list; nothing of them is run then.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    folder = Path(files) / DATA
    content = json.loads((folder / FEATURES).read_text(encoding="utf-8"))
    try:
        pipeline = skops.io.load(folder / PIPELINE, trusted=list(TRUSTED))
    except UntrustedTypesFoundException as error:
        raise Misconfigured(f"The version holds types that are not loaded: {in_brief(error)}. Retrain.") from error
    return Predictor(pipeline, content["task"], content["features"])


def _canonical(archive: bytes) -> bytes:
    """The same archive without what differs from process to process: object ids, file names and times."""
    with zipfile.ZipFile(io.BytesIO(archive)) as before:
        schema = json.loads(before.read("schema.json"))
        contents = {name: before.read(name) for name in before.namelist() if name != "schema.json"}
    numbers: dict[Any, int] = {}
    names: dict[str, str] = {}
    _renumber(schema, numbers, names)
    files = {names.get(name, name): content for name, content in contents.items()}
    files["schema.json"] = json.dumps(schema, indent=1).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as after:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            after.writestr(entry, files[name])
    return out.getvalue()


def _renumber(node: Any, numbers: dict[Any, int], names: dict[str, str]) -> None:
    """Replace, in place, each object id and file name by its rank of appearance."""
    if isinstance(node, dict):
        if "__id__" in node:
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
        if isinstance(node.get("file"), str):
            suffix = Path(node["file"]).suffix
            node["file"] = names.setdefault(node["file"], f"{len(names) + 1}{suffix}")
        for value in node.values():
            _renumber(value, numbers, names)
    elif isinstance(node, list):
        for value in node:
            _renumber(value, numbers, names)


class PyfuncModel:
    """What MLflow serves: a frame of any origin in, treated as the nightly run treats it, one score a row out."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray[Any, Any]:  # noqa: ARG002
        """The scores of the rows. Raises KeyError naming the columns that are missing."""
        import pandas as pd
        import pyarrow as pa

        from jobs.treat import feature_values

        columns = {}
        for name, kind in self._predictor.features.items():
            column = pa.chunked_array([pa.Array.from_pandas(frame[name])])
            columns[name] = feature_values(column, name, Feature(kind=FeatureKind(kind)).kind, "the request")
        return self._predictor.score(pd.DataFrame(columns, index=frame.index))


def _load_pyfunc(path: str) -> PyfuncModel:
    """MLflow's hook for a `loader_module`: `path` is the folder DATA in the version's files."""
    return PyfuncModel(load_predictor(str(Path(path).parent.parent)))
