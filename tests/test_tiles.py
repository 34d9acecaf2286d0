"""Vectors in rows: the same chains, whatever lies beside their numbers."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from pymc_sgmcmc.dynamics import ATMCDynamics, CCAdLDynamics, SGLDDynamics, SGNHTDynamics
from pymc_sgmcmc.engines.jax import engine as of_jax
from pymc_sgmcmc.engines.jax.engine import JaxEngine
from pymc_sgmcmc.engines.jax.tiles import Tiles
from pymc_sgmcmc.engines.programs import is_elementwise, transition_program
from pymc_sgmcmc.estimators.estimators import Estimator
from pymc_sgmcmc.model.potential import StochasticPotential

N, D, B = 60, 131, 7


@pytest.mark.parametrize("size", [65, 128, 130, 131])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_rows_have_a_vector_and_copies_of_its_first_numbers(size, threads):
    tiles, x = Tiles(size, threads), np.arange(1.0, size + 1)
    laid = np.asarray(tiles.lay(jnp.asarray(x)))
    assert laid.shape == tiles.shape
    assert np.array_equal(tiles.take_up(jnp.asarray(laid)), x)
    assert set(laid.ravel()) == set(x)  # nothing but its own numbers
    assert (laid * tiles.ones("float32")).sum() == x.sum()


@pytest.mark.parametrize(
    ("size", "threads", "shape"),
    [
        (131, 1, (131,)),  # there are no parts
        (130, 2, (130,)),  # which are of one length
        (131, 2, (3, 64)),
        (130, 3, (3, 64)),
        (51, 2, (51,)),  # a single row
    ],
)
def test_only_vectors_in_uneven_parts_lie_in_rows(size, threads, shape):
    assert Tiles(size, threads).shape == shape


class Scaled(SGLDDynamics):
    """Each parameter has a temperature of its own."""

    def transition(self, position, auxiliaries, gradient, noise, step_size, base_step_size):
        scale = pt.constant(np.linspace(1, 2, D))
        return super().transition(
            position, auxiliaries, gradient, scale * noise, step_size, base_step_size
        )


@pytest.mark.parametrize(
    ("dynamics", "alike"),
    [
        (SGLDDynamics(), True),
        (ATMCDynamics(), True),
        (SGNHTDynamics(), True),
        (SGNHTDynamics(thermostat="scalar"), False),  # has a mean over parameters
        (CCAdLDynamics(), False),
        (Scaled(), False),
    ],
)
def test_what_is_done_to_each_number_by_itself_is_seen(dynamics, alike):
    assert is_elementwise(transition_program(dynamics, D, "float64")) is alike


@pytest.fixture(scope="module")
def potential():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D))
    with pm.Model() as model:
        b = pm.Normal("b", shape=D)
        # Not finite where any parameter exceeds 3.
        pm.Potential("edge", pt.sum(pt.log(3 - b)))
        pm.Normal("y", pm.Data("X", X) @ b, 1, observed=rng.normal(size=N))
    return StochasticPotential(model, batch_size=B, dtype="float64")


@pytest.mark.parametrize("dynamics", [ATMCDynamics(), SGNHTDynamics(), Scaled()])
def test_draws_are_those_of_vectors(potential, dynamics, monkeypatch):
    def run(threads):
        monkeypatch.setattr(of_jax, "cores", lambda: threads)
        engine = JaxEngine(Estimator(potential), dynamics)
        state = engine.init(np.full((2, D), 2.9), np.arange(4, dtype=np.uint32).reshape(2, 2))
        parts = []
        for n in (1, 5):  # in pieces
            made, state = engine.run(state, np.full((n, 3), 0.05), 0.05)
            parts.append(made)
        return engine, parts, state

    tiled, ours, state = run(2)
    flat, theirs, expected = run(1)
    assert flat._tiles.shape == (D,)
    assert tiled._tiles.shape == ((D,) if isinstance(dynamics, Scaled) else (3, 64))
    assert sum(piece.statistics["rejected"].sum() for piece in theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, rtol=1e-9)
        for name, values in other.statistics.items():
            np.testing.assert_allclose(one.statistics[name], values, rtol=1e-9, err_msg=name)
    for name, values in expected.items():
        np.testing.assert_allclose(state[name], values, rtol=1e-9, err_msg=name)
