"""The spec's section `behaviour`: what means nothing, or does not fit the features, is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from jobs.spec import Feature, FeatureKind
from jobs.spec_behaviour import Behaviour, faults

FEATURES = {
    "colour": Feature(kind=FeatureKind.category),
    "price": Feature(kind=FeatureKind.number),
    "weight": Feature(kind=FeatureKind.number),
    "wrapped": Feature(kind=FeatureKind.flag),
}


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"directions": [{"feature": "price"}]}, "needs add or times, and not both"),
        ({"directions": [{"feature": "price", "add": 1, "times": 2}]}, "needs add or times, and not both"),
        ({"directions": [{"feature": "price", "times": 1}]}, "must change the feature"),
        ({"directions": [{"feature": "price", "add": 1, "tolerance": 1}]}, "tolerance goes with"),
        ({"directions": [{"feature": "price", "add": float("inf")}]}, "finite"),
        ({"directions": [{"feature": "price", "add": 1, "share": 1.1}]}, "less than or equal to 1"),
        ({"invariances": [{"feature": "price", "at_most": -1}]}, "greater than or equal to 0"),
        ({"invariances": [{"feature": "price"}]}, "at_most"),
        ({"mode": "loud"}, "enforce"),
        ({"rows": 0}, "greater than or equal to 1"),
        ({"probes": []}, "Extra inputs"),
    ],
)
def test_a_section_that_means_nothing_is_refused(section: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Behaviour.model_validate(section)


def test_a_section_that_does_not_fit_the_features_is_told_so() -> None:
    directions = [{"feature": "colour", "add": 1}, {"feature": "smell", "add": 1}, {"feature": "price", "add": 1}]
    invariances = [{"feature": "colour", "at_most": 1}, {"feature": "taste", "at_most": 1}]
    behaviour = Behaviour.model_validate({"directions": directions, "invariances": invariances})
    there = "there are colour, price, weight, wrapped"
    assert faults(behaviour, FEATURES) == [
        "behaviour.directions[0]: colour is a category, and a direction needs a number",
        f"behaviour.directions[1]: there is no feature smell; {there}",
        f"behaviour.invariances[1]: there is no feature taste; {there}",
    ]
    assert faults(Behaviour(), FEATURES) == []
