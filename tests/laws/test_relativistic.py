"""Relativistic momenta: their law, what a fixed u costs, and the law of positions they leave."""

from dataclasses import dataclass

import jax
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from pymc_sgmcmc import SGHMC
from pymc_sgmcmc.dynamics import ATMCDynamics, SGHMCDynamics, SGNHTDynamics
from pymc_sgmcmc.dynamics.base import kick
from pymc_sgmcmc.engines.jax.functions import compile_fresh
from pymc_sgmcmc.engines.numba.functions import numba_function
from pymc_sgmcmc.engines.programs import fresh_program, transition_program
from tests.laws.simulate import check, compiled, expectation, gaussian, hyperbolic, simulate

LIMITED = (SGHMCDynamics, SGNHTDynamics, ATMCDynamics)


def fresh_momentum(dynamics, noise):
    with jax.enable_x64(True):
        made = compile_fresh(dynamics, len(noise), "float64")(np.zeros_like(noise), noise)
        return np.asarray(made[dynamics.auxiliaries.index("momentum")])


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("c", [0.5, 1.0, 10 / 3, 30.0])
def test_fresh_momenta_have_the_relativistic_law(c, temperature):
    """Averages over a normal number, by quadrature, are those of exp(−K/T)."""
    normal = np.linspace(-6, 6, 1001)
    weights = np.exp(-(normal**2) / 2) / np.exp(-(normal**2) / 2).sum()
    p = fresh_momentum(SGHMCDynamics(speed_limit=c, temperature=temperature), normal)

    def velocity(p):
        return p / np.sqrt(1 + (p / c) ** 2)

    for moment in (np.square, lambda p: velocity(p) ** 2):
        exact = expectation(
            moment, hyperbolic(c), temperature, width=60 * temperature * (1 + 1 / c)
        )
        assert weights @ moment(p) == pytest.approx(exact, rel=1e-3)
    assert weights @ (p * velocity(p)) == pytest.approx(temperature, rel=1e-3)  # equipartition
    # Gaussian ones, which they were not to be, are found out where c is not far above √T.
    assert (abs(weights @ normal**2 * temperature / (weights @ p**2) - 1) > 0.02) == (c < 6)


