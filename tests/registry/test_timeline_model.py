"""The timeline against a simple model that looks at every row by itself."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from registry.desk import FAR, day, move
from registry.simple_model import simply_current, simply_effective, simply_withdrawn

from model_registry.timeline import (
    Kind,
    Promotion,
    before,
    began,
    current,
    effective,
    withdrawn,
)

OVERRIDE, BACK = Kind.override, Kind.roll_back


def number(row: Promotion | None) -> int | None:
    return row.version if row else None


DAYS = st.integers(0, 12)


@st.composite
def histories(draw: st.DrawFn) -> list[Promotion]:
    rows: list[Promotion] = []
    for order in range(draw(st.integers(0, 9))):
        kind = draw(st.sampled_from([Kind.promotion, Kind.promotion, OVERRIDE, BACK]))
        at, version = draw(DAYS), draw(st.integers(1, 4))
        until = day(at + draw(st.integers(1, 6))) if kind is OVERRIDE else None
        replaces = draw(st.integers(1, 4)) if kind is BACK else None
        rows.append(move(version, at, kind, until=until, replaces=replaces, recorded_at=day(order)))
    return rows


@given(rows=histories(), at=DAYS, known_at=st.none() | DAYS)
def test_effective_is_what_the_simple_model_says(rows: list[Promotion], at: int, known_at: int | None) -> None:
    known = None if known_at is None else day(known_at)
    assert effective(rows, day(at), known) == simply_effective(rows, day(at), known)


@given(rows=histories(), now=DAYS)
def test_current_is_what_the_simple_model_says(rows: list[Promotion], now: int) -> None:
    assert current(rows, day(now)) == simply_current(rows, day(now))


@given(rows=histories())
def test_withdrawn_is_what_the_simple_model_says(rows: list[Promotion]) -> None:
    assert withdrawn(rows).keys() == simply_withdrawn(rows)


@given(rows=histories())
def test_in_the_end_what_is_current_is_what_is_effective(rows: list[Promotion]) -> None:
    assert current(rows, FAR) == effective(rows, FAR)


@given(rows=histories(), now=DAYS)
def test_what_began_has_been_there_without_a_break(rows: list[Promotion], now: int) -> None:
    newest, start = current(rows, day(now)), began(rows, day(now))
    if newest is None:
        assert start is None
        return
    assert start is not None
    instants = [day(n / 2) for n in range(-2, 40)]
    held = [number(effective(rows, at)) for at in instants if start <= at < newest.effective_from]
    assert set(held) <= {newest.version}
    ahead = effective(rows, start - timedelta(microseconds=1))
    assert number(ahead) != newest.version or start == newest.effective_from


@given(rows=histories(), now=DAYS)
def test_a_roll_back_by_the_rules_always_takes_effect(rows: list[Promotion], now: int) -> None:
    newest, candidates = current(rows, day(now)), before(rows, day(now))
    if newest is None or not candidates:
        return
    start = began(rows, day(now))
    assert start is not None
    after = [*rows, move(candidates[0], kind=BACK, effective_from=start, replaces=newest.version, recorded_at=day(99))]
    assert number(current(after, day(now))) == candidates[0]
    assert newest.version in withdrawn(after)
    assert newest.version not in before(after, day(now))
    assert all(number(effective(after, day(n / 2))) != newest.version for n in range(40) if day(n / 2) >= start)
