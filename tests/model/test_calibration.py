import numpy as np
import pytest

from model.calibration import Calibration

OFFSETS = tuple(np.linspace(-1, 1, 10))


@pytest.mark.parametrize("columns", [10, 11])
@pytest.mark.parametrize(("side", "share"), [(8, 1.0), (32, 1.0), (40, 0.5), (48, 0.0), (128, 0.0)])
def test_offsets_are_for_small_pictures_and_for_the_ten_classes(columns, side, share):
    outputs = np.random.default_rng(0).normal(size=(2, columns)).astype(np.float32)
    before = outputs.copy()
    calibrated = Calibration(2.0, OFFSETS).applied(outputs, [side, 64])
    assert np.array_equal(outputs, before)
    added = calibrated - outputs / 2
    assert added[0, :10] == pytest.approx(share * np.array(OFFSETS), abs=1e-6)
    assert not added[0, 10:].any()
    assert not added[1].any()


def test_a_temperature_alone_is_enough():
    """As the manifests of earlier runs have it."""
    assert Calibration.of({"temperature": 2.0}) == Calibration(2.0, (0.0,) * 10)


@pytest.mark.parametrize("document", [{}, {"temperature": 1.0, "offsets": [0.0]}, {"temperature": 1.0, "offsets": 3}])
def test_what_lacks_something_is_refused(document):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Calibration.of(document)
