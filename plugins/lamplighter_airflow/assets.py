"""The assets that others may schedule on: a new champion, and newly published predictions."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetAlias

from lamplighter_airflow.operator import JobOperator


def champion(model: str) -> Asset:
    """Changes when another version comes to production."""
    return Asset(name=f"champion({model})", uri=f"x-lamplighter://champion/{model}", group="lamplighter")


def predictions(model: str) -> Asset:
    """Changes when a partition of predictions is published."""
    return Asset(name=f"predictions({model})", uri=f"x-lamplighter://predictions/{model}", group="lamplighter")


class EmittingJobOperator(JobOperator):
    """A `JobOperator` that emits an event for an asset when, and only when, its job changed something, or repeats that.

    A run whose parameter `assets` is `never` emits none: it is part of a backfill that emits one event at its end.

    The outlet is an alias, because Airflow would emit for a plain outlet after every success.
    """

    def __init__(self, *, asset: Asset, **kwargs: Any) -> None:
        self.asset = asset
        self.alias = AssetAlias(f"{asset.name} changes", group="lamplighter")
        super().__init__(outlets=[self.alias], **kwargs)

    def report(self, context: Any, result: dict[str, Any]) -> None:
        """See `JobOperator.report`."""
        content = result.get("result") or {}
        changed = content.get("outcome") in {"promoted", "rolled_back"} or content.get("unchanged") is False
        if changed and context["params"].get("assets") != "never":
            extra = {"partition": result.get("partition"), "message": result["message"]}
            context["outlet_events"][self.alias].add(self.asset, extra=extra)
