"""A registry to make moves on, and words for the moves: shared by the tests of this folder."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from model_registry.errors import UnknownVersion
from model_registry.evidence import Check, GateReport
from model_registry.memory_store import MemoryStore
from model_registry.metric_gate import Action, Decision
from model_registry.promotion import Registry
from model_registry.requests import PromotionResult, Request
from model_registry.store import NewVersion, RegistryStore, Stage, Version
from model_registry.timeline import Kind, Promotion

NIGHT = datetime(2013, 2, 8, tzinfo=UTC)
CLOCK = datetime(2013, 2, 9, 3, tzinfo=UTC)
FAR = datetime(2190, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    """So many days after the night that everything begins with."""
    return NIGHT + timedelta(days=number)


def report_on(version: Version, passed: bool = True) -> GateReport:
    """A report of the metric gate with one check."""
    return GateReport("metric gate", str(version), (Check("auc", passed, 0.7, "at least 0.6"),))


def decision_on(
    candidate: Version, champion: Version | None = None, action: Action | None = None, passed: bool = True
) -> Decision:
    """What the metric gate would say."""
    opened = Action.promote if champion else Action.first
    wanted = action or (opened if passed else Action.keep)
    return Decision(candidate, champion, wanted, report_on(candidate, passed))


def asked(at: datetime = NIGHT, stage: Stage = Stage.production, **fields: Any) -> Request:
    """What a retrain would ask for."""
    return replace(Request(stage, at, "airflow", "a retrain", CLOCK), **fields)


def move(version: int, at: float = 0, kind: Kind = Kind.promotion, **fields: Any) -> Promotion:
    """A row of the ledger, from day `at` on and recorded then."""
    row = Promotion(
        "flight_delays", version, f"{version:0>64}", Stage.production, day(at), day(at), "ada", "a retrain", None, kind
    )
    return replace(row, **fields)


class Shelf(MemoryStore):
    """The store in memory, with hands on it: versions are deleted and replaced as in MLflow's own pages."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: set[Version] = set()

    def version(self, model: str, number: int) -> Version:
        """None that was deleted; its number is not given again."""
        found = super().version(model, number)
        if found in self.gone:
            raise UnknownVersion(f"{model} has no version {number}.")
        return found

    def delete(self, version: Version) -> None:
        """MLflow takes the aliases of a version with it."""
        self.gone.add(version)
        self._aliases = {key: number for key, number in self._aliases.items() if number != version.number}

    def replace_by(self, version: Version, **fields: Any) -> None:
        """Another version under the same number."""
        known = self._versions[version.model]
        known[known.index(version)] = replace(version, **fields)


@dataclass
class Desk:
    """A registry of one model, and the few moves that the tests make on it."""

    registry: Registry
    model: str = "flight_delays"
    count: int = field(default=0)

    @property
    def store(self) -> Any:
        """The registry's store."""
        return self.registry.store

    def candidate(self, passed: bool | None = True, until: datetime = NIGHT, **fields: Any) -> Version:
        """A version with a report that passed, one that did not, or (None) without."""
        self.count += 1
        new = NewVersion(
            self.model, f"{self.count:0>64}", "s", f"p{self.count}", day(-30), until, f"mlflow-{self.count}", "/nowhere"
        )
        version = self.registry.store.register(replace(new, **fields))
        if passed is not None:
            self.registry.store.attach(decision_on(version, passed=passed))
        return version

    def promote(
        self,
        candidate: Version,
        champion: Version | None = None,
        at: datetime = NIGHT,
        action: Action | None = None,
        **fields: Any,
    ) -> PromotionResult:
        """Carry out a decision about the candidate, which was judged against that champion."""
        return self.registry.promote(decision_on(candidate, champion, action), asked(at, **fields))

    def override(self, candidate: Version, until: datetime, at: datetime = NIGHT, **fields: Any) -> PromotionResult:
        """Insist on a version."""
        wish = {"actor": "ada", "reason": "the storm", "until": until} | fields
        return self.registry.promote(decision_on(candidate, action=Action.keep), asked(at, **wish))

    def roll_back(
        self, bad: int | None = None, since: datetime | None = None, at: datetime = CLOCK, **fields: Any
    ) -> PromotionResult:
        """Go back."""
        wish = asked(at, recorded_at=at, actor="ada", reason="scores are off")
        return self.registry.roll_back(self.model, replace(wish, **fields), bad, since)

    def archive(self, version: Version) -> PromotionResult:
        """Put a version aside."""
        return self.registry.archive(version, asked(CLOCK, Stage.archived))

    def succession(self, count: int, every: float = 10) -> list[Version]:
        """So many versions, each promoted over the one before, ten days after it."""
        made: list[Version] = []
        for number in range(count):
            made.append(self.candidate())
            self.promote(made[-1], made[-2] if number else None, day(number * every))
        return made

    def history(self, stage: Stage | None = None) -> list[Promotion]:
        """What the ledger has."""
        with self.registry.ledger.reading() as session:
            return session.history(self.model, stage)

    def alias(self, stage: Stage = Stage.production) -> int | None:
        """Where the alias points."""
        return self.registry.store.alias(self.model, stage)

    def champion(self, at: datetime = FAR) -> int | None:
        """The number of the version that scores at a time."""
        found = self.registry.champion(self.model, at)
        return found.number if found else None

    def production(self) -> int | None:
        """The number of the version in production now."""
        found = self.registry.production(self.model)
        return found.number if found else None

    def noted(self, stage: Stage = Stage.production) -> int | None:
        """Where the ledger says that it left the alias."""
        with self.registry.ledger.reading() as session:
            return session.noted_alias(self.model, stage)


def wait_for(instant: datetime) -> None:
    """Let the clock come to an instant that is near."""
    while datetime.now(UTC) <= instant:
        time.sleep(0.01)


def open_registry(store: RegistryStore, url: str = "sqlite://") -> Registry:
    """A registry with a ledger of its own."""
    from model_registry.ledger import Ledger

    return Registry(store, Ledger(url))
