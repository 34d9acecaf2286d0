"""θ = μ + L z with a matrix and with a diagonal."""

import numpy as np
import pytest

from pymc_sgmcmc.estimators.axes import axes_along
from pymc_sgmcmc.estimators.coordinates import Coordinates, preconditioned

D = 3
MATRIX = np.random.default_rng(0).normal(size=(D, D))
HESSIAN = np.array([[2.0, 0.5, 0.1], [0.5, 3.0, -0.2], [0.1, -0.2, 1.0]])
CENTRE = np.array([1.0, -2.0, 3.0])


@pytest.fixture(params=["dense", "diagonal", "axes"])
def both(request):
    """Coordinates, and L as a matrix."""
    if request.param == "dense":
        return Coordinates(CENTRE, MATRIX), MATRIX
    if request.param == "axes":
        factor, lengths = np.array([0.1, 2.0, 30.0]), np.array([3.0, 0.2, 1.0])
        rotation = np.random.default_rng(3).normal(size=(2, 2))
        axes, _ = axes_along(np.array([[0.6, 0.0, 0.8]]))
        axes = axes.scaled(lengths).turned(np.array([0, 2]), rotation).padded(4)
        between = np.eye(D)
        between[np.ix_([0, 2], [0, 2])] = rotation
        mirrored = axes_along(np.array([[0.6, 0.0, 0.8]]))[0].out(np.eye(D)).T
        return (
            Coordinates(CENTRE, factor, axes),
            np.diag(factor) @ mirrored @ np.diag(lengths) @ between,
        )
    return Coordinates(CENTRE, np.array([0.1, 2.0, 30.0])), np.diag([0.1, 2.0, 30.0])


@pytest.mark.parametrize("shape", [(D,), (5, D), (2, 5, D)])
def test_positions_and_back(both, shape):
    coordinates, matrix = both
    z = np.random.default_rng(1).normal(size=shape)
    position = coordinates.position(z)
    np.testing.assert_allclose(position, CENTRE + np.einsum("ij,...j->...i", matrix, z))
    if z.ndim < 3:
        np.testing.assert_allclose(coordinates.of(position), z)


def test_slopes_and_curvature_are_those_of_a_quadratic(both):
    coordinates, matrix = both
    z = np.random.default_rng(1).normal(size=(5, D))
    gradients = (coordinates.position(z) - CENTRE) @ HESSIAN  # of U = (θ − μ)ᵀ H (θ − μ)/2
    expected = matrix.T @ HESSIAN @ matrix
    np.testing.assert_allclose(coordinates.gradient(gradients), z @ expected)
    np.testing.assert_allclose(coordinates.curvature(HESSIAN), expected)
    np.testing.assert_allclose(coordinates.curvature(np.stack([HESSIAN] * 2))[1], expected)


def test_turned_coordinates_keep_the_covariance(both):
    coordinates, matrix = both
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(D, D)))
    turned = coordinates.turned(rotation)
    np.testing.assert_allclose(turned.factor @ turned.factor.T, matrix @ matrix.T, atol=1e-12)
    z = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(turned.position(z), coordinates.position(rotation @ z))


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("auto", MATRIX),
        ("dense", MATRIX),
        ("diagonal", 1 / np.sqrt(np.diag(np.linalg.inv(MATRIX @ MATRIX.T)))),
        (None, np.ones(D)),
        (np.array([4.0, 9.0, 1.0]), np.array([2.0, 3.0, 1.0])),
        (HESSIAN, np.linalg.cholesky(HESSIAN)),
    ],
    ids=["auto", "dense", "diagonal", "None", "variances", "covariance"],
)
def test_coordinates_as_they_are_asked_for(chosen, expected):
    found = preconditioned(Coordinates(CENTRE, MATRIX), chosen)
    np.testing.assert_allclose(found.factor, expected)
    np.testing.assert_array_equal(found.centre, CENTRE)


@pytest.mark.parametrize("k", [0, 1, 4, 9])
def test_axes_along_directions_are_orthogonal(k):
    d = 9
    directions = np.linalg.qr(np.random.default_rng(k).normal(size=(d, d)))[0][:k]
    axes, numbers = axes_along(directions)
    matrix = axes.out(np.eye(d))  # a row for each axis
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(d), atol=1e-12)
    np.testing.assert_allclose(np.abs(matrix[numbers] @ directions.T), np.eye(k), atol=1e-12)
    assert len(set(numbers)) == k


def test_an_axis_takes_the_place_of_the_nearest():
    directions = np.eye(5)[[3, 0]]
    axes, numbers = axes_along(directions)
    assert numbers.tolist() == [3, 0]
    np.testing.assert_allclose(np.abs(axes.out(np.eye(5))), np.eye(5), atol=1e-12)


def test_shortened_coordinates(both):
    coordinates, matrix = both
    if not coordinates.dense:
        lengths, z = np.array([2.0, 0.5, 3.0]), np.array([1.0, 2.0, 3.0])
        found = coordinates.shortened(lengths).position(z)
        np.testing.assert_allclose(found, CENTRE + matrix @ (lengths * z))
