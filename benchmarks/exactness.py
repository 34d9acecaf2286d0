"""Errors of posterior moments against step size and batch size, on real data, against NUTS.

A logistic regression (scikit-learn's breast cancer data: 569 rows, 10 standardised features) and a
small network (the two moons of ``examples/moons.py``). Prints the tables of docs/exactness.md:

    uv run python -m benchmarks.exactness regression
    uv run python -m benchmarks.exactness network --samplers BAOAB CCAdL
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pymc as pm
from scipy.linalg import eigvalsh
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale

import pymc_sgmcmc as sg

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import moons

SAMPLERS = ("SGLD", "SGHMC", "SGNHT", "ATMC", "GLA1", "GLA2", "BAOAB", "CCAdL")
QUIET = {"progressbar": False, "random_seed": 1}


def regression_model() -> pm.Model:
    data = load_breast_cancer()
    X = scale(data.data[:, :10])
    with pm.Model() as model:
        intercept = pm.Normal("intercept", 0, 2.5)
        slopes = pm.Normal("slopes", 0, 2.5, shape=10)
        logit = intercept + pm.Data("X", X) @ slopes
        pm.Bernoulli("benign", logit_p=logit, observed=data.target)
    return model


def vector(idata) -> np.ndarray:
    """Draws of intercept and slopes, of shape ``(draws, 11)``."""
    draws = idata["posterior"].to_dataset().stack(sample=("chain", "draw"))
    return np.column_stack([draws["intercept"].values, draws["slopes"].transpose("sample", ...)])


def nuts(model: pm.Model, draws: int, **kwargs):
    with model:
        return pm.sample(
            draws, tune=1000, chains=4, cores=1, nuts_sampler="pymc", **QUIET, **kwargs
        )


def regression(samplers: Sequence[str]) -> None:
    model = regression_model()
    reference = vector(nuts(model, 5000))
    mean, covariance = reference.mean(0), np.cov(reference, rowvar=False)
    sd = np.sqrt(np.diag(covariance))
    print("sampler | batch | control variate | h | max mean error / sd | sds | any direction")
    for sampler in samplers:
        found = [{"batch_size": b} for b in (32, 285)]
        given = [{"batch_size": None, "step_size": h} for h in (0.1, 0.2, 0.4)] + [
            {"batch_size": 57, "control_variate": controlled, "step_size": h}
            for controlled in (False, True)
            for h in (0.1, 0.2)
        ]
        for kwargs in (*found, *given):
            if "step_size" in kwargs:  # draws about as independent, whatever the step
                h = kwargs["step_size"]
                steps = 2 / h**2 if sampler == "SGLD" else 3 / h
                controlled = kwargs.pop("control_variate", "auto")
                warmup = sg.WarmUp(preconditioner="dense", control_variate=controlled)
                kwargs |= {"warmup": warmup, "steps_per_draw": round(steps)}
            with model:
                idata = sg.sample(tune=300, chains=4, step=getattr(sg, sampler)(**kwargs), **QUIET)
            draws, attributes = vector(idata), idata["posterior"].attrs
            ratio = draws.std(0) / sd
            directions = eigvalsh(np.cov(draws, rowvar=False), covariance)
            whose = "" if "step_size" in kwargs else " (found)"
            print(
                f"{sampler} | {kwargs['batch_size'] or 'all'} | "
                f"{'yes' if attributes['control_variate'] else 'no'} | "
                f"{attributes['step_size']:.3g}{whose} | "
                f"{np.abs((draws.mean(0) - mean) / sd).max():.3f} | "
                f"{ratio.min():.2f}-{ratio.max():.2f} | "
                f"{directions[0]:.2f}-{directions[-1]:.2f}",
                flush=True,
            )


def network(samplers: Sequence[str]) -> None:
    X, _, y, _ = moons.load()
    quick = {"compute_convergence_checks": False}
    model = moons.build_model(X, y)
    reference = moons.surfaces_of(model, nuts(model, 2000, **quick))
    print("sampler | batch | h | mean error of the predictive mean, of the sd")
    for sampler in samplers:
        for batch_size, step_size in ((50, None), (None, None), (50, 0.01), (50, 0.02), (50, 0.04)):
            with moons.build_model(X, y) as model:
                step = getattr(sg, sampler)(batch_size=batch_size, step_size=step_size)
                idata = sg.sample(1000, chains=4, step=step, **QUIET)
            predictions = moons.surfaces_of(model, idata)
            mean, sd = (np.abs(a - b).mean() for a, b in zip(predictions, reference, strict=True))
            h = "found" if step_size is None else step_size
            print(
                f"{sampler} | {batch_size or 'all'} | {h} | {mean:.4f}, {sd:.4f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("regression", "network"))
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS, choices=SAMPLERS)
    arguments = parser.parse_args()
    {"regression": regression, "network": network}[arguments.what](arguments.samplers)


if __name__ == "__main__":
    main()
