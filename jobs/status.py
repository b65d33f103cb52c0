"""What is where: the stages of every model, and what is published. Read from the registry and the tables' history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.errors import InvalidSpec
from jobs.spec_file import load_spec, model_names
from jobs.table import predictions_path, published
from model_registry.store import Stage

if TYPE_CHECKING:
    from jobs.settings import Settings
    from model_registry.promotion import Registry


def status(settings: Settings, registry: Registry) -> dict[str, Any]:
    """`{"models": {name: {"stages": {stage: version}, "partitions": {key: {version, rows_in, ...}}}}}`.

    A model with an invalid spec is left out, and its faults are told under the key `invalid`.
    """
    models, invalid = {}, {}
    for name in model_names(settings.models):
        try:
            models[name] = _model(settings, registry, name)
        except InvalidSpec as error:
            invalid[name] = str(error)
    return {"models": models} | ({"invalid": invalid} if invalid else {})


def _model(settings: Settings, registry: Registry, name: str) -> dict[str, Any]:
    spec = load_spec(settings.models, name)
    stages = {stage.value: registry.store.alias(name, stage) for stage in Stage}
    found = published(predictions_path(settings, spec))
    partitions = {
        key: {
            "version": p.version,
            "rows_in": p.rows_in,
            "rows_scored": p.rows_scored,
            "rows_rejected": p.rows_rejected,
        }
        for key, p in sorted(found.items())
    }
    return {"stages": {s: v for s, v in stages.items() if v is not None}, "partitions": partitions}
