from math import nan

import pytest

from training.plateau import best_epoch, is_over, reductions


@pytest.mark.parametrize(
    ("losses", "best"),
    [([3.0], 1), ([3.0, 2.0, 2.5], 2), ([3.0, 2.0, 2.0], 2), ([nan, 5.0], 2), ([5.0, nan], 1), ([nan, nan], 1)],
)
def test_the_best_epoch_is_the_first_with_the_least_loss(losses, best):
    assert best_epoch(losses) == best


@pytest.mark.parametrize(
    ("losses", "over"), [([], False), ([2.0, 1.0, 1.5], False), ([2.0, 1.0, 1.5, 1.0], True), ([nan, nan, nan], True)]
)
def test_a_run_is_over_when_the_loss_has_not_fallen_for_so_many_epochs(losses, over):
    assert is_over(losses, patience=2) is over


@pytest.mark.parametrize(
    ("losses", "count"),
    [
        ([], 0),
        ([3.0, 2.0, 1.0], 0),
        ([1.0, 2.0], 0),
        ([1.0, 2.0, 2.0], 1),
        ([1.0, 2.0, 0.5, 2.0, 2.0], 1),
        ([1.0, 2.0, 2.0, 2.0, 2.0, 0.5, 1.0, 1.0], 3),
        ([1.0, nan, nan], 1),
    ],
)
def test_the_rate_is_reduced_once_for_every_so_many_epochs_without_progress(losses, count):
    assert reductions(losses, patience=2) == count
