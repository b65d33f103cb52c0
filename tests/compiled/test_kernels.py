"""The kernels beside plain NumPy, and their compilation where nothing can be kept on disk."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.compiled.columns import take_steps
from jobs.compiled.form import STEPS, Step
from jobs.compiled.kernels import numbers
from jobs.compiled.kernels.compiler import kernel
from jobs.compiled.kernels.numbers import bin_numbers, find_numbers

STRANGE = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, 1e300, -1.0, 0.1, np.float32(0.1)])


def test_the_kinds_of_steps_are_in_the_order_of_the_kernel() -> None:
    assert [getattr(numbers, name.upper()) for name in STEPS] == list(range(len(STEPS)))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("single", [False, True])
def test_bins_are_those_of_a_sorted_search(kind: type, single: bool) -> None:
    rng = np.random.default_rng(0)
    for size in (0, 1, 2, 3, 7, 8, 100, 254):
        thresholds = np.unique(rng.choice(np.append(STRANGE[1:], rng.normal(size=300)), size))
        values = np.concatenate([STRANGE, thresholds, rng.normal(size=2500)])
        out = np.empty(len(values), kind)
        null = np.iinfo(kind).max
        assert bin_numbers(values, thresholds, single, kind(null), out) == 1
        with np.errstate(over="ignore"):
            used = values.astype(np.float32).astype(np.float64) if single else values
        wanted = np.where(np.isnan(used), null, np.searchsorted(thresholds, used))
        np.testing.assert_array_equal(out, wanted)


def test_steps_round_as_numpy_does_and_tell_which_of_them_refuses() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([STRANGE, rng.normal(size=5000) * 1e3])
    a, b = 0.1, 7.3
    with np.errstate(all="ignore"):
        wanted = {
            "subtract": values - a,
            "add": values + a,
            "multiply": values * a,
            "divide": values / a,
            "clip": np.clip(values, a, b),
            "fill": np.where(np.isnan(values), a, values),
            "replace": np.where(values == a, b, values),
            "is_null": np.isnan(values),
            "is": values == a,
        }
    for name, expected in wanted.items():
        found, bad = take_steps(values, (Step(name, (a, b)[: STEPS[name]]),))
        np.testing.assert_array_equal(found, expected, err_msg=name)
        assert bad is None
    for name, good in {
        "refuse_null": [np.inf, 1e300],
        "refuse_infinite": [np.nan, 1e300],
        "refuse_large": [np.nan, 3e38],
    }.items():
        refusing = (Step("add", (0.0,)), Step(name))
        assert take_steps(np.array(good), refusing)[1] is None
        bad_value = {"refuse_null": np.nan, "refuse_infinite": -np.inf, "refuse_large": 3.5e38}[name]
        assert take_steps(np.array([*good * 3000, bad_value]), refusing)[1] == Step(name)


def test_numbers_are_found_by_equality() -> None:
    keys = np.array([-np.inf, -1.0, 0.0, 0.1])
    codes = np.empty(len(STRANGE), np.int32)
    find_numbers(STRANGE, keys, codes)
    assert codes.tolist() == [4, 5, 0, 2, 2, 5, 5, 1, 3, 5]


def test_a_kernel_compiles_where_nothing_can_be_kept() -> None:
    scope: dict[str, object] = {}
    exec("def twice(x):\n    return 2 * x", scope)  # of no file, as if its folder could not be written to
    assert kernel("int64(int64)")(scope["twice"])(21) == 42
    with pytest.raises(Exception, match=r"Failed in nopython"):
        kernel("int64(int64)")(lambda x: x.nothing)
