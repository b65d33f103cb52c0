"""The promotion state machine: whatever is asked in whatever order, alias, ledger and a simple model agree."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from registry.desk import FAR, Desk, Shelf, asked, decision_on, open_registry
from registry.simple_model import simply_current, simply_effective, simply_withdrawn

from model_registry.errors import ChampionMoved, Misconfigured, Rejected
from model_registry.metric_gate import Action, Decision
from model_registry.requests import Outcome, Request
from model_registry.store import Stage, Version
from model_registry.timeline import Kind, Promotion

MODEL = "flight_delays"
NIGHT = datetime(2013, 2, 8, tzinfo=UTC)
# Far in the past, as a backfill has it, and yet to come, as a promotion ahead of time has it.
INSTANTS = [NIGHT + timedelta(days=n) for n in range(3)] + [datetime(2190, 1, n, tzinfo=UTC) for n in (1, 2)]
EFFECTIVE = st.sampled_from(INSTANTS)
KEEP = st.sampled_from([False, False, True])
STAGES = st.sampled_from([Stage.production, Stage.production, Stage.staging])


# Over by now, and not over in our lifetime
ENDS = st.sampled_from([NIGHT + timedelta(days=20), datetime(2195, 1, 1, tzinfo=UTC)])


class Promotions(RuleBasedStateMachine):
    """Retrains, decisions, repeated and outdated requests, roll backs, overrides, and an operator with a mouse."""

    candidates = Bundle("candidates")
    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.store = Shelf()
        self.registry = open_registry(self.store)
        self.desk = Desk(self.registry, MODEL)
        self.passed: dict[int, bool | None] = {}
        self.expected: list[Promotion] = []  # the rows of production that there should be
        self.seen: list[Promotion] = []

    def teardown(self) -> None:
        self.registry.ledger.close()

    def history(self) -> list[Promotion]:
        return self.desk.history()

    def expected_at(self, at: datetime) -> int | None:
        row = simply_effective(self.expected, at)
        return row.version if row else None

    def expected_now(self) -> int | None:
        row = simply_current(self.expected, datetime.now(UTC))
        return row.version if row else None

    @initialize(target=candidates)
    def have_some(self) -> object:
        return multiple(self.retrain(True), self.retrain(True), self.retrain(False))

    @rule(target=candidates, passed=st.sampled_from([True, True, True, False, None]))
    def retrain(self, passed: bool | None) -> Version:
        version = self.desk.candidate(passed)
        self.passed[version.number] = passed
        return version

    @rule(target=requests, candidate=candidates, at=EFFECTIVE, keep=KEEP, stage=STAGES)
    def decide(self, candidate: Version, at: datetime, keep: bool, stage: Stage) -> tuple[Decision, Request]:
        """A decision against the champion of now; it is carried out later, perhaps too late, perhaps twice."""
        champion = self.registry.champion(MODEL, at)
        action = Action.keep if keep else (Action.promote if champion else Action.first)
        return decision_on(candidate, champion, action, passed=not keep), asked(at, stage)

    @rule(asked=requests)
    def promote(self, asked: tuple[Decision, Request]) -> None:
        decision, request = asked
        candidate, decided = decision.candidate.number, decision.champion.number if decision.champion else None
        champion, length = self.expected_at(request.effective_from), len(self.history())
        try:
            outcome = self.registry.promote(decision, request).outcome
        except ChampionMoved:
            assert decided != champion
            assert request.stage is Stage.production
            assert self.passed[candidate]
            assert len(self.history()) == length
            return
        except Rejected:
            assert not self.passed[candidate]
            assert len(self.history()) == length
            return
        grown = len(self.history()) - length
        assert grown == (outcome in {Outcome.promoted, Outcome.staged})
        if request.stage is Stage.production and champion == candidate:
            assert outcome is Outcome.unchanged
        elif outcome is Outcome.kept:
            gone = candidate in simply_withdrawn(self.expected) and request.stage is Stage.production
            assert decision.action is Action.keep or gone
        elif outcome is Outcome.unchanged:
            assert request.stage is Stage.staging
            assert self.store.alias(MODEL, Stage.staging) == candidate
        else:
            assert decision.action is not Action.keep
            assert self.passed[candidate]
            assert outcome is not Outcome.promoted or decided == champion
        if outcome is Outcome.promoted:
            row = self.history()[-1]
            assert (row.version, row.effective_from, row.kind) == (candidate, request.effective_from, Kind.promotion)
            self.expected.append(row)

    @rule(candidate=candidates, at=EFFECTIVE, stage=STAGES)
    def decide_and_promote(self, candidate: Version, at: datetime, stage: Stage) -> None:
        self.promote(self.decide(candidate, at, False, stage))

    @rule(asked=requests)
    def promote_twice(self, asked: tuple[Decision, Request]) -> None:
        with suppress(Rejected):
            self.promote(asked)
            before = self.history()
            assert self.registry.promote(*asked).outcome in {Outcome.unchanged, Outcome.kept}
            assert self.history() == before

    @rule(candidate=candidates, at=EFFECTIVE, until=ENDS)
    def override(self, candidate: Version, at: datetime, until: datetime) -> None:
        there, length = simply_effective(self.expected, at), len(self.history())
        try:
            outcome = self.desk.override(candidate, until, at, recorded_at=datetime.now(UTC)).outcome
        except Rejected:
            assert self.passed[candidate.number] is None
            return
        already = there is not None and there.version == candidate.number
        same = there is not None and (there.kind is not Kind.override or there.until == until)
        assert outcome is (Outcome.unchanged if already and same else Outcome.promoted)
        self.expected += self.history()[length:]
        if outcome is Outcome.promoted:
            row = self.expected[-1]
            assert (row.version, row.until, row.effective_from) == (candidate.number, until, at)

    @rule(bad=st.none() | st.integers(1, 6), since=st.none() | EFFECTIVE)
    def roll_back(self, bad: int | None, since: datetime | None) -> None:
        now, length = self.expected_now(), len(self.history())
        others, gone = self._others(now), simply_withdrawn(self.expected)
        try:
            result = self.desk.roll_back(bad, since, datetime.now(UTC))
        except Rejected:
            assert len(self.history()) == length
            assert now is None or bad not in {None, now} or not others
            return
        if result.outcome is Outcome.unchanged:
            assert len(self.history()) == length
            newest = simply_current(self.expected, datetime.now(UTC))
            assert bad in gone if bad else newest and newest.kind is Kind.roll_back
            return
        self.expected.append(self.history()[-1])
        row = self.expected[-1]
        assert (row.kind, row.replaces, result.withdrawn) == (Kind.roll_back, now, now)
        assert bad in {None, now}
        assert row.version in others
        if since is not None:
            assert row.effective_from == since
        for at in [*INSTANTS, FAR]:
            assert at < row.effective_from or self.expected_at(at) != now
        assert self.expected_now() != now

    def _others(self, now: int | None) -> set[int]:
        """The versions that somebody may return to."""
        last = {p.version: p.stage for p in self.history()}
        there = {p.version for p in self.expected if p.kind is not Kind.override}
        aside = {version for version, stage in last.items() if stage is Stage.archived}
        return there - aside - simply_withdrawn(self.expected) - {now}

    @rule(version=candidates)
    def archive(self, version: Version) -> None:
        now, length = self.expected_now(), len(self.history())
        try:
            wish = asked(NIGHT, Stage.archived, recorded_at=datetime.now(UTC))
            outcome = self.registry.archive(version, wish).outcome
        except Rejected:
            later = simply_current(self.expected, datetime.max.replace(tzinfo=UTC))
            assert version.number in {now, later.version if later else None}
            return
        assert version.number != now
        assert len(self.history()) - length == (outcome is Outcome.archived)

    @rule(version=candidates)
    def move_by_hand(self, version: Version) -> None:
        """Somebody moves the alias in MLflow, and the next run notices: follows, or is told what to do."""
        was, number = self.store.alias(MODEL, Stage.production), version.number
        self.store.set_alias(MODEL, Stage.production, number)
        try:
            self.registry.champion(MODEL, FAR)
        except Misconfigured as error:
            assert not self.passed[number]
            self._follow_the_remedy(str(error), was)
            return
        assert number == was or self.passed[number]
        if number != was:
            row = self.history()[-1]
            assert (row.version, row.kind) == (number, Kind.external)
            self.expected.append(row)

    @rule(version=candidates, asked=requests)
    def move_by_hand_before_a_promotion(self, version: Version, asked: tuple[Decision, Request]) -> None:
        """The alias is moved, and the first to meet that is a promotion: what it records is what counts."""
        was, length = self.store.alias(MODEL, Stage.production), len(self.history())
        self.store.set_alias(MODEL, Stage.production, version.number)
        with suppress(Rejected, Misconfigured):
            self.registry.promote(*asked)
        try:
            self.registry.champion(MODEL, FAR)
        except Misconfigured as error:
            assert not self.passed[version.number]
            self._follow_the_remedy(str(error), was)
        rows = [p for p in self.history()[length:] if p.stage is Stage.production]
        assert {p.version for p in rows} <= {version.number, asked[0].candidate.number}
        self.expected += rows

    def _follow_the_remedy(self, says: str, was: int | None) -> None:
        if was is None:
            assert "delete the alias in MLflow" in says
            del self.store._aliases[MODEL, Stage.production]
        else:
            assert f"point it back to version {was} in MLflow" in says
            self.store.set_alias(MODEL, Stage.production, was)

    @rule(at=EFFECTIVE | st.just(FAR) | st.just(INSTANTS[0] - timedelta(microseconds=1)))
    def ask_as_of(self, at: datetime) -> None:
        champion = self.registry.champion(MODEL, at)
        assert (champion.number if champion else None) == self.expected_at(at)

    @invariant()
    def the_alias_is_where_the_ledger_says(self) -> None:
        assert self.store.alias(MODEL, Stage.production) == self.expected_now()
        last = {p.version: p.stage for p in self.history()}
        for stage in (Stage.staging, Stage.archived):
            waiting = [p.version for p in self.history() if p.stage is stage and last[p.version] is stage]
            assert self.store.alias(MODEL, stage) == (waiting[-1] if waiting else None)

    @invariant()
    def history_only_grows(self) -> None:
        now = self.history()
        assert now[: len(self.seen)] == self.seen
        self.seen = now

    @invariant()
    def production_rests_on_evidence(self) -> None:
        insisted = {Kind.override, Kind.archive}
        assert all(self.passed[p.version] and p.evidence for p in self.seen if p.kind not in insisted)


TestPromotions = Promotions.TestCase
TestPromotions.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
