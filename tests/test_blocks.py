"""The effects of a group: which belong together, and what mixes them."""

import numpy as np
import pytest

from pymc_sgmcmc.estimators.axes import axes_along
from pymc_sgmcmc.estimators.blocks import Blocks, families, principal, whitening
from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.model.layout import Block

G = 40
LAYOUT = (
    Block("mean", (), "float64", 0, 1),
    Block("intercept", (G,), "float64", 1, 1 + G),
    Block("other", (2 * G,), "float64", 1 + G, 1 + 3 * G),
    Block("slopes", (2, G), "float64", 1 + 3 * G, 1 + 5 * G),
)
D = 1 + 5 * G


def numbers():
    return families(LAYOUT)


def random_blocks(seed=0):
    rng = np.random.default_rng(seed)
    return Blocks(numbers(), tuple(rng.normal(size=(*x.shape, x.shape[1])) for x in numbers()))


def test_variables_of_the_same_groups_are_a_family():
    (found,) = numbers()
    assert found.shape == (G, 3)
    assert found[7].tolist() == [8, 1 + 3 * G + 7, 1 + 4 * G + 7]


def test_few_groups_many_effects_and_single_ones_are_none():
    assert families((Block("few", (8, 2), "float64", 0, 16),)) == ()
    assert families((Block("layer", (100, 50), "float64", 0, 5000),)) == ()
    assert families((Block("alone", (1000,), "float64", 0, 1000),)) == ()


def test_blocks_their_transpose_and_their_inverse():
    blocks, other = random_blocks(), random_blocks(1)
    matrix = blocks.times(np.eye(D)).T
    x = np.random.default_rng(2).normal(size=(3, D))
    np.testing.assert_allclose(blocks.times(x), x @ matrix.T)
    np.testing.assert_allclose(blocks.transposed.times(x), x @ matrix)
    np.testing.assert_allclose(blocks.inverse.times(blocks.times(x)), x, atol=1e-10)
    np.testing.assert_allclose(blocks.after(other).times(x), blocks.times(other.times(x)))


def test_groups_can_be_left_as_they_are():
    blocks = random_blocks().without(np.array([8]))
    x = np.random.default_rng(2).normal(size=D)
    same = blocks.times(x) == x
    assert same[numbers()[0][7]].all()
    assert not same[numbers()[0][6]].any()


def test_whitening_makes_a_covariance_one():
    """Of more samples than the error of a correlation would let one see."""
    rng = np.random.default_rng(0)
    mix = np.linalg.cholesky([[1, 0.9, 0.3], [0.9, 1, 0.3], [0.3, 0.3, 1]])
    sample = rng.normal(size=(20_000, D))
    sample[:, numbers()[0]] = sample[:, numbers()[0]] @ mix.T
    whitened = whitening(numbers(), sample, sample).transposed.times(sample)
    found = np.einsum("ngi,ngj->gij", *[whitened[:, numbers()[0]]] * 2) / len(sample)
    np.testing.assert_allclose(found, np.broadcast_to(np.eye(3), found.shape), atol=0.35)
    few = sample[:16]  # in which a correlation of .3 can't be told from none
    matrices = whitening(numbers(), few, few).matrices[0]
    assert np.isfinite(matrices).all()


def test_principal_axes_have_no_noise_in_common():
    sample = np.random.default_rng(0).normal(size=(50, D))
    turned = principal(numbers(), sample).transposed.times(sample)[:, numbers()[0]]
    covariance = np.einsum("ngi,ngj->gij", turned, turned)
    beside = covariance - covariance * np.eye(3)
    np.testing.assert_allclose(beside, 0, atol=1e-12)


@pytest.mark.parametrize("with_axes", [False, True])
def test_coordinates_that_are_mixed(with_axes):
    """θ at z' is θ at C z'; C is a rotation, as where coordinates have axes it must be."""
    rng = np.random.default_rng(0)
    axes = None
    if with_axes:
        axes, _ = axes_along(np.linalg.qr(rng.normal(size=(D, 2)))[0].T)
    plain = Coordinates(rng.normal(size=D), rng.uniform(0.5, 2, D), axes, random_blocks())
    turn = principal(numbers(), rng.normal(size=(50, D)))
    mixed, z = plain.mixed(turn), rng.normal(size=(4, D))
    np.testing.assert_allclose(mixed.position(z), plain.position(turn.times(z)), atol=1e-10)
    np.testing.assert_allclose(mixed.of(mixed.position(z)), z, atol=1e-8)
    gradient = rng.normal(size=(4, D))
    expected = turn.transposed.times(plain.gradient(gradient))
    np.testing.assert_allclose(mixed.gradient(gradient), expected, atol=1e-10)
    lengths = rng.uniform(0.5, 2, D)
    np.testing.assert_allclose(mixed.shortened(lengths).position(z), mixed.position(lengths * z))
