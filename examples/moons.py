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

from pymc_sgmcmc import ATMC, WarmUp, predict

OUTPUT = Path(__file__).parent / "output"
COORDS = {"feature": ["x1", "x2"], "hidden_1": range(5), "hidden_2": range(5)}
SIDE = np.linspace(-3, 3, 41)
PLANE = np.stack(np.meshgrid(SIDE, SIDE), axis=-1).reshape(-1, 2)


def load() -> tuple[np.ndarray, ...]:
    """Training and test points, 500 each, of two interleaved half circles, and their moons."""
    X, y = make_moons(noise=0.2, random_state=0, n_samples=1000)
    X = scale(X)
    return X[:500], X[500:], y[:500], y[500:]


def network(inputs):
    """Log odds of the second moon: tanh layers without biases, all weights from N(0, 1)."""
    weights_1 = pm.Normal("weights_1", 0, 1, dims=("feature", "hidden_1"))
    weights_2 = pm.Normal("weights_2", 0, 1, dims=("hidden_1", "hidden_2"))
    weights_3 = pm.Normal("weights_3", 0, 1, dims="hidden_2")
    return pm.math.tanh(pm.math.tanh(inputs @ weights_1) @ weights_2) @ weights_3


def build_model(X: np.ndarray, y: np.ndarray) -> pm.Model:
    with pm.Model(coords={**COORDS, "point": np.arange(len(X))}) as model:
        inputs = pm.Data("inputs", X, dims=("point", "feature"))
        moons = pm.Data("moons", y, dims="point")
        pm.Bernoulli("moon", logit_p=network(inputs), observed=moons, dims="point")
    return model


def surfaces_of(model: pm.Model, idata) -> tuple[np.ndarray, np.ndarray]:
    """Predictive mean and standard deviation of the probability over the plane."""
    probability = predict(idata, {"inputs": PLANE}, model=model)["predictions"]["moon_probability"]
    return probability.mean(("chain", "draw")).values, probability.std(("chain", "draw")).values


def draw_surface(ax: plt.Axes, values: np.ndarray, X: np.ndarray, y: np.ndarray, kind: str):
    """Fill the plane with probabilities or standard deviations of them, and put data on top."""
    cmap, top = {"probability": ("RdBu_r", 1.0), "sd": ("viridis", 0.5)}[kind]
    levels = np.linspace(0, top, 21)
    values = np.minimum(values, top).reshape(len(SIDE), len(SIDE))
    filled = ax.contourf(SIDE, SIDE, values, levels, cmap=cmap)
    for moon, color in enumerate(("midnightblue", "darkred")):
        ax.scatter(*X[y == moon].T, c=color, s=8, edgecolors="white", linewidths=0.3)
    ax.set(aspect="equal", xlim=(-3, 3), ylim=(-3, 3), xticks=(-2, 0, 2), yticks=(-2, 0, 2))
    return filled


def draw_picture(surfaces: dict, X: np.ndarray, y: np.ndarray) -> plt.Figure:
    """A column for each method: its predictive mean, and below the standard deviation."""
    figure, axes = plt.subplots(
        2,
        len(surfaces),
        figsize=(0.8 + 2.9 * len(surfaces), 5.6),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    labels = {"probability": "probability: mean", "sd": "standard deviation"}
    for row, values, kind in zip(axes, zip(*surfaces.values(), strict=True), labels, strict=True):
        filled = [draw_surface(*pair, X, y, kind) for pair in zip(row, values, strict=True)]
        figure.colorbar(filled[0], ax=row, label=labels[kind], ticks=filled[0].levels[::4])
    for column, name in zip(axes.T, surfaces, strict=True):
        column[0].set_title(name)
    figure.supxlabel("x1")
    figure.supylabel("x2")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    X, _, y, _ = load()
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
                step = ATMC(batch_size=50, warmup=WarmUp(target_bias=0.1), steps_per_draw=200)
                idata = pm.sample(step=step, **settings)
            else:
                idata = pm.sample(1000, tune=1000, nuts_sampler="pymc", cores=1, **settings)
            print(f"{name}: {time.time() - started:.0f} s")
        surfaces[name] = surfaces_of(model, idata)
    for what, a, b in zip(("mean", "sd"), *surfaces.values(), strict=True):
        apart = np.abs(a - b)
        print(
            f"Predictive {what}: mean |ATMC - NUTS| {apart.mean():.4f}, largest {apart.max():.4f}"
        )
    OUTPUT.mkdir(exist_ok=True)
    draw_picture(surfaces, X, y).savefig(OUTPUT / "moons.png", dpi=110)
    print(f"Saved {OUTPUT / 'moons.png'}.")


if __name__ == "__main__":
    main()
