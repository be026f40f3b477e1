import numpy as np
import pytest
import torch

from training.metrics import auroc, calibration_error, fit_calibration, measure, reliability


def test_figures_of_a_small_case_worked_by_hand():
    logits = torch.full((4, 10), -10.0)
    logits[[0, 1, 2, 3], [0, 0, 1, 2]] = 10.0
    metrics = measure(logits, torch.tensor([0, 1, 1, 2]), refused=np.array([True, False, False, False]))
    assert metrics.accuracy == 0.75
    assert metrics.f1["airplane"] == pytest.approx(2 / 3)
    assert metrics.f1["automobile"] == pytest.approx(2 / 3)
    assert metrics.f1["bird"] == 1.0
    assert metrics.f1["cat"] == 0.0
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 1) / 10)
    assert np.array(metrics.confusion)[1].tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert metrics.refused == 0.25


def drawn(temperature, count=20_000):
    """Logits whose probabilities at `temperature` are true: labels are drawn from them."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(count, 10, generator=generator)
    labels = torch.multinomial((logits / temperature).softmax(1), 1, generator=generator).squeeze(1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(temperature):
    fitted = fit_calibration(*drawn(temperature))
    assert fitted["temperature"] == pytest.approx(temperature, rel=0.05)
    assert fitted["offsets"] == pytest.approx([0] * 10, abs=0.1)


def test_offsets_put_right_what_is_named_too_often():
    logits, labels = drawn(1.0)
    offsets = fit_calibration(logits + torch.tensor([1.0] + 9 * [0.0]), labels)["offsets"]
    assert np.array(offsets[1:]) - offsets[0] == pytest.approx(1, abs=0.2)


def test_true_probabilities_have_no_calibration_error_and_overconfident_ones_have():
    logits, labels = drawn(1.0)
    assert calibration_error(reliability(logits, labels), len(labels)) < 0.015
    assert calibration_error(reliability(logits * 4, labels), len(labels)) > 0.1


def test_bins_hold_every_picture_and_rise_in_confidence():
    bins = reliability(*drawn(1.0))
    assert sum(count for count, _, _ in bins) == 20_000
    assert max(count for count, _, _ in bins) - min(count for count, _, _ in bins) <= 1
    assert [confidence for _, confidence, _ in bins] == sorted(confidence for _, confidence, _ in bins)


def test_auroc_is_the_share_of_pairs_in_order():
    assert auroc(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 0.0])) == 0.75
