"""Modes without Hessians, and both ends of a spectrum, of landscapes that have closed forms."""

import numpy as np
import pytest

from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.warmup.polish import curvatures, polish

D = 200


class Quadratic:
    """U = (x − m)ᵀ A (x − m)/2."""

    def __init__(self, matrix, mode):
        self.matrix, self.mode = matrix, mode

    def gradient(self, positions):
        away = positions - self.mode
        slopes = away @ self.matrix
        return (away * slopes).sum(1) / 2, slopes

    def products(self, positions, directions):
        return directions @ self.matrix


class Funnel:
    """U = n log τ + Σ a²/2τ² of (log τ, a): without data, it falls as τ does."""

    def gradient(self, positions):
        log_tau, a = positions[:, :1], positions[:, 1:]
        precision = np.exp(-2 * log_tau)
        squares = (a**2 * precision).sum(1, keepdims=True)
        n = a.shape[1]
        slopes = np.concatenate([n - squares, a * precision], axis=1)
        return (n * log_tau + squares / 2)[:, 0], slopes


class Walled(Quadratic):
    """Nothing is known of U below a wall, close by the mode."""

    hits = 0

    def gradient(self, positions):
        values, slopes = super().gradient(positions)
        beyond = (positions < self.mode - 0.1).any(1)
        self.hits += beyond.sum()
        return np.where(beyond, np.nan, values), slopes


def with_spectrum(eigenvalues, seed=0):
    """A symmetric matrix that has them, turned at random."""
    d = len(eigenvalues)
    turned, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))
    return (turned * eigenvalues) @ turned.T


# -- modes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("condition", [10.0, 1e4])
def test_the_mode_of_a_correlated_quadratic_is_found(condition, seed):
    rng = np.random.default_rng(seed)
    matrix = with_spectrum(np.geomspace(1, condition, D), seed)
    mode = rng.normal(size=D)
    start = rng.multivariate_normal(mode, np.linalg.inv(matrix))
    scale = 1 / np.sqrt(np.diag(matrix))
    found = polish(Quadratic(matrix, mode), start, scale)
    assert found.found
    away = found.position - mode
    assert found.potential == pytest.approx(away @ matrix @ away / 2, abs=1e-9)
    assert 0 <= found.potential < 1  # nat, of 100 at the start


def test_a_wall_is_turned_back_from():
    precision = np.geomspace(1, 100, D)
    start = np.abs(np.random.default_rng(0).normal(size=D)) / np.sqrt(precision)
    walled = Walled(np.diag(precision), np.zeros(D))
    found = polish(walled, start, np.ones(D))
    assert walled.hits
    assert found.found
    assert found.potential < 1


@pytest.mark.parametrize("n", [20, 1000])
def test_a_funnel_is_no_mode(n):
    rng = np.random.default_rng(0)
    start = np.append(0.0, rng.normal(size=n))
    found = polish(Funnel(), start, np.append(0.1, np.ones(n)))
    assert not found.found


# -- both ends of a spectrum ---------------------------------------------------------------------


def ends_of(matrix, factor=None, vectors=32, seed=0):
    d = len(matrix)
    coordinates = Coordinates(np.full(d, 0.3), np.ones(d) if factor is None else factor)
    landscape = Quadratic(matrix, np.zeros(d))
    return curvatures(landscape, coordinates, np.ones((1, d)), np.random.default_rng(seed), vectors)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("lowest", [-1.0, 0.2, 1.0])
def test_both_ends_of_a_spectrum_are_seen(lowest, seed):
    """Ritz values lie within the eigenvalues, and the extreme ones are near them."""
    eigenvalues = np.append(lowest, np.geomspace(1.5, 20, D - 1))
    least, largest, *_ = ends_of(with_spectrum(eigenvalues, seed), seed=seed)
    assert lowest <= least + 1e-9
    assert largest <= 20 + 1e-9
    assert least == pytest.approx(lowest, rel=0.1)
    assert largest == pytest.approx(20, rel=0.1)


def test_a_glance_tells_curvature_that_turns_down():
    """As that of a network does, in a quarter of all directions here."""
    matrix = with_spectrum(np.linspace(-3, 10, D))
    seen = ends_of(matrix, vectors=12)
    assert -3 <= seen.least < -0.1 * seen.largest
    assert 8 < seen.largest <= 10
    # The weight of a random vector in a quarter of D = 200 directions has an error of .04.
    assert seen.downward == pytest.approx(3 / 13, abs=0.16)
    one = with_spectrum(np.append(-3.0, np.linspace(1, 10, D - 1)))
    assert ends_of(one, vectors=12).downward < 0.05


def test_the_spectrum_is_that_of_the_samplers_coordinates():
    rng = np.random.default_rng(0)
    factor = rng.uniform(0.5, 2, 30)
    matrix = with_spectrum(np.geomspace(1, 5, 30))
    expected = np.linalg.eigvalsh(factor[:, None] * matrix * factor)[[0, -1]]
    np.testing.assert_allclose(ends_of(matrix, factor)[:2], expected, rtol=1e-6)


def test_there_is_no_more_to_see_than_there_are_directions():
    np.testing.assert_allclose(ends_of(np.eye(D))[:3], (1, 1, 0), atol=1e-9)
    matrix = with_spectrum(np.array([-2.0, 0.0, 1.0]))
    np.testing.assert_allclose(ends_of(matrix)[:2], (-2, 1), atol=1e-9)


def test_a_curvature_that_is_not_finite_is_told():
    matrix = np.eye(5)
    matrix[2, 2] = np.inf
    with np.errstate(invalid="ignore"):
        seen = ends_of(matrix)
    assert np.isnan([seen.least, seen.largest, seen.downward, seen.left]).all()
    assert len(seen.apart.curvatures) == 0


def test_directions_that_are_apart_are_found_at_both_ends():
    eigenvalues = np.concatenate([[1e-3, 0.05], np.linspace(0.5, 2, D - 3), [30.0]])
    matrix = with_spectrum(eigenvalues)
    seen = ends_of(matrix)
    np.testing.assert_allclose(seen.apart.curvatures, [1e-3, 0.05, 30.0], rtol=1e-6)
    assert 0.5 - 1e-9 <= seen.left < 0.55
    assert seen.least == seen.apart.curvatures[0]
    turned = seen.apart.directions @ matrix
    expected = seen.apart.curvatures[:, None] * seen.apart.directions
    np.testing.assert_allclose(turned, expected, atol=1e-4)


def test_a_direction_that_is_not_yet_found_is_not_apart():
    """A continuum down to 0: every Ritz vector of the few at hand is a mixture."""
    seen = ends_of(with_spectrum(np.linspace(0.01, 3, D)), vectors=5)
    assert seen.least < 0.25
    assert len(seen.apart.curvatures) == 0
    assert seen.left == seen.least


def test_the_spectrum_is_that_of_the_mean_over_positions():
    class Growing(Quadratic):
        def products(self, positions, directions):
            return positions[:, :1] * directions

    landscape = Growing(np.eye(3), np.zeros(3))
    positions = np.outer([1.0, 3.0], np.ones(3))
    scaled = Coordinates(np.zeros(3), np.ones(3))
    seen = curvatures(landscape, scaled, positions, np.random.default_rng(0), 8)
    np.testing.assert_allclose([seen.least, seen.largest], 2.0)
