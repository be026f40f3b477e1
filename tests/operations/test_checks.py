"""The rules by which a version is judged, and the pictures that it is judged by."""

from collections import Counter

import pytest

from model.images import read_pixels
from model.labels import LABELS
from operations import sample
from operations.checks import chance_of_losing, is_well_formed, judge_accuracy, judge_latency

BOTH, OLD, NEW, NONE = (True, True), (True, False), (False, True), (False, False)


def answer(**members):
    scores = [{"label": label, "score": 0.1} for label in LABELS]
    return {"label": LABELS[0], "score": 0.1, "in_scope": True, "scores": scores} | members


@pytest.mark.parametrize(
    ("right", "passed"),
    [
        ([BOTH] * 200, True),
        ([BOTH] * 180 + [OLD] * 10 + [NEW] * 10, True),
        ([BOTH] * 196 + [OLD] * 4, True),  # chance alone would do this once in sixteen times
        ([BOTH] * 195 + [OLD] * 5, False),  # once in thirty-two
        ([BOTH] * 180 + [OLD] * 15 + [NEW] * 5, False),
        ([BOTH] * 180 + [OLD] * 5 + [NEW] * 15, True),
        ([NONE] * 200, True),  # no worse; the golden pictures are for this
    ],
)
def test_fewer_right_is_refused_when_chance_does_not_explain_it(right, passed):
    assert judge_accuracy(right).passed is passed


def test_the_chance_is_a_sign_tests():
    assert chance_of_losing(5, 0) == pytest.approx(1 / 32)
    assert chance_of_losing(0, 0) == 1
    assert chance_of_losing(9, 1) == pytest.approx(11 / 1024)


def test_only_a_version_much_slower_is_refused():
    assert judge_latency(0.010, 0.030).passed
    refused = judge_latency(0.010, 0.0301)
    assert not refused.passed
    assert refused.may_be_forced


@pytest.mark.parametrize(
    "wrong",
    [
        {"scores": None},
        {"scores": [{"label": label, "score": 0.1} for label in LABELS[:9]]},
        {"scores": [{"label": label, "score": 0.2} for label in LABELS]},
        {"scores": [{"label": label, "score": index / 45} for index, label in enumerate(LABELS)]},
        {"label": LABELS[1]},
        {"in_scope": None},
    ],
)
def test_an_answer_of_another_form_is_noticed(wrong):
    assert is_well_formed(answer())
    assert not is_well_formed(answer(**wrong))


def test_the_sample_has_twenty_different_pictures_of_each_class():
    pictures = sample.pictures()
    assert Counter(label for _, label in pictures) == dict.fromkeys(LABELS, 20)
    assert len({picture for picture, _ in pictures}) == 200
    assert read_pixels(pictures[0][0], 32, 32).shape == (3, 32, 32)
