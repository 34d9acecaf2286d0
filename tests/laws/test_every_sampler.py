"""What any sampler owes: the law it names, to the error that its `bias` admits.

The samplers are found, not listed (`tests/samplers.py`): a new one need only be written.
"""

import jax
import numpy as np
import pytest
from scipy.optimize import brentq

from pymc_sgmcmc.engines.jax.functions import compile_transition
from pymc_sgmcmc.engines.numba.functions import numba_function
from pymc_sgmcmc.engines.programs import transition_program
from tests.laws.simulate import check, gaussian, simulate
from tests.samplers import SAMPLERS

every_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: s.__name__)
ADMITTED = np.array([0.02, 0.05, 0.1])


def step_sizes(dynamics, noise):
    """Those at which the dynamics admit the errors above, of a standard normal's variance."""
    noise = np.array([noise])
    return np.array(
        [brentq(lambda h, b=b: dynamics.bias(h, 1.0, noise) - b, 1e-6, 1.9) for b in ADMITTED]
    )


@every_sampler
@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("noise", [0.0, 1.0, 10.0])
@pytest.mark.slow
def test_variance_is_as_right_as_promised(sampler, noise, temperature):
    dynamics = sampler.dynamics_class(temperature=temperature)
    h = step_sizes(dynamics, noise)
    settled = [dynamics.settled(each, np.array([noise])) for each in h]
    averages = simulate(
        dynamics,
        gaussian(noise=noise),
        (len(h), 600),
        h,
        draws=600,
        burn_in=150,
        factors=np.ones(20),
        start={name: np.array([s[name][0] for s in settled]) for name in settled[0]},
    )
    check(averages["q2"] / temperature, 1.0, allowance=1.2 * ADMITTED)


@every_sampler
def test_errors_admitted_grow_with_the_step(sampler):
    dynamics = sampler.dynamics_class()
    for noise in (0.0, 10.0):
        bias = [dynamics.bias(h, 1.0, np.array([noise])) for h in (1e-6, 0.01, 0.1, 0.5)]
        assert bias[0] < 1e-4
        assert (np.diff(bias) > 0).all()


@every_sampler
def test_both_engines_make_the_same_update(sampler):
    dynamics = sampler.dynamics_class(temperature=1.5)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3 + len(dynamics.auxiliaries), 7))
    if "friction" in dynamics.auxiliaries:  # no noise has a negative variance
        vectors[1 + dynamics.auxiliaries.index("friction")] = rng.uniform(0.01, 0.5, 7)
    with jax.enable_x64(True):
        ours = compile_transition(dynamics, 7, "float64")(*vectors, 0.1, 0.2)
        ours = [np.asarray(x) for x in ours]
    theirs = numba_function(transition_program(dynamics, 7, "float64"))
    for a, b in zip(ours, theirs(*vectors, np.float64(0.1), np.float64(0.2)), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