@pytest.mark.parametrize("sampler", LIMITED, ids=lambda s: s.__name__)
@pytest.mark.slow
def test_both_engines_make_the_same_update(sampler):
    dynamics = sampler(temperature=1.5, speed_limit=0.7)
    vectors = np.random.default_rng(0).normal(size=(3 + len(dynamics.auxiliaries), 7))
    vectors[1 + dynamics.auxiliaries.index("friction")] = np.linspace(0.01, 0.5, 7)
    with jax.enable_x64(True):
        ours = compiled(dynamics, 7, "float64")(*vectors, 0.1, 0.2)
    theirs = numba_function(transition_program(dynamics, 7, "float64"))
    for a, b in zip(ours, theirs(*vectors, np.float64(0.1), np.float64(0.2)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    fresh = numba_function(fresh_program(dynamics, 7, "float64"))(*vectors[:2])
    momentum = fresh[dynamics.auxiliaries.index("momentum")]
    np.testing.assert_allclose(momentum, fresh_momentum(dynamics, vectors[1]), rtol=1e-12)


# -- SGHMC -----------------------------------------------------------------------------------------


def left_by_friction(dynamics, size=700):
    """Relative error of a variance where h → 0 and friction takes as much in every update.

    Positions then follow what momenta average to: their variance is the diffusion of θ, from the
    sum of the velocity's covariances, over what a constant force moves it by. Both follow from the
    matrix of transitions between momenta, and the equation (I − P) u = v.
    """
    T, c, decay = dynamics.temperature, dynamics.speed_limit, dynamics.decay_rate
    far = 14 * T**0.5 * max(1, 4 * T**0.5 / c)
    p = np.linspace(-far, far, size)
    w = 1 / np.sqrt(1 + (p / c) ** 2)
    v, kept = w * p, np.exp(-decay * w)
    width, force = np.sqrt(T / w * (1 - kept**2)), (1 - kept) / (decay * w)

    def transitions(mean):
        density = np.exp(-0.5 * ((p - mean[:, None]) / width[:, None]) ** 2)
        return density / density.sum(1, keepdims=True)

    P = transitions(kept * p)
    moved = (transitions(kept * p + 1e-4 * force) - transitions(kept * p - 1e-4 * force)) / 2e-4
    equations = P.T - np.eye(size)
    equations[0] = 1
    law = np.linalg.solve(equations, np.eye(size)[0])
    u = np.linalg.solve(np.eye(size) - P + law, v)
    diffusion = (law * v) @ u - (law * v) @ v / 2
    return diffusion / (law @ moved @ u) / T - 1


@pytest.mark.parametrize("c", [0.5, 1.0, 2.0, 10 / 3, 10.0])
@pytest.mark.parametrize(("decay", "temperature"), [(0.95, 1.0), (0.8, 1.0), (0.9, 2.0)])
def test_the_error_that_friction_leaves_by_itself(c, decay, temperature):
    dynamics = SGHMCDynamics(momentum_decay=decay, speed_limit=c, temperature=temperature)
    assert left_by_friction(dynamics) == pytest.approx(dynamics.friction_bias(), abs=0.002)


STEPS, NOISE = (x.ravel() for x in np.meshgrid([0.05, 0.1, 0.2], [0.0, 2.0, 10.0]))


def law(dynamics, draws=700, chains=1000):
    """Averages on a standard normal, a group for each step size and variance of the noise."""
    return simulate(
        dynamics, gaussian(noise=NOISE[:, None]), (len(STEPS), chains), STEPS,
        draws=draws, burn_in=200, factors=np.ones(8),
    )  # fmt: skip


@pytest.mark.parametrize(("c", "temperature"), [(1.0, 1.0), (3.0, 0.5), (3.0, 2.0)])
@pytest.mark.slow
def test_positions_are_of_the_posterior(c, temperature):
    """T + hV/2D, times what steps and friction leave, at any speed limit."""
    dynamics = SGHMCDynamics(speed_limit=c, temperature=temperature)
    averages = law(dynamics)
    heat = STEPS**2 * NOISE / (2 * dynamics.decay_rate * temperature)
    hot = [SGHMCDynamics(speed_limit=c, temperature=temperature * (1 + x)) for x in heat]
    friction = np.array([1 + one.friction_bias() for one in hot])
    expected = (1 + heat) * friction / (1 - STEPS**2 / 4)
    check(averages["q2"] / temperature, expected, allowance=0.008 * expected, precision=0.02)


@pytest.mark.slow
def test_friction_on_momenta_is_seen():
    """The planted error: friction that acts on p, as it does on Gaussian momenta."""

    @dataclass(frozen=True, kw_only=True)
    class OnMomentum(SGHMCDynamics):
        def transition(self, position, auxiliaries, gradient, noise, h, base):
            new = super().transition(position, auxiliaries, gradient, noise, h, base)
            D = auxiliaries["friction"] / base
            p = kick(auxiliaries["momentum"], gradient, noise, h, D, D, self.temperature)
            position = position + h * self.mobility(p) * p
            return new._replace(
                position=position, auxiliaries=new.auxiliaries | {"momentum": p},
                statistics={"kinetic_temperature": pt.sqr(p)},
            )  # fmt: skip

    averages = law(OnMomentum(speed_limit=1.0, momentum_decay=0.95), draws=100, chains=300)
    assert (averages["q2"].mean(1)[NOISE == 0] < 0.9).all()


# -- doors -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_step_and_friction_are_found():
    rows = np.random.default_rng(0).normal(3, 2, size=2000)
    with pm.Model():
        mu = pm.Normal("mu", 0, 10)
        pm.Normal("y", mu, 2, observed=rows)
        step = SGHMC(batch_size=200, speed_limit=1.5, engine="jax")
        idata = pm.sample(200, tune=100, step=step, chains=16, random_seed=1, progressbar=False)
    draws, exact = idata.posterior["mu"].values, 2 / len(rows) ** 0.5
    assert idata.posterior.attrs["speed_limit"] == 1.5
    check((draws - rows.mean()).mean(1) / exact, 0, allowance=0.02, precision=0.1)
    check(((draws - rows.mean()) ** 2).mean(1) / exact**2, 1, allowance=0.02, precision=0.1)
