"""The job `evaluate`: candidate and champion on the same holdout rows, as far as the rules of the spec ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.behaviour import probe
from jobs.compiled.gate import COMPILED_NOTE, CompiledNote
from jobs.cost import measure_cost
from jobs.dataset import load_dataset, training_window
from jobs.evaluation import Evaluation
from jobs.measure import Scored, measure_costs, measure_rules
from jobs.metrics import measure
from jobs.onnx_form import ONNX_NOTE, OnnxNote
from jobs.plots import comparison_plots
from jobs.predictor import Predictor, load_predictor
from jobs.spec_file import load_pipeline_module
from jobs.training import TrainResult
from jobs.unseen import unseen_partitions
from model_registry.artifacts import verified
from model_registry.codec import from_json
from model_registry.rules import COSTS, Measured, MetricRule, Mode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jobs.context import JobContext
    from jobs.dataset import Dataset
    from jobs.partition import Partition
    from model_registry.promotion import Registry
    from model_registry.store import Version

PLOTS = "plots"


def evaluate(job: JobContext, number: int | None = None) -> Evaluation:
    """Measure a version (default: the one that this run trained) and the champion as of the partition's end."""
    registry, spec = job.registry(), job.spec
    candidate = registry.store.version(spec.model, number or job.recall("train", TrainResult).version.number)
    champion = registry.champion(spec.model, at=job.partition.end)
    rules = [gate.rule() for gate in spec.metric_gates]
    unseen = unseen_partitions(job, registry, candidate, champion)
    holdout = _holdout(job, unseen.partitions, sorted({rule.by for rule in rules if rule.by is not None}))
    files = verified(registry.store, candidate, job.settings.cache)
    predictor = _predictor(job, registry, candidate)
    before = _predictor(job, registry, champion).score(holdout.features) if champion is not None else None
    scored = Scored(holdout.target, predictor.score(holdout.features), before)
    columns = {str(name): column for name, column in holdout.extra.items()}
    result = Evaluation(
        candidate=candidate,
        champion=champion,
        rows=len(holdout),
        holdout=f"{unseen.partitions[0]} to {unseen.partitions[-1]}",
        metrics=measure(spec.task, scored.target, scored.candidate),
        champion_metrics=measure(spec.task, scored.target, before) if before is not None else None,
        measured=(*measure_rules(rules, scored, columns, spec.training.seed), *_costs(rules, files, holdout)),
        behaviour=probe(
            predictor,
            holdout.features,
            spec.features,
            spec.output_checks.score,
            spec.behaviour,
            spec.training.seed,
        ),
        notes=(unseen.note, *_notes(registry, candidate)),
        seed=spec.training.seed,
    )
    for name, image in comparison_plots(spec.task, scored).items():
        path = job.folder / PLOTS / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    job.keep("evaluate", result)
    return result


def _notes(registry: Registry, candidate: Version) -> tuple[str, ...]:
    kinds: tuple[tuple[str, type[OnnxNote | CompiledNote]], ...] = (
        (COMPILED_NOTE, CompiledNote),
        (ONNX_NOTE, OnnxNote),
    )
    kept = [(kind, registry.store.run_file(candidate, name)) for name, kind in kinds]
    return tuple(from_json(kind, text).sentence for kind, text in kept if text is not None)


def _costs(rules: Sequence[MetricRule], files: Path, holdout: Dataset) -> tuple[Measured, ...]:
    """What the rules ask of the version's costs; nothing is timed that no rule asks for."""
    if not any(rule.metric in COSTS and rule.mode is not Mode.off for rule in rules):
        return ()
    cost = measure_cost(lambda: load_predictor.__wrapped__(str(files)), files, holdout.features)
    return measure_costs(rules, {name: getattr(cost, name) for name in COSTS}, len(holdout))


def _holdout(job: JobContext, partitions: Sequence[Partition], slices: Sequence[str]) -> Dataset:
    module = load_pipeline_module(job.settings.models, job.spec.model)
    as_of = training_window(job.spec, job.partition).as_of
    return load_dataset(job.settings, job.spec, module.label, partitions, as_of, slices)


def _predictor(job: JobContext, registry: Registry, version: Version) -> Predictor:
    predictor = load_predictor(str(verified(registry.store, version, job.settings.cache)))
    predictor.check_features(job.spec)
    return predictor
