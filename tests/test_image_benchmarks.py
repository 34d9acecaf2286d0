"""How predictions are held against those of full-batch HMC."""

import os

import numpy as np
import pytest

from benchmarks import hmc_reference
from benchmarks.networks.image_sets import Images, load

needs_data = pytest.mark.skipif(
    "PYMC_SGMCMC_DATA" not in os.environ, reason="PYMC_SGMCMC_DATA names no folder of images"
)


def test_agreement_and_total_variation():
    p = np.array([[0.5, 0.5, 0.0], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0]])
    q = np.array([[0.6, 0.4, 0.0], [0.2, 0.5, 0.3], [0.0, 0.0, 1.0]])
    assert hmc_reference.agreement(p, q) == pytest.approx(1 / 3)
    assert hmc_reference.total_variation(p, q) == pytest.approx((0.1 + 0.3 + 1) / 3)


def test_bins_have_as_many_rows_each():
    """Rows that are right as often as they are confident are calibrated."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 40_000)
    p = np.stack([confidence, 1 - confidence], -1)
    y = (rng.uniform(size=len(p)) > confidence).astype(int)
    bins = hmc_reference.bins_of_equal_size(p, y)
    assert len(bins) == 8
    expected = 0.5 + (np.arange(8) + 0.5) / 16  # confidences are uniform, and so are the bins
    np.testing.assert_allclose([c for c, _ in bins], expected, atol=0.01)
    error = np.sqrt(0.25 / 5_000)  # of a bin's accuracy, at most
    assert hmc_reference.calibration(p, y) < 2 * error
    assert hmc_reference.calibration(p, 1 - y) > 0.3


def test_half_images_are_means_of_squares():
    x = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    half = Images(x, np.zeros(2, int), x, np.zeros(2, int), x).halved().X
    assert half.shape == (2, 2, 3, 3)
    assert half.dtype == np.uint8
    assert half[0, 0, 0, 0] == round(x[0, :2, :2, 0].mean())


@needs_data
def test_the_reference_has_the_scores_that_are_known():
    found = hmc_reference.check()
    assert found["error"] == pytest.approx(8.56)
    assert found["nll"] == pytest.approx(0.277, abs=5e-4)
    assert found["agreement"] == 1
    assert found["total_variation"] == 0


@needs_data
def test_images_of_the_subset_are_those_of_the_reference():
    """By their classes: in another order one in ten would agree."""
    index = hmc_reference.read("cifar10_subset.npz")["index_test"]
    _, y = hmc_reference.reference(index)
    np.testing.assert_array_equal(y, load("cifar10").y_test)
