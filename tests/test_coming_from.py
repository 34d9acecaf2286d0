"""The conversions of docs/coming_from.md, against the updates of other libraries in their letters.

Each gives the coefficients of gradient, noise and momentum in one update. Momenta are theirs in
units of ours, so that they are N(0, 1) at rest. Euler steps of others are equal to first order.
"""

import jax
import numpy as np
import pytest

from pymc_sgmcmc.dynamics import (
    BAOABDynamics,
    GLA1Dynamics,
    SGHMCDynamics,
    SGLDDynamics,
    SGNHTDynamics,
)
from tests.laws.simulate import compiled

N = 5000
EPS, ALPHA = 1e-3, 5.0


def ours(dynamics, h):
    """Of the momentum after an update (of the position for SGLD), by unit vectors."""
    position, momentum, gradient, noise = np.eye(4)
    given = {"momentum": momentum} | dynamics.settled(h, np.zeros(4))
    auxiliaries = [given[name] for name in dynamics.auxiliaries]
    with jax.enable_x64(True):
        outputs = compiled(dynamics, 4, "float64")(position, *auxiliaries, gradient, noise, h, h)
    return np.asarray(outputs[1 if auxiliaries else 0])[[2, 3, 1]]


def decay(rate):
    return {"momentum_decay": np.exp(-rate)}


CASES = {
    # θ += ε ∇logp + √(2ε) η
    "BlackJAX sgld": (SGLDDynamics(), np.sqrt(2 * EPS), [-EPS, np.sqrt(2 * EPS), 0]),
    # p += ε ∇logp − αε p + √(2αε) η, θ += ε p
    "BlackJAX sghmc": (
        SGHMCDynamics(**decay(ALPHA * EPS)),
        EPS,
        [-EPS, np.sqrt(2 * ALPHA * EPS), 1 - ALPHA * EPS],
    ),
    "BlackJAX sgnht": (
        SGNHTDynamics(**decay(ALPHA * EPS), thermostat="scalar"),
        EPS,
        [-EPS, np.sqrt(2 * ALPHA * EPS), 1 - ALPHA * EPS],
    ),
    "SGMCMCJax sgld": (SGLDDynamics(), np.sqrt(2 * EPS), [-EPS, np.sqrt(2 * EPS), 0]),
    # v += dt ∇logp − a v + √(2 a dt) η, θ += v, with v = √dt p
    "SGMCMCJax sghmc, sgnht": (
        SGHMCDynamics(momentum_decay=1 - 0.005),
        np.sqrt(EPS),
        [-np.sqrt(EPS), np.sqrt(2 * 0.005), 1 - 0.005],
    ),
    # v = e^(−γ dt) v + √(1 − e^(−2γ dt)) η amid half drifts, kicks of dt ∇logp in all
    "SGMCMCJax baoab": (
        BAOABDynamics(**decay(ALPHA * EPS)),
        EPS,
        [-EPS * np.exp(-ALPHA * EPS), (1 - np.exp(-2 * ALPHA * EPS)) ** 0.5, np.exp(-ALPHA * EPS)],
    ),
    # θ += lr ∇logp/N + √(2 lr T) η, T = 1/N
    "posteriors sgld": (
        SGLDDynamics(),
        np.sqrt(2 * EPS / N),
        [-EPS / N, np.sqrt(2 * EPS / N), 0],
    ),
    # m += lr ∇logp/N − α lr m + √(2 α lr T) η, θ += lr m, with m = p/√N
    "posteriors sghmc, sgnht": (
        SGHMCDynamics(**decay(ALPHA * EPS)),
        EPS / np.sqrt(N),
        [-EPS / N * np.sqrt(N), np.sqrt(2 * ALPHA * EPS), 1 - ALPHA * EPS],
    ),
    # θ −= Δt ∇L + √(2Δt/β) η, L = U/N, β = N
    "TATi sgld": (SGLDDynamics(), np.sqrt(2 * EPS / N), [-EPS / N, np.sqrt(2 * EPS / N), 0]),
    # B: p −= Δt ∇L; O: e^(−γΔt) p + √((1 − e^(−2γΔt))/β) η; θ += Δt p, with p = ours/√N
    # B, then A, then O, as BAOAB's
    "TATi gla1": (
        GLA1Dynamics(**decay(ALPHA * EPS)),
        EPS / np.sqrt(N),
        [
            -EPS / N * np.sqrt(N) * np.exp(-ALPHA * EPS),
            (1 - np.exp(-2 * ALPHA * EPS)) ** 0.5,
            np.exp(-ALPHA * EPS),
        ],
    ),
    "TATi baoab": (
        BAOABDynamics(**decay(ALPHA * EPS)),
        EPS / np.sqrt(N),
        [
            -EPS / N * np.sqrt(N) * np.exp(-ALPHA * EPS),
            (1 - np.exp(-2 * ALPHA * EPS)) ** 0.5,
            np.exp(-ALPHA * EPS),
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_conversion(name):
    dynamics, h, theirs = CASES[name]
    np.testing.assert_allclose(ours(dynamics, h), theirs, rtol=0.01)
