"""Which version is in force when, as was known when: against a model that looks at each row by itself."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from registry.desk import FAR, day, move

from model_registry.store import Stage
from model_registry.timeline import (
    Kind,
    Promotion,
    before,
    began,
    current,
    effective,
    ends,
    in_force,
    standing,
    withdrawn,
)

OVERRIDE, BACK = Kind.override, Kind.roll_back


def number(row: Promotion | None) -> int | None:
    return row.version if row else None


@pytest.mark.parametrize(
    ("at", "version"),
    [(day(-1), None), (day(0) - timedelta(microseconds=1), None), (day(0), 1), (day(1), 1), (day(5), 2), (day(9), 2)],
)
def test_effective_is_the_newest_that_had_begun(at: datetime, version: int | None) -> None:
    assert number(effective([move(1, 0), move(2, 5)], at)) == version


def test_of_two_that_begin_together_the_later_recorded_counts() -> None:
    assert number(effective([move(2, 0), move(1, 0), move(3, -1)], day(0))) == 1


def test_a_later_recorded_promotion_of_an_earlier_time_changes_only_the_past() -> None:
    history = [move(1, 0), move(2, 5), move(3, 2)]
    assert [number(effective(history, day(n))) for n in (1, 3, 6)] == [1, 3, 2]
    assert number(current(history, FAR)) == 2


def test_known_at_answers_what_was_known_then() -> None:
    history = [move(1, 0), move(2, 0, recorded_at=day(9))]
    assert [number(effective(history, day(3), day(n))) for n in (-1, 0, 8, 9)] == [None, 1, 1, 2]


def test_known_at_knows_no_later_roll_back() -> None:
    history = [move(1, 0), move(2, 10), move(1, 10, BACK, replaces=2, recorded_at=day(30))]
    assert [number(effective(history, day(20), day(n))) for n in (29, 30)] == [2, 1]


def test_current_is_the_newest_even_when_it_begins_later() -> None:
    assert number(current([move(1, 0), move(2, 50)], day(3))) == 2
    assert current([], day(3)) is None


def test_an_override_ends_and_the_one_before_is_in_force_again() -> None:
    history = [move(1, 0), move(2, 10, OVERRIDE, until=day(20))]
    last = day(20) - timedelta(microseconds=1)
    assert [number(effective(history, at)) for at in (day(9), day(10), last, day(20))] == [1, 2, 2, 1]
    assert [number(current(history, at)) for at in (last, day(20))] == [2, 1]


def test_a_promotion_below_an_override_is_in_force_when_that_ends() -> None:
    history = [move(1, 0), move(2, 10, OVERRIDE, until=day(20)), move(3, 12, recorded_at=day(9))]
    assert [number(effective(history, day(n))) for n in (11, 12, 20)] == [2, 3, 3]


@pytest.mark.parametrize("until", [15, 30])
def test_a_renewal_replaces_the_end_whether_it_is_later_or_earlier(until: int) -> None:
    history = [move(1, 0), move(2, 10, OVERRIDE, until=day(20)), move(2, 12, OVERRIDE, until=day(until))]
    assert ends(history) == [None, day(12), day(until)]
    assert [number(effective(history, day(n))) for n in (11, 12, until - 1, until)] == [2, 2, 2, 1]
    assert [number(current(history, day(n))) for n in (until - 1, until)] == [2, 1]


def test_an_override_of_an_earlier_time_is_no_renewal() -> None:
    history = [move(1, 0), move(2, 10, OVERRIDE, until=day(20)), move(2, 5, OVERRIDE, until=day(7))]
    assert [number(effective(history, day(n))) for n in (4, 6, 8, 11, 21)] == [1, 2, 1, 2, 1]


def test_a_renewal_from_the_same_instant_replaces() -> None:
    history = [move(1, 0), move(2, 10, OVERRIDE, until=day(20)), move(2, 10, OVERRIDE, until=day(12))]
    assert [number(effective(history, day(n))) for n in (11, 12)] == [2, 1]


def test_overrides_of_different_versions_end_on_their_own() -> None:
    history = [move(1, 0), move(2, 10, OVERRIDE, until=day(30)), move(3, 12, OVERRIDE, until=day(20))]
    assert [number(effective(history, day(n))) for n in (11, 12, 20, 30)] == [2, 3, 2, 1]


def test_a_promotion_of_the_same_version_later_does_not_end_the_first() -> None:
    assert ends([move(1, 0), move(1, 10), move(2, 20)]) == [None, None, None]


def test_going_back_twice_goes_back_twice() -> None:
    history = [move(1, 0), move(2, 10), move(3, 20), move(2, 20, BACK, replaces=3)]
    assert number(current(history, FAR)) == 2
    assert began(history, FAR) == day(10)
    history.append(move(1, 10, BACK, replaces=2))
    assert number(current(history, FAR)) == 1
    assert [number(effective(history, day(n))) for n in (5, 15, 25)] == [1, 1, 1]


def test_a_roll_back_takes_out_a_renewed_override() -> None:
    history = [move(1, 0), move(2, 10, OVERRIDE, until=day(20)), move(2, 12, OVERRIDE, until=day(40))]
    assert began(history, day(15)) == day(10)
    history.append(move(1, 10, BACK, replaces=2))
    assert [number(effective(history, day(n))) for n in (11, 15, 45)] == [1, 1, 1]
    assert number(current(history, day(15))) == 1


def test_a_roll_back_may_count_from_before_the_version_began_or_from_after() -> None:
    history = [move(1, 0), move(2, 10)]
    earlier, later = [*history, move(1, 5, BACK, replaces=2)], [*history, move(1, 15, BACK, replaces=2)]
    assert [number(effective(earlier, day(n))) for n in (4, 7, 12, 20)] == [1, 1, 1, 1]
    assert [number(effective(later, day(n))) for n in (4, 12, 15, 20)] == [1, 2, 1, 1]


def test_a_version_that_was_to_begin_tomorrow_can_be_taken_out_twice_over() -> None:
    history = [move(1, 0), move(2, 10), move(3, 99), move(2, 99, BACK, replaces=3), move(1, 10, BACK, replaces=2)]
    assert number(current(history, day(50))) == 1


def test_a_roll_back_brings_back_no_override_that_was_replaced() -> None:
    history = [move(1, 0), move(2, 10), move(3, 11, OVERRIDE, until=day(40)), move(2, 11)]
    assert began(history, day(15)) == day(10)
    after = [*history, move(1, 10, BACK, replaces=2)]
    assert number(current(after, day(15))) == 1
    assert number(effective(after, day(15))) == 1


def test_a_roll_back_from_early_on_passes_over_what_it_does_not_return_to() -> None:
    history = [move(1, 0), move(2, 10), move(3, 20), move(1, 5, BACK, replaces=3)]  # 2 was deleted
    assert [number(effective(history, day(n))) for n in (4, 7, 12, 25)] == [1, 1, 1, 1]
    assert number(current(history, FAR)) == 1


def test_a_roll_back_leaves_what_began_before_it() -> None:
    history = [move(1, 0), move(2, 10), move(3, 20), move(2, 20, BACK, replaces=3)]
    assert ends(history) == [None, None, day(20), None]


def test_a_withdrawn_version_that_is_promoted_anew_is_in_force_from_then_on() -> None:
    history = [move(1, 0), move(2, 10), move(1, 10, BACK, replaces=2), move(2, 30, OVERRIDE, until=day(40))]
    assert [number(effective(history, day(n))) for n in (15, 35, 45)] == [1, 2, 1]
    assert withdrawn(history) == {}
    assert withdrawn(history[:3]) == {2: history[2]}


def test_going_back_to_nothing_leaves_nothing() -> None:
    history = [move(1, 0), move(1, 0, BACK, replaces=1)]
    assert current(history, FAR) is None
    assert effective(history, day(5)) is None
    assert withdrawn(history) == {1: history[1]}
    assert before(history, FAR) == []


def test_a_withdrawn_version_stays_withdrawn_whatever_else_moves() -> None:
    history = [move(1, 0), move(2, 10), move(1, 10, BACK, replaces=2), move(3, 20), move(2, 30, stage=Stage.staging)]
    assert withdrawn(history) == {2: history[2]}
    assert before(history, FAR) == [1]


def test_a_roll_back_without_a_named_victim_withdraws_nobody() -> None:
    assert withdrawn([move(1, 0), move(1, 10, BACK)]) == {}
    assert ends([move(1, 0), move(1, 10, BACK)]) == [None, None]
    assert ends([move(1, 20), move(1, 10, BACK)]) == [day(10), None]


def test_before_lists_the_best_first() -> None:
    history = [move(1, 0), move(2, 10), move(3, 20), move(4, 5), move(5, 30)]
    assert before(history, FAR) == [3, 2, 4, 1]
    assert before([*history, move(3, 40, stage=Stage.archived)], FAR) == [2, 4, 1]
    assert before([*history, move(3, 40, stage=Stage.staging)], FAR) == [3, 2, 4, 1]


def test_before_prefers_the_later_recorded_of_those_that_began_together() -> None:
    assert before([move(1, 0), move(2, 0), move(3, 9)], FAR) == [2, 1]


def test_nobody_returns_to_an_override() -> None:
    history = [move(1, 0), move(2, 10, OVERRIDE, until=day(40)), move(3, 20)]
    assert before(history, day(30)) == [1]
    assert before([], FAR) == []


@pytest.mark.parametrize(
    ("history", "now", "since"),
    [
        ([], 99, None),
        ([move(1, 0)], 99, 0),
        ([move(1, 0), move(2, 10)], 99, 10),
        ([move(1, 0), move(1, 10), move(1, 20)], 99, 0),
        ([move(1, 0), move(2, 10), move(1, 20)], 99, 20),
        ([move(1, 0), move(2, 10, OVERRIDE, until=day(15))], 12, 10),
        ([move(1, 0), move(2, 10, OVERRIDE, until=day(15))], 15, 0),
        ([move(1, 0), move(2, 10, OVERRIDE, until=day(15)), move(1, 30)], 99, 15),
        ([move(1, 50)], 0, 50),
    ],
)
def test_since_when_the_version_in_production_has_been_there(
    history: list[Promotion], now: int, since: int | None
) -> None:
    assert began(history, day(now)) == (None if since is None else day(since))


def test_began_looks_at_production_alone() -> None:
    assert began([move(1, 0), move(2, 5, stage=Stage.staging), move(1, 10)], FAR) == day(0)


def test_where_the_aliases_should_stand() -> None:
    staging, archived = Stage.staging, Stage.archived
    history = [move(1, 0), move(2, 1, stage=staging), move(3, 2, stage=staging)]
    assert [standing(history, stage, FAR) for stage in Stage] == [3, 1, None]
    history.append(move(3, 3))  # from staging to production: the other one waits still
    assert [standing(history, stage, FAR) for stage in Stage] == [2, 3, None]
    history += [move(1, 4, stage=archived), move(2, 4, stage=archived)]
    assert [standing(history, stage, FAR) for stage in Stage] == [None, 3, 2]
    history.append(move(2, 5))
    assert [standing(history, stage, FAR) for stage in Stage] == [None, 2, 1]
    assert [standing([], stage, FAR) for stage in Stage] == [None, None, None]


def test_every_stage_as_it_was_and_as_was_known() -> None:
    staging, archived = Stage.staging, Stage.archived
    history = [
        move(1, 0),
        move(2, 10, Kind.challenge, stage=staging),
        move(2, 12),
        move(3, 14, OVERRIDE, until=day(16)),
        move(1, 12, BACK, replaces=2, recorded_at=day(20)),
        move(2, 21, Kind.archive, stage=archived),
    ]

    def told(stage: Stage, *days: int, known: int | None = None) -> list[int | None]:
        known_at = None if known is None else day(known)
        return [number(in_force(history, stage, day(n), known_at)) for n in days]

    assert told(Stage.production, -1, 0, 12, 14, 16, known=19) == [None, 1, 2, 3, 2]
    assert told(Stage.production, -1, 0, 12, 14, 16) == [None, 1, 1, 1, 1]
    assert told(staging, 9, 10, 11, 12) == [None, 2, 2, None]
    assert told(staging, 11, 12, known=11) == [2, 2]
    assert told(archived, 20, 21) == [None, 2]
    assert told(archived, 30, known=20) == [None]
