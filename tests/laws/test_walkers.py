"""Walkers of examples/walkers.py: what halves lend each other leaves the law as it is."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pymc_sgmcmc import functions
from tests.laws.simulate import check
from tests.samplers import EXAMPLES

sys.path.append(str(EXAMPLES))

import walkers as example

D, REPEATS = 3, 60


@pytest.fixture(scope="module")
def target():
    model, covariance = example.narrow_and_wide(d=D, condition=100)
    return functions(model), np.linalg.eigh(covariance)


def variances(target, walkers, run, rounds=400):
    """In the covariance's directions, over the exact ones; of independent ensembles, ``(d, n)``."""
    f, (values, turn) = target
    key = jax.random.key(1)
    start = jax.random.normal(key, (REPEATS, walkers, D)) * np.sqrt(values) @ turn.T
    # Half of the step that the example takes: what is tested is the coordinates.
    settings = {"h": example.step_size(walkers, D) / 2, "scale": 0.05, "blending": 1.0}
    ensembles = jax.vmap(lambda q, key: run(f, q, key, walkers=walkers, rounds=rounds, **settings))(
        start, jax.random.split(key, REPEATS)
    )
    z = np.asarray(ensembles) @ turn / np.sqrt(values)
    return (z**2).mean((1, 2)).T


@pytest.mark.parametrize(
    "walkers", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (16, 64))]
)
@pytest.mark.slow
def test_halves_leave_the_law_as_it_is(target, walkers):
    check(variances(target, walkers, example.run), 1.0, allowance=0.005, precision=0.03)


def own_half(f, start, key, *, h, scale, blending, walkers, rounds):
    """The planted error: a half that moves in the coordinates of its own positions."""

    def one_round(state, key):
        q, p = state
        halves = jnp.split(q, 2)
        L = jnp.stack([example.coordinates(half, blending, scale) for half in halves])
        L = jnp.repeat(L, walkers // 2, axis=0)
        move = jax.vmap(example.block, (None, 0, None, 0, 0, 0))
        q, p = move(f, L, h, q, p, jax.random.split(key, walkers))
        return (q, p), q

    state = start, jax.random.normal(key, start.shape)
    return jax.lax.scan(one_round, state, jax.random.split(key, rounds))[1]


@pytest.mark.slow
def test_coordinates_of_ones_own_do_not(target):
    found = variances(target, 4, own_half).mean(1)
    assert (np.abs(found - 1) > 0.1).any(), found
