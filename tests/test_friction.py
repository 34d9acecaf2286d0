"""The friction that the warm-up finds, held against oscillators whose best one is known."""

import numpy as np
import pytest

from pymc_sgmcmc.dynamics import (
    ATMCDynamics,
    GLA1Dynamics,
    SGHMCDynamics,
    SGLDDynamics,
    SGNHTDynamics,
)
from pymc_sgmcmc.dynamics.base import heating
from pymc_sgmcmc.warmup.friction import with_best_friction
from pymc_sgmcmc.warmup.step_size import step_size, updates_to_forget

TARGET, SPREAD = 0.02, 10.0
QUIET = np.zeros(3)

with_momentum = pytest.mark.parametrize(
    "dynamics",
    [SGHMCDynamics(), SGNHTDynamics(), ATMCDynamics()],
    ids=lambda x: type(x).__name__,
)


def step_of(dynamics, noise=QUIET, correlated=0.0):
    return step_size(dynamics, TARGET, 1.0, noise, correlated, SPREAD)


def best(dynamics, softest=1.0, noise=QUIET, correlated=0.0):
    """Dynamics of the friction that was found, and their β."""
    found = with_best_friction(dynamics, TARGET, 1.0, noise, correlated, SPREAD, softest)
    h = step_of(found, noise, correlated)
    return found, float(found.friction(h, noise)[0]) / h


@pytest.mark.parametrize(("beta", "curvature"), [(0.3, 1.0), (1.0, 1.0), (5.0, 1.0), (0.5, 0.04)])
def test_the_times_that_friction_is_chosen_for_are_those_of_correlations(beta, curvature):
    """2∫ρ = 2β/ω² and 2∫ρ² = 1/β + β/ω²."""
    h = 1e-3
    dynamics = SGHMCDynamics(momentum_decay=np.exp(-beta * h))
    rho = dynamics.correlation(h, QUIET, np.arange(400_000), curvature)
    np.testing.assert_allclose(2 * h * rho.sum(), 2 * beta / curvature, rtol=2e-3)
    np.testing.assert_allclose(2 * h * (rho**2).sum(), 1 / beta + beta / curvature, rtol=2e-3)


@with_momentum
@pytest.mark.parametrize("softest", [1.0, 0.1, 0.01, 1e-3])
def test_without_noise_friction_is_that_of_the_softest_direction(dynamics, softest):
    """β = ω: to the grid of frictions that are tried, and to a largest one."""
    _, beta = best(dynamics, softest)
    assert beta == pytest.approx(softest**0.5, rel=0.2)


@with_momentum
@pytest.mark.parametrize("correlated", [0.0, 1.0, 30.0])
def test_softer_directions_get_less_friction(dynamics, correlated):
    frictions = [best(dynamics, s, correlated=correlated)[1] for s in (1.0, 0.1, 0.01, 1e-3)]
    assert (np.diff(frictions) <= 0).all()
    assert frictions[-1] < 0.8 * frictions[0]


@with_momentum
def test_noise_that_no_thermostat_absorbs_gets_more_friction(dynamics):
    _, of_quiet = best(dynamics, 0.01)
    noisy, of_noisy = best(dynamics, 0.01, correlated=1.0)
    assert of_noisy > 2 * of_quiet
    heat = heating(step_of(noisy, correlated=1.0), 1.0, noisy.decay_rate, 1.0)
    assert 0 < heat <= TARGET


def test_the_noise_that_heats_sghmc_stays_within_the_target():
    noise = np.array([0.0, 0.3, 3.0])
    found, _ = best(SGHMCDynamics(), noise=noise)
    h = step_of(found, noise)
    assert 0.1 * TARGET < heating(h, noise, found.decay_rate, 1.0) <= TARGET


@with_momentum
@pytest.mark.parametrize("softest", [1.0, 0.02])
@pytest.mark.parametrize("correlated", [0.0, 2.0])
def test_no_other_friction_takes_fewer_updates(dynamics, softest, correlated):
    """By the correlations themselves; a quarter of a grid's step apart it is flat to a percent."""

    def updates(one):
        h = step_of(one, correlated=correlated)
        rho = one.correlation(h, QUIET, np.arange(20_000), softest)
        stiff = one.correlation(h, QUIET, np.arange(20_000), 1.0)
        return 2 * rho.sum() / 2 + (2 * stiff**2).sum()

    found, _ = best(dynamics, softest, correlated=correlated)
    rates = np.geomspace(0.25, 2e-3, 60)
    others = [updates(dynamics.with_decay(float(np.exp(-rate)))) for rate in rates]
    assert updates(found) < 1.1 * min(others)


@pytest.mark.parametrize("softest", [1.0, 0.01])
def test_a_friction_that_distorts_stays_within_the_target(softest):
    """GLA1's makes positions colder by half of what it takes of the momentum in an update."""
    found, _ = best(GLA1Dynamics(), softest)
    assert abs(found.friction_bias()) <= TARGET
    unbound, _ = best(SGHMCDynamics(), softest)
    assert found.decay_rate == pytest.approx(min(unbound.decay_rate, 2 * TARGET), rel=0.25)


@with_momentum
def test_a_friction_that_was_given_is_kept(dynamics):
    given = dynamics.with_decay(0.97)
    assert best(given)[0] is given
    assert given.decay_rate == pytest.approx(-np.log(0.97))


def test_dynamics_without_friction_stay_as_they_are():
    dynamics = SGLDDynamics()
    assert best(dynamics)[0] is dynamics


@pytest.mark.parametrize(("beta", "curvature"), [(0.3, 1.0), (5.0, 1.0), (1.0, 0.04)])
def test_what_the_softest_direction_takes_to_forget(beta, curvature):
    """Of an overdamped direction 2∫ρ dt, and the time of its energy if it swings."""
    h = 1e-2
    dynamics = SGHMCDynamics(momentum_decay=np.exp(-beta * h))
    found = updates_to_forget(dynamics, h, QUIET, curvature)
    rho = np.abs(dynamics.correlation(h, QUIET, np.arange(100_000), curvature))
    assert found == pytest.approx(2 * rho.sum(), rel=0.5)
