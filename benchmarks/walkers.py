"""Chains that lend each other coordinates, `ensemble=`, beside coordinates that stay.

Effective draws in 1,000 gradients, and variances over the exact ones, of BAOAB with exact
gradients, whose step and friction are found, for every preconditioner of the warm-up and
several numbers of walkers:

- ``normal``: 20 parameters, variances from 1 to 1e-4 in directions that are not the axes;
- ``banana``: Rosenbrock's, x ~ N(1, 10), y ~ N(x², 0.1);
- ``moons``: a 2-5-5-1 network on 100 rows of two moons, 40 parameters; probabilities of class 1 at
  25 points of the plane, whose exact variances are not known.

    python benchmarks/walkers.py [normal banana moons] [--walkers 4 16 64] [--preconditioners dense]

Effective draws are of squares (of the probabilities themselves), from all chains together. Their
number over all gradients of all chains after the tuning is what is printed.
"""

import argparse
import logging
import time

import arviz as az
import numpy as np
import pymc as pm
from sklearn.datasets import make_moons

from pymc_sgmcmc import BAOAB, WarmUp, predict, sample

SHARES = {"none": 0.9999, "diagonal": 0.99, "dense": 0.5}
"""η beside each preconditioner: the less it knows, the more is lent."""


UPDATES = 10
"""Between two draws: no more than 100 of 1,000 updates can be seen to be independent."""


def normal(d=20, condition=1e4, seed=0):
    """Model, and its draws as standard normal numbers, widest direction first."""
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    variances = np.geomspace(1, 1 / condition, d)
    with pm.Model() as model:
        x = pm.Flat("x", shape=d)
        pm.Potential("normal", -0.5 * x @ ((turn / variances) @ turn.T) @ x)
    return model, lambda idata: idata.posterior["x"].values @ turn / np.sqrt(variances)


def banana():
    """Model, and its draws as two independent standard normal numbers."""
    with pm.Model() as model:
        x = pm.Normal("x", 1, 10**0.5)
        pm.Normal("y", x**2, 0.1**0.5)

    def standard(idata):
        x, y = (idata.posterior[name].values for name in "xy")
        return np.stack([(x - 1) / 10**0.5, (y - x**2) / 0.1**0.5], axis=-1)

    return model, standard


def moons():
    """Model, and probabilities of class 1 at 25 points."""
    X, y = make_moons(noise=0.2, random_state=0, n_samples=100)
    X = (X - X.mean(0)) / X.std(0)
    with pm.Model() as model:
        data = pm.Data("X", X)
        hidden = pm.math.tanh(data @ pm.Normal("w1", shape=(2, 5)))
        hidden = pm.math.tanh(hidden @ pm.Normal("w2", shape=(5, 5)))
        pm.Bernoulli("y", logit_p=hidden @ pm.Normal("w3", shape=5), observed=y)
    side = np.linspace(-2, 2, 5)
    plane = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)

    def probabilities(idata):
        made = predict(idata, {"X": plane}, model=model)
        return made["predictions"]["y_probability"].values

    return model, probabilities


TARGETS = {"normal": normal, "banana": banana, "moons": moons}


def measure(target: str, preconditioner: str, share: float | None, chains: int, seed: int) -> str:
    """Figures of one run, as text."""
    model, standard = TARGETS[target]()
    found = None if preconditioner == "none" else preconditioner
    with model:
        step = BAOAB(
            warmup=WarmUp(preconditioner=found),
            ensemble=share,
            steps_per_draw=UPDATES,
            engine="numba",
        )
        cpu = time.process_time()
        draws = max(200, 12_000 // chains)
        idata = sample(
            draws, tune=draws, chains=chains, step=step, random_seed=seed, progressbar=False
        )
    seconds = time.process_time() - cpu
    z, attrs = standard(idata), idata.posterior.attrs
    gradients = chains * draws * attrs["steps_per_draw"]
    exact = target != "moons"
    quantities = np.moveaxis(np.square(z) if exact else z, -1, 0)
    sizes = np.array([float(az.ess(q)) for q in quantities]) / gradients * 1000
    variances = np.square(z).mean((0, 1)) if exact else np.full(z.shape[-1], np.nan)
    worst = max(float(az.rhat(q)) for q in quantities)
    return (
        f"{attrs['step_size']:9.3g} {attrs['steps_per_draw']:5} {sizes[0]:9.2f} {sizes[-1]:9.2f} "
        f"{sizes.min():9.2f} {variances[0]:8.3f} {variances[-1]:8.3f} {worst:7.2f} {seconds:7.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    parser.add_argument("--walkers", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--preconditioners", nargs="+", choices=SHARES, default=list(SHARES))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.getLogger("pymc").setLevel(logging.ERROR)
    columns = "h steps ESS first ESS last ESS least var first var last R-hat CPU s"
    for target in arguments.targets:
        print(f"{target:38}{columns}")
        for chains in arguments.walkers:
            for preconditioner in arguments.preconditioners:
                for lent in (None, SHARES[preconditioner]):
                    label = f"{chains:3} {preconditioner:9}" + (f" η = {lent:g}" if lent else "")
                    figures = measure(target, preconditioner, lent, chains, arguments.seed)
                    print(f"{label:30}{figures}", flush=True)


if __name__ == "__main__":
    main()
