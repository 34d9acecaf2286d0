"""Handwritten digits with a Bayesian neural network, sampled by ATMC on minibatches.

A 64-50-50-10 tanh network on scikit-learn's 1,797 digits, its priors learned along. Prints how the
posterior predictive compares with a single draw and with the same network trained once by Adam, and
whether the chains agree on the predictions; saves the draws and a picture in examples/output.

    uv run examples/digits.py
"""

import argparse
import time
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pandas as pd
import pymc as pm
import xarray as xr
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from pymc_sgmcmc import ATMC, nn, predict
from pymc_sgmcmc.diagnostics import calibration_error, lppd, predictive_ess, predictive_rhat
from pymc_sgmcmc.plots import plot_most_uncertain, plot_reliability

SIZES = (64, 50, 50, 10)


def load() -> tuple[np.ndarray, ...]:
    """Training and test images, pixels in [0, 1] less their mean, and their digits."""
    images, digits = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        images / 16, digits, test_size=0.25, stratify=digits, random_state=0
    )
    mean = X_train.mean()
    return X_train - mean, X_test - mean, y_train, y_test


def build_model(X: np.ndarray, y: np.ndarray, prior: nn.Prior | None = None) -> pm.Model:
    """The network; its weights have scales that are learned, or another prior."""
    with pm.Model(coords={"pixel": np.arange(64)}) as model:
        images = pm.Data("images", X, dims=("image", "pixel"))
        features = nn.mlp(images, hidden=SIZES[1:-1], prior=prior)
        nn.classification(features, y, classes=10, name="digit", prior=prior, dims="image")
    return model


def train_with_adam(X: np.ndarray, y: np.ndarray, seed: int, epochs: int = 100) -> list:
    """The same network, fitted once to the cross entropy: weights and bias of each layer."""
    rng = np.random.default_rng(seed)
    parameters = [
        (jnp.array(rng.normal(0, n**-0.5, (n, m)), jnp.float32), jnp.zeros(m, jnp.float32))
        for n, m in pairwise(SIZES)
    ]
    optimiser = optax.adam(1e-3)

    def loss(parameters, X, y):
        logits = network(parameters, X)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def update(parameters, state, X, y):
        changes, state = optimiser.update(jax.grad(loss)(parameters, X, y), state)
        return optax.apply_updates(parameters, changes), state

    state = optimiser.init(parameters)
    for _ in range(epochs):
        order = rng.permutation(len(X))
        for batch in np.array_split(order, len(X) // 128):
            parameters, state = update(parameters, state, X[batch], y[batch])
    return parameters


def network(parameters: list, X: np.ndarray) -> jax.Array:
    """Logits of the network."""
    signal = jnp.asarray(X, jnp.float32)
    for weights, bias in parameters[:-1]:
        signal = jnp.tanh(signal @ weights + bias)
    weights, bias = parameters[-1]
    return signal @ weights + bias


def predict_networks(networks: list, X: np.ndarray, y: np.ndarray | None = None) -> xr.DataTree:
    """Predictions of networks that Adam trained, each as a draw: in the form of `predict`."""
    probability = np.stack([jax.nn.softmax(network(parameters, X)) for parameters in networks])
    dims = ("chain", "draw", "image")
    groups = {"predictions": {"digit_probability": ((*dims, "digit_class"), probability[None])}}
    if y is not None:
        likelihood = np.log(np.maximum(probability[:, np.arange(len(y)), y], 1e-12))
        groups["log_likelihood"] = {"digit": (dims, likelihood[None])}
        groups["observed_data"] = {"digit": ("image", y)}
    return xr.DataTree.from_dict({name: xr.Dataset(group) for name, group in groups.items()})


def score(predicted: xr.DataTree) -> dict[str, float]:
    """Accuracy, mean negative log-likelihood and expected calibration error (15 bins)."""
    probability = predicted["predictions"]["digit_probability"].mean(("chain", "draw"))
    correct = probability.argmax("digit_class") == predicted["observed_data"]["digit"]
    return {
        "accuracy": float(correct.mean()),
        "NLL": -float(lppd(predicted)),
        "calibration error": float(calibration_error(predicted)),
    }


def score_draws(predicted: xr.DataTree, every: int = 10) -> pd.DataFrame:
    """Scores of single draws: of one in so many of each chain."""
    n = predicted["predictions"].sizes
    each = [(c, d) for c in range(n["chain"]) for d in range(0, n["draw"], every)]
    return pd.DataFrame([score(predicted.isel(chain=[c], draw=[d])) for c, d in each])


def draw_pictures(predicted: xr.DataTree, images: np.ndarray, folder: Path) -> None:
    """Reliability of the posterior predictive, and the test digits it is least sure of."""
    plots = {
        "reliability": plot_reliability(predicted, classes="pooled", bins=10),
        "least_sure": plot_most_uncertain(predicted, images.reshape(-1, 8, 8)),
    }
    for name, plot in plots.items():
        plot.savefig(folder / f"digits_{name}.png", dpi=120)
    plt.close("all")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--tune", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output")
    arguments = parser.parse_args()
    X_train, X_test, y_train, y_test = load()
    model = build_model(X_train, y_train)

    started = time.time()
    with model:
        idata = pm.sample(
            draws=arguments.draws,
            tune=arguments.tune,
            chains=4,
            step=ATMC(batch_size=128, dtype="float32"),
            compute_convergence_checks=False,  # of weights: neurons can swap places
            random_seed=arguments.seed,
        )
    seconds = time.time() - started
    predicted = predict(idata, {"images": X_test, "digit": y_test}, model=model)

    single = score_draws(predicted)
    adam = predict_networks([train_with_adam(X_train, y_train, seed=0)], X_test, y_test)
    print(f"\n{'test set':24} accuracy     NLL   calibration error")
    rows = {
        "posterior predictive": score(predicted),
        "one draw, on average": single.mean(),
        "one draw, the best": {**single.min(), "accuracy": single["accuracy"].max()},
        "Adam, once": score(adam),
    }
    for name, row in rows.items():
        accuracy, nll, calibration = (row[k] for k in ("accuracy", "NLL", "calibration error"))
        print(f"{name:24} {accuracy:8.2%}  {nll:6.3f}   {calibration:8.3f}")

    of_truth = {"image": ("pick", np.arange(len(y_test))), "digit_class": ("pick", y_test)}
    rhat, ess = (
        f(predicted)["digit_probability"].isel({k: xr.Variable(*v) for k, v in of_truth.items()})
        for f in (predictive_rhat, predictive_ess)
    )
    updates = 4 * idata["posterior"].attrs["updates"]
    print(
        f"\nPredictions: R-hat ≤ 1.05 for {float((rhat <= 1.05).mean()):.1%} of the test digits, "
        f"largest {float(rhat.max()):.3f}; ESS {float(ess.median()):.0f} at the median, "
        f"{float(ess.min()):.0f} least."
        f"\n{updates:,} updates of 4 chains in {seconds:.0f} s with compilation, "
        f"{updates / idata['posterior'].attrs['sampling_time']:,.0f} per second."
    )
    arguments.output.mkdir(exist_ok=True)
    idata["predictions"] = predicted["predictions"].dataset
    idata.to_netcdf(arguments.output / "digits.nc", engine="h5netcdf")
    draw_pictures(predicted, X_test, arguments.output)
    print(f"Saved digits.nc and two pictures in {arguments.output}.")


if __name__ == "__main__":
    main()
