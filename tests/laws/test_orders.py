"""The error of each splitting against its step size, without chance: orders of convergence.

On a Gaussian an update is linear, and its stationary covariance solves a linear equation. On the
pendulum, U = cos θ on a circle, the average of a function after an update is a matrix times its
coefficients (Fourier series in θ, Hermite polynomials in p), and the averages that an
update leaves as they are solve a linear equation again.
"""

import jax
import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss, hermevander
from scipy.special import factorial, ive

from pymc_sgmcmc.dynamics import BAOABDynamics, GLA1Dynamics, GLA2Dynamics, SGHMCDynamics
from tests.laws.simulate import compiled
from tests.laws.test_linear import coefficients, stationary_covariance

D = 1.0  # friction, per unit of time
STEPS = np.array([0.2, 0.1, 0.05])


def with_friction(sampler, decay):
    return sampler(momentum_decay=decay)


def order(errors):
    """log₂ of the ratio of errors whose step sizes are halved, at the smallest."""
    return np.log2(np.abs(errors[-2] / errors[-1]))


def gaussian_errors(sampler, decay_of, curvature=1.0):
    """Relative errors of the variance of θ at each step size."""
    dynamics = [(with_friction(sampler, decay_of(h)), h) for h in STEPS]
    covariances = [stationary_covariance(coefficients(d, h), curvature, 0.0) for d, h in dynamics]
    return np.array([c[0, 0] for c in covariances]) * curvature - 1


@pytest.mark.parametrize(
    ("sampler", "expected"), [(GLA1Dynamics, 1), (GLA2Dynamics, 2), (SGHMCDynamics, 2)]
)
def test_order_on_a_gaussian(sampler, expected):
    errors = gaussian_errors(sampler, lambda h: np.exp(-D * h))
    assert order(errors) == pytest.approx(expected, abs=0.15)


def test_baoab_is_exact_on_a_gaussian():
    for decay in (0.99, 0.5, 1e-6):
        np.testing.assert_allclose(
            gaussian_errors(BAOABDynamics, lambda h, a=decay: a), 0, atol=1e-9
        )


@pytest.mark.parametrize("decay", [0.999, 0.9, 0.3])
@pytest.mark.parametrize("curvature", [1.0, 4.0])
def test_variances_that_docstrings_state(decay, curvature):
    w2 = STEPS**2 * curvature
    gla1 = (1 + decay) / 2 / (1 - w2 / (2 * (1 + decay))) - 1
    found = gaussian_errors(GLA1Dynamics, lambda h: decay, curvature)
    np.testing.assert_allclose(found, gla1, rtol=1e-8)
    found = gaussian_errors(GLA2Dynamics, lambda h: decay, curvature)
    np.testing.assert_allclose(found, 1 / (1 - w2 / 4) - 1, rtol=1e-8)


@pytest.mark.parametrize("sampler", [GLA1Dynamics, GLA2Dynamics, BAOABDynamics, SGHMCDynamics])
@pytest.mark.parametrize("decay", [0.95, 0.5])
def test_the_error_that_friction_leaves_by_itself(sampler, decay):
    dynamics = with_friction(sampler, decay)
    covariance = stationary_covariance(coefficients(dynamics, 1e-3), 1.0, 0.0)
    assert covariance[0, 0] - 1 == pytest.approx(dynamics.friction_bias(), abs=1e-5)


# -- the pendulum ----------------------------------------------------------------------------------

WAVES, DEGREES = 8, 16


def basis(position, momentum):
    """Fourier modes of θ times normalised Hermite polynomials of p, ``(n, functions)``."""
    waves = np.exp(1j * np.outer(position, np.arange(-WAVES, WAVES + 1)))
    norms = np.sqrt(factorial(np.arange(DEGREES)))
    polynomials = hermevander(momentum, DEGREES - 1) / norms
    return (waves[:, :, None] * polynomials[:, None, :]).reshape(len(position), -1)


def pendulum_average(dynamics, h):
    """Average of cos θ under the law that an update leaves, for U = cos θ."""
    nodes, weights = hermegauss(DEGREES)
    weights = weights / weights.sum()
    angles = 2 * np.pi * np.arange(2 * WAVES + 1) / (2 * WAVES + 1)
    q, p, noise = (x.ravel() for x in np.meshgrid(angles, nodes, nodes, indexing="ij"))
    friction = np.full_like(q, dynamics.decay_rate)
    with jax.enable_x64(True):
        update = compiled(dynamics, len(q), "float64")
        q, p, *_ = (np.asarray(x) for x in update(q, p, friction, -np.sin(q), noise, h, h))
    after = basis(q, p).reshape(len(angles), DEGREES, len(nodes), -1)
    after = np.einsum("qpnf,n->qpf", after, weights)
    # Back to coefficients, by the quadratures that are exact for the functions of the basis.
    angle, momentum = (x.ravel() for x in np.meshgrid(angles, nodes, indexing="ij"))
    project = basis(angle, momentum).conj() * np.tile(weights, len(angles))[:, None] / len(angles)
    operator = project.T @ after.reshape(len(angle), -1)
    # The law's averages m of the functions are those after an update: m = m P, with m = 1 for 1.
    constant = np.ravel_multi_index((WAVES, 0), (2 * WAVES + 1, DEGREES))
    equations = operator.T - np.eye(len(operator))
    equations[constant] = one = np.eye(len(operator))[constant]
    return np.linalg.solve(equations, one)[constant + DEGREES].real


EXACT = -ive(1, 1) / ive(0, 1)


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (GLA1Dynamics, 1),
        (GLA2Dynamics, 2),
        (BAOABDynamics, 2),
        pytest.param(SGHMCDynamics, 2, marks=pytest.mark.slow),
    ],
)
def test_order_on_a_pendulum(sampler, expected):
    errors = [pendulum_average(with_friction(sampler, np.exp(-D * h)), h) - EXACT for h in STEPS]
    assert order(errors) == pytest.approx(expected, abs=0.15)


@pytest.mark.slow
def test_baoab_is_of_fourth_order_where_friction_is_high():
    """All of the momentum is lost in an update: positions are those of the overdamped limit."""
    steps = 4 * STEPS
    errors = [pendulum_average(BAOABDynamics(momentum_decay=1e-9), h) - EXACT for h in steps]
    assert order(errors) == pytest.approx(4, abs=0.1)
    low = pendulum_average(BAOABDynamics(momentum_decay=np.exp(-D * 0.4)), 0.4) - EXACT
    leapfrog = pendulum_average(GLA2Dynamics(momentum_decay=np.exp(-D * 0.4)), 0.4) - EXACT
    assert abs(low) < 0.25 * abs(leapfrog)  # what `bias` admits


def test_a_planted_error_is_seen():
    """O with the noise of a different friction: no order at all."""

    class Cold(GLA2Dynamics):
        def transition(self, position, auxiliaries, gradient, noise, *steps):
            return super().transition(position, auxiliaries, gradient, 0.9 * noise, *steps)

    errors = [pendulum_average(with_friction(Cold, np.exp(-D * h)), h) - EXACT for h in STEPS]
    assert abs(order(errors)) < 0.5
