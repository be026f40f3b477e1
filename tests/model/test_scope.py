"""Whether a picture shows one of the ten, by how many pixels it has."""

import numpy as np
import pytest

from model.classifier import class_logits
from model.labels import NONE_COLUMN
from model.manifest import Manifest
from model.scope import Scope, scope_score

SCOPE = Scope(0.25, (32, 64), ((4.0, 5.0, 6.0), (2.0, 4.0, 6.0)))


def outputs_of(*scores):
    """Outputs of the ten classes, all alike, whose scope scores these are."""
    return np.array(scores)[:, None] - np.log(10) + np.zeros((len(scores), 10))


def test_the_output_for_none_of_the_ten_lowers_the_scope_and_no_score():
    outputs = np.random.default_rng(0).normal(size=(1, 11)).astype(np.float32)
    raised = outputs.copy()
    raised[0, NONE_COLUMN] += 3
    assert scope_score(raised) == pytest.approx(scope_score(outputs) - 3, abs=1e-5)
    assert np.array_equal(class_logits(raised), class_logits(outputs))


@pytest.mark.parametrize(("side", "score"), [(8, 4.5), (32, 4.5), (40, 4.125), (48, 3.75), (64, 3.0), (128, 3.0)])
def test_rows_are_interpolated_between_sides_and_not_beyond_them(side, score):
    assert SCOPE.ranks(outputs_of(score), [side]) == pytest.approx([0.25])


def test_below_the_threshold_a_picture_is_refused():
    assert SCOPE.refuses(outputs_of(2.9, 3.1, 3.1), [64, 64, 32]).tolist() == [True, False, True]


@pytest.mark.parametrize(
    "change",
    [{"sides": []}, {"sides": [32]}, {"quantiles": [[0.0, 1.0], [0.0]]}, {"quantiles": [0.0, 1.0]}, {"threshold": ...}],
)
def test_what_lacks_something_is_refused(change):
    document = {"threshold": 0.1, "sides": [32, 64], "quantiles": [[0.0, 1.0], [0.0, 1.0]]} | change
    document = {name: value for name, value in document.items() if value is not ...}
    with pytest.raises((KeyError, TypeError, ValueError)):
        Scope.of(document)


def test_one_row_without_a_side_is_for_pictures_of_any_size():
    """As the manifests of earlier runs have it."""
    scope = Scope.of({"threshold": 0.25, "quantiles": [2.0, 4.0, 6.0]})
    assert scope.ranks(outputs_of(3.0, 3.0), [8, 128]) == pytest.approx([0.25, 0.25])


def test_small_pictures_need_a_higher_score_than_photographs():
    """The served network finds something of the ten in anything that has few enough pixels."""
    scope = Manifest.read().scope
    outputs = outputs_of(*np.linspace(-10, 10, 201))
    least = [(~scope.refuses(outputs, [side] * len(outputs))).argmax() for side in (24, 32, 48, 64)]
    assert least == sorted(least, reverse=True)
    assert len(set(least)) == len(least)
