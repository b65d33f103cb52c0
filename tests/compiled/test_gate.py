"""The parity gate at registration, and which form scores: the compiled one where it agrees, scikit-learn otherwise."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from jobs.batches import source_tables
from jobs.compiled import compile as compiling
from jobs.compiled.compile import compile_predictor
from jobs.compiled.form import Trees
from jobs.compiled.format import ARRAYS, DESCRIPTION, load_plan, save_plan
from jobs.compiled.gate import CompiledForm, to_compiled
from jobs.evaluation import Evaluation
from jobs.predictor import DATA, FEATURES, PIPELINE, Predictor
from jobs.scorer import load_scorer
from jobs.train import train
from jobs.training import TrainResult
from jobs.treat import treat
from model_registry.artifacts import digest_of

DAY = "2026-01-14"


def predictor_of(shop: Any, learn: object, unseen: str = "use_encoded_value") -> Predictor:
    spec = shop.job(DAY).spec
    table = next(iter(tables(shop)))
    features = treat(table, spec, "rows").features.fillna({"colour": "none", "price": 0.0})
    encode = OrdinalEncoder(handle_unknown=unseen, unknown_value=-1 if unseen == "use_encoded_value" else None)
    prepare = make_column_transformer((encode, ["colour"]), remainder="passthrough")
    pipeline: Pipeline = make_pipeline(prepare, learn)
    goal = (features["price"] > 60).astype(int)
    return Predictor(
        pipeline.fit(features, goal), "classification", {n: f.kind.value for n, f in spec.features.items()}
    )


def tables(shop: Any) -> Any:
    job = shop.job(DAY)
    return source_tables(shop.settings, job.spec, [job.partition])


def gate(shop: Any, predictor: Predictor) -> CompiledForm:
    return to_compiled(predictor, shop.job(DAY).spec, tables(shop))


def test_what_agrees_is_kept_and_says_on_how_many_rows(shop: Any) -> None:
    form = gate(shop, predictor_of(shop, HistGradientBoostingClassifier(max_iter=4)))
    assert (form.difference, form.rows, form.reason) == (0.0, 120, "")
    assert "it agrees with scikit-learn to the last bit" in form.note().sentence
    assert "on 120 rows of the holdout" in form.note().sentence


def test_what_gives_other_scores_falls_back_and_says_by_how_much(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = predictor_of(shop, HistGradientBoostingClassifier(max_iter=4))
    plan = compile_predictor(predictor)
    assert isinstance(plan.model, Trees)
    wrong = replace(plan, model=replace(plan.model, base=plan.model.base + 1e-9))
    monkeypatch.setattr(compiling, "compile_predictor", lambda predictor: wrong)
    form = gate(shop, predictor)
    assert form.plan is None
    assert form.difference == pytest.approx(2e-10, rel=0.5)
    assert "differs from scikit-learn by up to" in form.note().sentence
    assert "of the rows; at most 1e-12 is allowed." in form.note().sentence


def test_a_difference_in_unseen_values_alone_is_found(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = predictor_of(shop, HistGradientBoostingClassifier(max_iter=4), unseen="error")
    assert gate(shop, predictor).reason == ""  # both refuse nulls and unseen texts
    plan = compile_predictor(predictor)
    lookup = replace(plan.columns.lookups[0], refused=plan.columns.lookups[0].refused & False)
    wrong = replace(plan, columns=replace(plan.columns, lookups=(lookup,)))
    monkeypatch.setattr(compiling, "compile_predictor", lambda predictor: wrong)
    assert gate(shop, predictor).reason == "scikit-learn refuses rows that it scores."


def test_what_does_not_compile_falls_back_with_the_reason(shop: Any) -> None:
    predictor = predictor_of(shop, KNeighborsClassifier())
    assert gate(shop, predictor).note().sentence == (
        "There is no compiled form, scikit-learn scores: The pipeline does not compile: KNeighborsClassifier is not "
        "covered."
    )
    empty = to_compiled(predictor_of(shop, HistGradientBoostingClassifier(max_iter=2)), shop.job(DAY).spec, [])
    assert empty.reason == "There are no rows to compare it with scikit-learn on."


def test_training_says_that_scikit_learn_will_score(open_shop: Any) -> None:
    pipeline = open_shop.settings.models / "toys" / "pipeline.py"
    learn = "HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=5)"
    text = pipeline.read_text()
    assert learn in text
    pipeline.write_text(
        text.replace(learn, f"sklearn.ensemble.BaggingClassifier({learn}, n_estimators=2)").replace(
            "import", "import sklearn.ensemble\nimport", 1
        )
    )
    said = train(open_shop.job("2026-01-15")).sentence()
    assert said.endswith("The pipeline does not compile: BaggingClassifier is not covered. So scikit-learn scores.")


def test_the_version_keeps_it_under_its_digest_and_its_report_says_so(open_shop: Any) -> None:
    job = open_shop.job(DAY)
    version = job.recall("train", TrainResult).version
    files = open_shop.settings.cache / version.digest
    assert sorted(path.name for path in (files / DATA).iterdir()) == sorted([ARRAYS, DESCRIPTION, FEATURES, PIPELINE])
    assert digest_of(files) == version.digest
    save_plan(files / DATA, replace(load_plan(files / DATA), task="regression"))
    assert digest_of(files) != version.digest
    assert (
        job.recall("evaluate", Evaluation).notes[1].startswith("Its compiled form scores; on 360 rows of the holdout")
    )


def test_scoring_loads_no_scikit_learn_where_there_is_a_compiled_form(open_shop: Any) -> None:
    version = open_shop.job(DAY).recall("train", TrainResult).version
    files = open_shop.settings.cache / version.digest
    assert load_scorer(str(files)).compiled
    sales = next(Path(open_shop.sales(DAY)).glob("*.parquet"))
    code = f"""
import sys
from pathlib import Path
from jobs.batches import read_batches
from jobs.scorer import load_scorer
from jobs.treat import treat
from jobs.spec_file import parse_spec
spec = parse_spec(Path({str(open_shop.settings.models / "toys" / "model.yaml")!r}).read_text(), "model.yaml")
scorer = load_scorer({str(files)!r})
scorer.check_features(spec)
table, = read_batches({str(sales)!r}, None, [*spec.key, *spec.features])
print(len(scorer.score(table, treat(table, spec, "rows"), "rows")), {{"sklearn", "mlflow", "skops"}} & set(sys.modules))
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "120 set()\n"
