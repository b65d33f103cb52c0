"""Which form of a version scores: the compiled one where there is one, and scikit-learn otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs.predictor import DATA, check_features, load_predictor

if TYPE_CHECKING:
    from jobs.compiled.form import Doubles
    from jobs.compiled.predictor import CompiledPredictor
    from jobs.predictor import Predictor
    from jobs.spec import ModelSpec
    from jobs.treat import Treated


@dataclass(frozen=True)
class Scorer:
    """One form of a version."""

    form: CompiledPredictor | Predictor

    @property
    def compiled(self) -> bool:
        """Whether it scores without scikit-learn."""
        from jobs.predictor import Predictor

        return not isinstance(self.form, Predictor)

    def score(self, table: pa.Table, treated: Treated, where: str) -> Doubles:
        """The scores of the rows that are not rejected; `table` as it was read, `treated` what `treat` made of it.

        Raises Misconfigured when the pipeline cannot take the rows; `where` names the file.
        """
        from jobs.predictor import Predictor

        good = treated.good
        if isinstance(self.form, Predictor):
            return self.form.score(treated.features[good])
        if good.all():
            return self.form.score(table, where, treated.numbers)
        return self.form.score(table.filter(pa.array(good)), where)

    def check_features(self, spec: ModelSpec) -> None:
        """Raise Misconfigured when the spec's features are not those that the version was trained with."""
        check_features(self.form.features, spec)


def load_scorer(files: str) -> Scorer:
    """What scores in a version's (verified) files; kept for the next fragment of the same process.

    Raises Misconfigured when the compiled form is broken, or the pipeline holds a type that is not loaded.
    """
    from jobs.compiled.format import DESCRIPTION

    folder = Path(files) / DATA
    if not (folder / DESCRIPTION).is_file():
        return Scorer(load_predictor(files))
    from jobs.compiled.predictor import load

    return Scorer(load(str(folder)))
