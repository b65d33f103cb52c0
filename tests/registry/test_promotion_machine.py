"""The promotion state machine: whatever is asked in whatever order, alias, ledger and a simple model agree."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from model_registry.errors import ChampionMoved, Misconfigured, Rejected
from model_registry.evidence import Check, GateReport
from model_registry.ledger import Ledger, Promotion
from model_registry.memory_store import MemoryStore
from model_registry.metric_gate import Action, Decision
from model_registry.promotion import END_OF_TIME, Outcome, Registry, Request
from model_registry.store import NewVersion, Stage, Version

MODEL = "flight_delays"
NIGHT = datetime(2013, 2, 8, tzinfo=UTC)
# Far in the past, as a backfill has it, and yet to come, as a promotion ahead of time has it.
INSTANTS = [NIGHT + timedelta(days=n) for n in range(3)] + [datetime(2190, 1, n, tzinfo=UTC) for n in (1, 2)]
EFFECTIVE = st.sampled_from(INSTANTS)
KEEP = st.sampled_from([False, False, True])
STAGES = st.sampled_from([Stage.production, Stage.production, Stage.staging])


def _report(version: int, passed: bool) -> GateReport:
    return GateReport("metric gate", f"version {version}", (Check("auc", passed, 0.7, "at least 0.6"),))


class Promotions(RuleBasedStateMachine):
    """Retrains, decisions, repeated and outdated requests, and an operator with a mouse."""

    candidates = Bundle("candidates")
    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.registry = Registry(self.store, Ledger("sqlite://"))
        self.passed: dict[int, bool | None] = {}
        self.expected: list[tuple[datetime, int]] = []  # what production should be: effective from, version
        self.seen: list[Promotion] = []

    def teardown(self) -> None:
        self.registry.ledger.close()

    def history(self) -> list[Promotion]:
        with self.registry.ledger.reading() as session:
            return session.history(MODEL)

    def expected_at(self, at: datetime) -> int | None:
        answer, newest = None, datetime.min.replace(tzinfo=UTC)
        for effective_from, version in self.expected:
            if newest <= effective_from <= at:
                answer, newest = version, effective_from
        return answer

    @initialize(target=candidates)
    def have_some(self) -> object:
        return multiple(self.retrain(True), self.retrain(True), self.retrain(False))

    @rule(target=candidates, passed=st.sampled_from([True, True, True, False, None]))
    def retrain(self, passed: bool | None) -> Version:
        number = len(self.passed) + 1
        new = NewVersion(MODEL, f"{number:0>64}", "s", f"p{number}", NIGHT, NIGHT, "mlflow", "/nowhere")
        version = self.store.register(new)
        self.passed[number] = passed
        if passed is not None:
            self.store.attach(version, _report(number, passed))
        return version

    @rule(target=requests, candidate=candidates, at=EFFECTIVE, keep=KEEP, stage=STAGES)
    def decide(self, candidate: Version, at: datetime, keep: bool, stage: Stage) -> tuple[Decision, Request]:
        """A decision against the champion of now; it is carried out later, perhaps too late, perhaps twice."""
        champion = self.registry.champion(MODEL, at)
        action = Action.keep if keep else (Action.promote if champion else Action.first)
        decision = Decision(candidate, champion, action, _report(candidate.number, passed=not keep))
        return decision, Request(stage, at, "airflow", "a retrain", NIGHT)

    @rule(asked=requests)
    def promote(self, asked: tuple[Decision, Request]) -> None:
        decision, request = asked
        candidate, decided = decision.candidate.number, decision.champion.number if decision.champion else None
        champion, length = self.expected_at(request.effective_from), len(self.history())
        try:
            outcome = self.registry.promote(decision, request).outcome
        except ChampionMoved:
            assert decided != champion
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
        elif decision.action is Action.keep:
            assert outcome is Outcome.kept
        else:
            assert self.passed[candidate]
            assert decided == champion
        if outcome is Outcome.promoted:
            self.expected.append((request.effective_from, candidate))

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

    @rule(version=candidates)
    def move_by_hand(self, version: Version) -> None:
        """Somebody moves the alias in MLflow, and the next run notices: follows, or is told what to do."""
        was, number = self.store.alias(MODEL, Stage.production), version.number
        self.store.set_alias(MODEL, Stage.production, number)
        try:
            self.registry.champion(MODEL, END_OF_TIME)
        except Misconfigured as error:
            assert not self.passed[number]
            self._follow_the_remedy(str(error), was)
            return
        assert number == was or self.passed[number]
        if number != was:
            row = self.history()[-1]
            assert (row.version, row.external) == (number, True)
            self.expected.append((row.effective_from, number))

    @rule(version=candidates, asked=requests)
    def move_by_hand_before_a_promotion(self, version: Version, asked: tuple[Decision, Request]) -> None:
        """The alias is moved, and the first to meet that is a promotion: what it records is what counts."""
        was, length = self.store.alias(MODEL, Stage.production), len(self.history())
        self.store.set_alias(MODEL, Stage.production, version.number)
        with suppress(Rejected, Misconfigured):
            self.registry.promote(*asked)
        try:
            self.registry.champion(MODEL, END_OF_TIME)
        except Misconfigured as error:
            assert not self.passed[version.number]
            self._follow_the_remedy(str(error), was)
        rows = [p for p in self.history()[length:] if p.stage is Stage.production]
        assert {p.version for p in rows} <= {version.number, asked[0].candidate.number}
        self.expected += [(p.effective_from, p.version) for p in rows]

    def _follow_the_remedy(self, says: str, was: int | None) -> None:
        if was is None:
            assert "delete the alias in MLflow" in says
            del self.store._aliases[MODEL, Stage.production]
        else:
            assert f"point it back to version {was} in MLflow" in says
            self.store.set_alias(MODEL, Stage.production, was)

    @rule(at=EFFECTIVE | st.just(END_OF_TIME) | st.just(INSTANTS[0] - timedelta(microseconds=1)))
    def ask_as_of(self, at: datetime) -> None:
        champion = self.registry.champion(MODEL, at)
        assert (champion.number if champion else None) == self.expected_at(at)

    @invariant()
    def the_alias_is_the_newest_effective_version(self) -> None:
        for stage in (Stage.production, Stage.staging):
            with self.registry.ledger.reading() as session:
                newest = session.effective(MODEL, stage, END_OF_TIME)
            assert self.store.alias(MODEL, stage) == (newest.version if newest else None)
        assert self.store.alias(MODEL, Stage.production) == self.expected_at(END_OF_TIME)

    @invariant()
    def history_only_grows(self) -> None:
        now = self.history()
        assert now[: len(self.seen)] == self.seen
        self.seen = now

    @invariant()
    def production_rests_on_evidence(self) -> None:
        assert all(self.passed[p.version] and p.evidence for p in self.seen)


TestPromotions = Promotions.TestCase
TestPromotions.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
