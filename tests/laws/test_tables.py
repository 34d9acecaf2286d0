"""The reference figures: variances against gradient noise and step size, four samplers."""

import numpy as np
import pytest

from tests.laws import experiments as ex
from tests.laws.simulate import (
    check,
    expectation,
    hyperbolic,
    sghmc_variance,
    sgld_variance,
    step_bias,
)

REFERENCE = 0.01  # relative Monte Carlo error of the reference figures


@pytest.mark.parametrize("name", ex.NOISE_LEVELS)
def test_noise_levels(name):
    """Langevin samplers heat up by gradient noise, thermostats absorb it."""
    variance = ex.noise_levels(name)["q2"]
    reference = np.array(ex.NOISE_LEVELS_REFERENCE[name])
    check(variance, reference, REFERENCE * reference)
    dynamics, h = ex.NOISE_LEVELS[name]
    if name.startswith("SGLD"):
        check(variance, sgld_variance(h, noise=ex.NOISE))
    elif name.startswith("SGHMC"):
        check(variance, sghmc_variance(h, dynamics.momentum_decay, noise=ex.NOISE))
    elif "c=" not in name:
        # Leading order: the friction fluctuates, and moves with p.
        D = -np.log(dynamics.momentum_decay) / h
        check(variance, step_bias(h, np.maximum(D, h * ex.NOISE / 2)), allowance=0.004)


@pytest.mark.parametrize("name", [k for k in ex.NOISE_LEVELS if k.startswith(("SGNHT", "ATMC"))])
def test_thermostat_measures_the_noise(name):
    """ξ settles at hV/2 with variance 1/μ, μ = 1, up to terms of order h and (hξ)²."""
    averages = ex.noise_levels(name)
    xi = ex.H * ex.NOISE / 2
    hyperbolic_momenta = "c=" in name
    check(averages["xi"], xi, 0.03 + 0.12 * xi if hyperbolic_momenta else 0.005 + 0.03 * xi)
    mean = averages["xi"].mean(1, keepdims=True)
    spread = averages["xi2"] - 2 * mean * averages["xi"] + mean**2
    low = xi <= 2.5
    check(spread[low], 1.0, 0.05 if hyperbolic_momenta else 0.02, precision=0.02)
    # A stationary thermostat has E[v²] = T E[u⁻³] at any step size.
    if not hyperbolic_momenta:
        check(averages["p2"], 1.0, allowance=0.001)
    else:
        check(averages["pv"], 1.0, allowance=0.01)
        mean_square = expectation(np.square, hyperbolic(1.0))
        check(averages["p2"], mean_square, allowance=0.015 * mean_square)


@pytest.mark.parametrize("name", ex.FOUR_PARAMETERS)
def test_four_parameters(name):
    """Each parameter its own noise: only a thermostat for each gets all variances right."""
    ratio = ex.four_parameters(name)
    reference = np.array(ex.FOUR_PARAMETERS_REFERENCE[name])
    check(ratio, reference, REFERENCE * reference + 0.005)
    heating = ex.H * ex.NOISE / 2
    if name == "SGHMC":
        decay = ex.FOUR_PARAMETERS[name].momentum_decay
        check(ratio, sghmc_variance(ex.H, decay, 1 / ex.VARIANCES, ex.NOISE) / ex.VARIANCES)
    elif name == "SGNHT scalar":  # one ξ, which balances the mean
        theory = (2 + heating) / (2 + heating.mean())
        check(ratio, theory, allowance=0.03 * theory)
    else:
        bias = step_bias(ex.H, np.maximum(2, heating))
        check(ratio, bias, allowance=0.02 if "c=" in name else 0.008)


@pytest.mark.parametrize("name", ex.BY_STEP_SIZE)
def test_step_sizes(name):
    averages, h = ex.by_step_size(name), ex.STEP_SIZES
    variance = averages["q2"]
    if name in ex.BY_STEP_SIZE_REFERENCE:
        reference = np.array(ex.BY_STEP_SIZE_REFERENCE[name])[1:]
        check(variance[1:], reference, REFERENCE * reference)
    if name == "SGLD":
        check(variance, sgld_variance(h))
    elif name == "SGHMC":
        check(variance, sghmc_variance(h, np.exp(-2 * h)))
    elif name in ("SGNHT", "ATMC"):
        check(variance, step_bias(h, 2.0), allowance=0.005)
    if name == "SGNHT":
        # ζ has the variance λ h₀/(n h³), here seen as h₀²ζ²: the thermostat's mass is μ h₀/h.
        scale = h / h[-1]
        check(averages["xi2"][:3] * scale[:3, None], 1.0, allowance=0.1, precision=0.02)
