"""Draws of the linearised posterior by stochastic gradients, beside the exact posterior.

    uv run python -m benchmarks.laplace              # networks of 101 to 2,403 parameters
    uv run python -m benchmarks.laplace --smoke      # the smallest two: two minutes each

Each is held against what the exact inverse of the precision makes of the same noise, so that no
Monte-Carlo error hides one of the optimiser: the largest relative error of a marginal standard
deviation, and their root mean square; the effective dimension beside the exact one; updates.
"""

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pymc as pm
from scipy.linalg import cho_factor, cho_solve

from pymc_sgmcmc import nn
from pymc_sgmcmc.linearised.exact import Full
from pymc_sgmcmc.linearised.linear import Graphs, LinearModel
from pymc_sgmcmc.linearised.mode import find_mode
from pymc_sgmcmc.linearised.prior import normal_prior
from pymc_sgmcmc.linearised.sampled import Sampled
from pymc_sgmcmc.model.links import laws_of
from pymc_sgmcmc.model.potential import StochasticPotential

# Hidden units of networks of 8 inputs.
UNITS = (10, 50, 200)
DRAWS, BATCH = 64, 100


def sds(a: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Errors of standard deviations, for each size of a network and each likelihood."""
    rng = np.random.default_rng(a.seed)
    X = rng.normal(size=(1_000, 8))
    y = np.sin(X[:, 0] * 2) + X[:, 1] * X[:, 2] / 2 + 0.3 * rng.normal(size=1_000)
    y = (y - y.mean()) / y.std()
    for units in UNITS[: 1 if a.smoke else None]:
        for head in ("regression", "classification"):
            with pm.Model() as model:
                features = nn.mlp(X, (units,), prior=nn.FixedScale())
                if head == "regression":
                    nn.regression(features, y, noise=0.3, prior=nn.FixedScale())
                else:
                    classes = np.digitize(y, [-0.5, 0.5])
                    nn.classification(features, classes, prior=nn.FixedScale())
            yield {"head": head, **beside_exact(model, a.seed)}


def beside_exact(model: pm.Model, seed: int) -> dict[str, Any]:
    """Errors of the standard deviations of one model."""
    rng = np.random.default_rng(seed)
    potential = StochasticPotential(model, batch_size=BATCH)
    position = find_mode(potential, rng)
    d = potential.size
    prior = normal_prior(potential, position, np.arange(d), rng)
    linear = LinearModel(
        tuple(map(jnp.asarray, potential.row_values())),
        jnp.asarray(position),
        jnp.arange(d),
        jnp.asarray(1 / np.sqrt(prior.precision)),
        Graphs(potential, laws_of(model)),
    )
    started = time.perf_counter()
    sampled = Sampled(linear, DRAWS, BATCH, seed, 1_000_000)
    precision = np.ones(d)
    found = sampled.posterior(precision, np.zeros(d))
    seconds = time.perf_counter() - started
    full = Full(linear, np.zeros((0, d)))
    exact_posterior = full.posterior(precision, np.zeros(d))
    factor = cho_factor(full.curvature + np.eye(d))
    exact = cho_solve(factor, sampled.noise(precision).T).T
    ratios = np.sqrt(np.square(found.deviations).mean(0) / np.square(exact).mean(0))
    return {
        "d": d,
        "updates": sampled.progress.updates,
        "seconds": round(seconds, 1),
        "worst_sd_error": float(np.abs(ratios - 1).max()),
        "rms_sd_error": float(np.sqrt(np.square(ratios - 1).mean())),
        "effective_dimension": float(found.determined.sum()),
        "exact_effective_dimension": float(exact_posterior.determined.sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="the smallest network alone")
    for row in sds(parser.parse_args()):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
