"""Krylov spaces of several matrices at once, and the largest eigenvalue of each."""

import numpy as np
import pytest

from pymc_sgmcmc.warmup.lanczos import krylov, largest_eigenvalues


def products(matrices):
    return lambda vectors: np.einsum("kij,kj->ki", matrices, vectors)


@pytest.fixture
def matrices():
    """Three of 40 dimensions: a flat spectrum, one that falls off, one of three eigenvalues."""
    rng = np.random.default_rng(0)
    spectra = [
        np.linspace(0.5, 1.5, 40),
        np.geomspace(1e-3, 1e2, 40),
        np.repeat([1, 2, 5], 15)[:40],
    ]
    axes = [np.linalg.qr(rng.normal(size=(40, 40)))[0] for _ in spectra]
    return np.stack([q * values @ q.T for q, values in zip(axes, spectra, strict=True)])


def starts(seed=1):
    return np.random.default_rng(seed).normal(size=(3, 40))


def test_bases_are_orthonormal_and_images_theirs(matrices):
    basis, images = krylov(products(matrices), starts(), 10)
    assert basis.shape == images.shape == (10, 3, 40)
    for k in range(3):
        q = basis[:, k]
        there = np.square(q).sum(1) > 0.5
        np.testing.assert_allclose(q[there] @ q[there].T, np.eye(there.sum()), atol=1e-8)
        np.testing.assert_allclose(images[:, k], q @ matrices[k], atol=1e-8)
    # Three eigenvalues have a space of three dimensions, and then nothing more.
    assert np.square(basis).sum(2)[:, 2].round(8).tolist() == [1] * 3 + [0] * 7


def test_the_largest_eigenvalues(matrices):
    for seed in range(5):
        found = largest_eigenvalues(products(matrices), starts(seed))
        expected = np.linalg.eigvalsh(matrices)[:, -1]
        assert (found <= expected * (1 + 1e-9)).all()
        np.testing.assert_allclose(found, expected, rtol=0.02)


def test_a_matrix_that_is_not_finite_spoils_no_other(matrices):
    expected = largest_eigenvalues(products(matrices), starts())
    matrices[1, 3, 3] = np.inf
    with np.errstate(invalid="ignore"):
        found = largest_eigenvalues(products(matrices), starts())
    assert np.isnan(found[1])
    np.testing.assert_allclose(found[[0, 2]], expected[[0, 2]], rtol=1e-12)


def test_a_space_of_less_dimensions_than_products():
    found = largest_eigenvalues(products(np.diag([1.0, 3.0])[None]), np.ones((1, 2)))
    np.testing.assert_allclose(found, 3)
