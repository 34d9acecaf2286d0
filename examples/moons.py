"""Two moons with a small Bayesian neural network: ATMC on minibatches beside NUTS on all rows.

A 2-5-5-1 tanh network with N(0, 1) weights. Prints how far the two predictive means and standard
deviations are apart over the plane, and draws both in examples/output/moons.png.

    uv run examples/moons.py
"""

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
from sklearn.datasets import make_moons
from sklearn.preprocessing import scale

from pymc_sgmcmc import ATMC, predict

OUTPUT = Path(__file__).parent / "output"
SIDE = np.linspace(-3, 3, 41)


def load() -> tuple[np.ndarray, np.ndarray]:
    """500 points of two interleaved half circles."""
    X, y = make_moons(noise=0.2, random_state=0, n_samples=1000)
    return scale(X)[:500], y[:500]


def build_model(X: np.ndarray, y: np.ndarray) -> pm.Model:
    coords = {"feature": ["x1", "x2"], "hidden_1": range(5), "hidden_2": range(5)}
    with pm.Model(coords={**coords, "point": np.arange(len(X))}) as model:
        inputs = pm.Data("inputs", X, dims=("point", "feature"))
        weights_1 = pm.Normal("weights_1", 0, 1, dims=("feature", "hidden_1"))
        weights_2 = pm.Normal("weights_2", 0, 1, dims=("hidden_1", "hidden_2"))
        weights_3 = pm.Normal("weights_3", 0, 1, dims="hidden_2")
        signal = pm.math.tanh(pm.math.tanh(inputs @ weights_1) @ weights_2) @ weights_3
        pm.Bernoulli("moon", logit_p=signal, observed=pm.Data("moons", y), dims="point")
    return model


def surfaces_of(model: pm.Model, idata, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predictive mean and standard deviation of the probability at points X."""
    probability = predict(idata, {"inputs": X}, model=model)["predictions"]["moon_probability"]
    return probability.mean(("chain", "draw")).values, probability.std(("chain", "draw")).values


def draw_picture(surfaces: dict, X: np.ndarray, y: np.ndarray, path: Path) -> None:
    figure, axes = plt.subplots(
        2, 2, figsize=(8, 7), sharex=True, sharey=True, layout="constrained"
    )
    for row, (name, (mean, sd)) in zip(axes, surfaces.items(), strict=True):
        for ax, values, title, cmap, top in (
            (row[0], mean, f"{name}: mean", "RdBu_r", 1),
            (row[1], sd, f"{name}: standard deviation", "viridis", 0.5),
        ):
            image = ax.pcolormesh(
                SIDE, SIDE, values.reshape(41, 41), cmap=cmap, vmin=0, vmax=top, shading="gouraud"
            )
            ax.scatter(*X.T, c=np.where(y, "darkred", "darkblue"), s=4, alpha=0.5, linewidths=0)
            ax.set(title=title, xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
            figure.colorbar(image, ax=ax)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    X, y = load()
    grid = np.stack(np.meshgrid(SIDE, SIDE), axis=-1).reshape(-1, 2)
    surfaces = {}
    for name in ("ATMC", "NUTS"):
        with build_model(X, y) as model:
            settings = {
                "chains": 4,
                "random_seed": arguments.seed,
                "compute_convergence_checks": False,  # of weights: neurons can swap places
            }
            started = time.time()
            if name == "ATMC":
                idata = pm.sample(step=ATMC(batch_size=50), **settings)
            else:
                idata = pm.sample(1000, tune=1000, nuts_sampler="pymc", cores=1, **settings)
            print(f"{name}: {time.time() - started:.0f} s")
        surfaces[name] = surfaces_of(model, idata, grid)
    for what, a, b in zip(("mean", "sd"), *surfaces.values(), strict=True):
        apart = np.abs(a - b)
        print(
            f"Predictive {what}: mean |ATMC - NUTS| {apart.mean():.4f}, largest {apart.max():.4f}"
        )
    OUTPUT.mkdir(exist_ok=True)
    draw_picture(surfaces, X, y, OUTPUT / "moons.png")
    print(f"Saved {OUTPUT / 'moons.png'}.")


if __name__ == "__main__":
    main()
