"""Coordinates turned to directions that are apart in curvature, and to axes of their own noise."""

import numpy as np
import pytest

from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.warmup.polish import Apart
from pymc_sgmcmc.warmup.turning import along, have_in_common, uncorrelated

D = 40
SCALED = Coordinates(np.arange(D) / D, np.geomspace(0.1, 10, D))


def apart(k=3):
    directions, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(D, k)))
    return Apart(directions.T, np.geomspace(1e-3, 100, k))


def test_what_was_apart_is_so_no_longer():
    found = apart()
    # Curvature 1 but along the directions, in the scaled coordinates.
    hessian = np.eye(D) + (found.directions.T * (found.curvatures - 1)) @ found.directions
    of_position = hessian / np.outer(SCALED.factor, SCALED.factor)
    coordinates, numbers = along(SCALED, found)
    np.testing.assert_allclose(coordinates.curvature(of_position), np.eye(D), atol=1e-9)
    assert len(numbers) == 3


def test_where_nothing_is_apart_there_are_no_axes():
    coordinates, numbers = along(SCALED, apart(0))
    assert coordinates is SCALED
    assert len(numbers) == 0


@pytest.mark.parametrize("with_axes", [True, False])
def test_axes_that_have_no_noise_in_common(with_axes):
    coordinates, numbers = along(SCALED, apart()) if with_axes else (SCALED, np.arange(3))
    rng = np.random.default_rng(1)
    gradients = rng.normal(size=(300, D)) @ rng.normal(size=(D, D))
    noise = coordinates.gradient(gradients)
    turned, found = uncorrelated(coordinates, numbers, noise)
    np.testing.assert_allclose(turned.gradient(gradients), found, rtol=1e-8, atol=1e-8)
    covariance = found[:, numbers].T @ found[:, numbers]
    np.testing.assert_allclose(
        covariance - np.diag(np.diag(covariance)), 0, atol=1e-9 * covariance.max()
    )
    others = np.setdiff1d(np.arange(D), numbers)
    np.testing.assert_array_equal(found[:, others], noise[:, others])
    # The law of z stays what it was: a rotation of axes whose curvature is 1.
    z = rng.normal(size=(5, D))
    lengths = np.linalg.norm(turned.of(coordinates.position(z)), axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(z, axis=1), rtol=1e-9)
    assert len(turned.axes.left) % 8 == 0


def test_noise_in_common_is_told_from_accidents_of_a_sample():
    rng = np.random.default_rng(0)
    alone = rng.normal(size=(512, 30)) * np.geomspace(1e-3, 1e3, 30)
    assert not have_in_common(alone)
    assert not have_in_common(alone[:, :1])
    assert not have_in_common(alone[:, :0])
    assert not have_in_common(np.zeros((1, 3)))
    shared = alone.copy()
    shared[:, 0] += 1e-6 * shared[:, 1] * 1e3
    shared[:, 2] = shared[:, 3] + rng.normal(size=512) * shared[:, 3].std()
    assert have_in_common(shared)
