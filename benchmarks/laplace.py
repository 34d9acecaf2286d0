"""Sampled linearised Laplace: beside the exact posterior of the linear model, and on MNIST.

    export PYMC_SGMCMC_DATA=...
    uv run python -m benchmarks.laplace sds              # standard deviations: half an hour
    uv run python -m benchmarks.laplace mnist            # beside MAP and ATMC: an hour
    uv run python -m benchmarks.laplace mnist --smoke    # does it run: two minutes

"sds": networks of up to 2,000 parameters. Draws by stochastic gradients are held against what
the exact inverse of the precision makes of the same noise, so that no Monte-Carlo error hides one
of the optimiser: the largest error of a marginal standard deviation, and their root mean square.

"mnist": LeNet-small, 14,090 parameters, on 60,000 images: error in percent, log-likelihood of a
test image in nats, expected calibration error, of the mode, of draws around it, and of ATMC's.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pymc as pm
from scipy.linalg import cho_factor, cho_solve
from xarray import DataTree

import pymc_sgmcmc as sg
from benchmarks.images import score
from benchmarks.networks.image_sets import Images, load
from pymc_sgmcmc import nn
from pymc_sgmcmc.linearised.exact import Full
from pymc_sgmcmc.linearised.linear import Graphs, LinearModel
from pymc_sgmcmc.linearised.mode import find_mode
from pymc_sgmcmc.linearised.prior import normal_prior
from pymc_sgmcmc.linearised.sampled import Sampled
from pymc_sgmcmc.model.links import laws_of
from pymc_sgmcmc.model.potential import StochasticPotential

# Hidden units of networks of 8 inputs: 101, 501 and 2,001 parameters, or so.
UNITS = (10, 50, 200)
DRAWS, BATCH = 64, 100
SMOKE = {"rows": 500, "tests": 200, "draws": 4, "tune": 20, "chains": 1}


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


def lenet_small(images: Images) -> pm.Model:
    """Two convolutions and two dense layers."""
    prior = nn.FixedScale()
    with pm.Model() as model:
        x = pm.Data("X", images.X) / 255 - (images.X / np.float32(255)).mean()
        x = nn.conv2d(x, 6, "conv_1", size=5, activation="relu", prior=prior)
        x = nn.conv2d(
            nn.max_pool2d(x), 16, "conv_2", size=5, padding="valid", activation="relu", prior=prior
        )
        x = nn.mlp(nn.flatten(nn.max_pool2d(x)), (28,), activation="relu", prior=prior)
        nn.classification(x, images.y, classes=10, prior=prior)
    return model


def mnist(a: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Scores of each method, as they are finished."""
    images = load("mnist").first(a.rows, a.tests)
    model = lenet_small(images)

    def scored(method: str, idata: DataTree, started: float, **also: Any) -> dict[str, Any]:
        took = time.perf_counter() - started
        shown = {"inside": images.X_test, "outside": images.X_other}
        mean = {
            k: sg.predict(idata, {"X": x}, model=model, quantiles=(0.5,))["mean"]
            for k, x in shown.items()
        }
        found = score(*(x["y_probability"].values for x in mean.values()), images.y_test)
        found["ll"] /= len(images.y_test)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return {"method": method, **found, "minutes": took / 60, "peak_gb": memory, **also}

    common = {"model": model, "dtype": "float32", "random_seed": a.seed}
    mode = None
    for method, em in {"Laplace": None, "Laplace, EM by layer": "layer"}.items():
        started = time.perf_counter()
        idata = sg.laplace(
            **common, draws=a.draws, structure="sampled", em=em, em_rounds=5, mode=mode
        )
        attributes = idata["posterior"].attrs
        kept = ("updates", "effective_dimension", "em_rounds")
        also = {k: attributes[k] for k in kept}
        if mode is None:
            at = idata["linearised_at"].to_dataset()
            mode = {str(k): x.values for k, x in at.data_vars.items()}
            point = at.expand_dims(chain=[0], draw=[0])
            yield scored("MAP", DataTree.from_dict({"/posterior": point}), started)
        yield scored(method, idata, started, **also)
    started = time.perf_counter()
    step = sg.ATMC(batch_size=100, dtype="float32", engine="jax", model=model)
    idata = sg.sample(
        a.draws,
        tune=a.tune,
        chains=a.chains,
        step=step,
        model=model,
        random_seed=a.seed,
        progressbar=False,
    )
    yield scored("ATMC", idata, started, updates=idata["posterior"].attrs["updates"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("sds", "mnist"))
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--tests", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=32)
    parser.add_argument("--tune", type=int, default=100)
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="does it run; the numbers say nothing")
    a = parser.parse_args()
    if a.smoke:
        vars(a).update(SMOKE)
    for row in {"sds": sds, "mnist": mnist}[a.what](a):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
