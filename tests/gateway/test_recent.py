"""What the status page counts, by a clock that the test moves."""

import pytest

from gateway.drift import LABELS, Expectation
from gateway.recent import SLOT_SECONDS, SLOTS, Recent, drift, total
from gateway.timelines import HEIGHT, WIDTH, timeline


class Clock:
    def __init__(self):
        self.seconds = 1000.0 * SLOT_SECONDS

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def recent(clock):
    return Recent(clock)


def test_events_fall_into_the_slot_of_their_time_and_are_forgotten_in_the_end(recent, clock):
    recent.count_request(200, 0.01)
    clock.seconds += 2 * SLOT_SECONDS
    recent.count_request(503, 0.01)
    slots = recent.slots()
    assert len(slots) == SLOTS
    assert [(slot.requests, slot.failures) for slot in slots[-3:]] == [(1, 0), (0, 0), (1, 1)]
    clock.seconds += (SLOTS - 2) * SLOT_SECONDS
    assert total(recent.slots()).requests == 1  # the first is older than the window
    clock.seconds += 2 * SLOT_SECONDS
    assert total(recent.slots()).requests == 0


def test_what_is_given_out_no_longer_changes(recent):
    recent.count_problem("too-large")
    slots = recent.slots()
    recent.count_problem("too-large")
    assert total(slots).problems == {"too-large": 1}


def test_quantiles_are_true_to_a_few_percent(recent):
    for milliseconds in range(1, 1001):
        recent.count_request(200, milliseconds / 1000)
    whole = total(recent.slots())
    for quantile in (0.5, 0.95, 0.99):
        assert whole.seconds(quantile) == pytest.approx(quantile, rel=0.03)
    assert total(Recent().slots()).seconds(0.5) is None
    recent.count_request(200, 0.0)  # a clock may be too coarse to see it
    assert total(recent.slots()).times.total() == 1001


def test_drift_is_how_far_answers_are_from_validation(recent):
    shares = dict.fromkeys(LABELS, 0.0) | {"cat": 0.5, "dog": 0.5}
    expectation = Expectation(shares, score=0.9, confidences=(0.9,), out_of_scope_share=0.1)
    assert drift(total(recent.slots()), expectation) is None
    recent.count_answer("cat", 0.6, in_scope=False)
    recent.count_answer("ship", 0.8, in_scope=True)
    drifted = drift(total(recent.slots()), expectation)
    assert drifted
    assert drifted.labels == pytest.approx(0.5)
    assert drifted.score == pytest.approx(-0.2)
    assert drifted.out_of_scope == pytest.approx(0.4)


def test_the_share_of_validation_scores_up_to_one_rises_from_none_to_all():
    expectation = Expectation({}, score=0.7, confidences=(0.5, 0.8, 0.8), out_of_scope_share=0.0)
    assert expectation.share_up_to(0.25) == pytest.approx(1 / 12)
    assert expectation.share_up_to(0.5) == pytest.approx(1 / 6)
    assert expectation.share_up_to(0.8) == pytest.approx(5 / 6)
    assert expectation.share_up_to(1.0) == 1
    rising = [expectation.share_up_to(score / 20) for score in range(21)]
    assert rising == sorted(rising)


def test_a_timeline_has_gaps_where_nothing_was_measured():
    [line] = timeline({"a": [0.0, None, 10.0, 5.0, None]}, least_top=10).lines
    step = WIDTH / 4
    assert line.path == (
        f"M0.0,{HEIGHT:.1f}L0.0,{HEIGHT:.1f}"  # alone: a dot
        f"M{2 * step:.1f},0.0L{3 * step:.1f},{HEIGHT / 2:.1f}"
    )
    assert line.last is None


def test_a_timelines_axis_reaches_over_all_values():
    assert [value for _, value in timeline({"a": [0.3, 130.0]}, least_top=10).ticks] == [0, 100, 200]
    assert [value for _, value in timeline({"a": [], "b": []}, least_top=10).ticks] == [0, 5, 10]
