"""What is where: the stages of every model, and what is published. Read from the registry and the tables' history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.as_published import AsPublished
from jobs.decisions import kept_back
from jobs.errors import InvalidSpec, Misconfigured
from jobs.spec_file import load_spec, model_names
from model_registry.store import Stage

if TYPE_CHECKING:
    from jobs.settings import Settings
    from model_registry.promotion import Registry


def status(settings: Settings, registry: Registry) -> dict[str, Any]:
    """`{"models": {name: {"stages": {stage: version}, "partitions": {key: {version, rows_in, ...}}}}}`.

    A model with an invalid spec is left out, and its faults are told under the key `invalid`; an alias that was moved
    by hand, a version that was deleted, or a table that is broken, under `problems`.
    """
    models, invalid, problems = {}, {}, {}
    for name in model_names(settings.models):
        try:
            registry.settle(name)
        except Misconfigured as error:
            problems[name] = str(error)
        try:
            models[name] = _model(settings, registry, name)
        except InvalidSpec as error:
            invalid[name] = str(error)
        except Misconfigured as error:
            problems[name] = " ".join(filter(None, (problems.get(name), str(error))))
    found = {"models": models, "invalid": invalid, "problems": problems}
    return {key: value for key, value in found.items() if value or key == "models"}


def _model(settings: Settings, registry: Registry, name: str) -> dict[str, Any]:
    spec = load_spec(settings.models, name)
    stages = {stage.value: registry.store.alias(name, stage) for stage in Stage}
    seen = AsPublished(settings, spec)
    found = {p.partition: p for p in seen.publications if p.model == name}
    partitions = {
        key: {
            "version": p.version,
            "rows_in": p.rows_in,
            "rows_scored": p.rows_scored,
            "rows_rejected": p.rows_rejected,
        }
        for key, p in sorted(found.items())
    }
    staged = {stage: number for stage, number in stages.items() if number is not None}
    known = {version.number: version for version in registry.store.versions(name)}
    semver = {stage: known[number].semver for stage, number in staged.items() if number in known}
    overrides = {stage: known[number].override for stage, number in staged.items() if number in known}
    refused = kept_back(registry, name)
    more = {
        "altered": {key: said for key, p in sorted(found.items()) if (said := seen.why_not(p))},
        "kept_back": vars(refused) if refused else {},
        "semver": {stage: text for stage, text in semver.items() if text},
        "override": overrides.get(Stage.production.value, ""),
    }
    return {"stages": staged, "partitions": partitions} | {key: value for key, value in more.items() if value}
