"""Handwritten digits with a Bayesian neural network, sampled by ATMC on minibatches.

A 64-50-50-10 tanh network in plain PyMC on scikit-learn's 1,797 digits. Prints how the posterior
predictive compares with a single draw and with the same network trained once by Adam, and whether
the chains agree on the predictions; saves the draws and a picture in examples/output.

    uv run examples/digits.py
"""

import argparse
import time
from itertools import pairwise
from pathlib import Path

import arviz as az
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pymc as pm
import xarray as xr
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from pymc_sgmcmc import ATMC

LAYERS = ("pixel", "hidden_1", "hidden_2", "digit")
SIZES = (64, 50, 50, 10)
# Weights have sd SCALE/√fan_in: with pixels of sd 0.4, hidden units leave the linear part of tanh
# and a network drawn from the prior is sure of most images, as people are of digits. With a scale
# of 1 it is nearly linear and timid: the negative log-likelihood of its posterior is about 0.5.
SCALE = 6


def load() -> tuple[np.ndarray, ...]:
    """Training and test images, pixels in [0, 1] less their mean, and their digits."""
    images, digits = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        images / 16, digits, test_size=0.25, stratify=digits, random_state=0
    )
    mean = X_train.mean()
    return X_train - mean, X_test - mean, y_train, y_test


def build_model(X: np.ndarray, y: np.ndarray) -> pm.Model:
    """The network."""
    coords = {name: np.arange(size) for name, size in zip(LAYERS, SIZES, strict=True)}
    with pm.Model(coords={**coords, "image": np.arange(len(X))}) as model:
        signal = pm.Data("images", X, dims=("image", "pixel"))
        for layer, (inputs, outputs) in enumerate(pairwise(LAYERS), start=1):
            sd = SCALE / SIZES[layer - 1] ** 0.5
            weights = pm.Normal(f"weights_{layer}", 0, sd, dims=(inputs, outputs))
            bias = pm.Normal(f"bias_{layer}", 0, 1, dims=outputs)
            signal = signal @ weights + bias
            if outputs != LAYERS[-1]:
                signal = pm.math.tanh(signal)
        pm.Deterministic("probability", pm.math.softmax(signal, axis=-1), dims=("image", "digit"))
        pm.Categorical("label", logit_p=signal, observed=pm.Data("labels", y), dims="image")
    return model


def predict(model: pm.Model, idata: xr.DataTree, X: np.ndarray) -> xr.DataArray:
    """Class probabilities of every draw: (chain, draw, image, digit)."""
    with model:
        pm.set_data({"images": X}, coords={"image": np.arange(len(X))})
        predictions = pm.sample_posterior_predictive(
            idata, var_names=["probability"], predictions=True, progressbar=False
        )
    return predictions["predictions"]["probability"]


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


def score(probability: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Accuracy, mean negative log-likelihood and expected calibration error (15 bins)."""
    prediction, confidence = probability.argmax(-1), probability.max(-1)
    correct = prediction == y
    nll = -np.log(np.maximum(probability[np.arange(len(y)), y], 1e-12)).mean()
    bins = np.minimum((confidence * 15).astype(int), 14)
    error = sum(
        abs(correct[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    )
    return correct.mean(), nll, error


def draw_picture(predictive: np.ndarray, X: np.ndarray, y: np.ndarray, path: Path) -> None:
    """Reliability of the posterior predictive, and the test digits it is least sure of."""
    figure = plt.figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.35])

    axes = left.subplots()
    edges = np.linspace(0, 1, 11)
    probability, outcome = predictive.ravel(), (y[:, None] == np.arange(10)).ravel()
    bins = np.digitize(probability, edges[1:-1])
    shown = [b for b in range(10) if (bins == b).sum() >= 5]
    mean = np.array([probability[bins == b].mean() for b in shown])
    rate = np.array([outcome[bins == b].mean() for b in shown])
    spread = [np.sqrt(m * (1 - m) / (bins == b).sum()) for b, m in zip(shown, mean, strict=True)]
    axes.plot([0, 1], [0, 1], color="0.7", zorder=0)
    axes.errorbar(mean, rate, yerr=2 * np.array(spread), fmt="o", capsize=3, color="C0")
    axes.set(
        xlabel="predicted probability of a digit",
        ylabel="how often it is that digit",
        title="Reliability on the test set",
        xlim=(-0.02, 1.02),
        ylim=(-0.1, 1.1),
        aspect="equal",
    )

    entropy = -(predictive * np.log(np.maximum(predictive, 1e-12))).sum(-1)
    right.suptitle("The digits it is least sure of (red: its first guess is wrong)")
    for axes, i in zip(right.subplots(2, 5).flat, entropy.argsort()[::-1], strict=False):
        axes.imshow(X[i].reshape(8, 8), cmap="gray_r")
        first, second = predictive[i].argsort()[::-1][:2]
        axes.set_title(
            f"{first}: {predictive[i, first]:.0%}\n{second}: {predictive[i, second]:.0%}",
            fontsize=10,
            color="C0" if first == y[i] else "C3",
        )
        axes.set_xlabel(f"is {y[i]}", fontsize=9)
        axes.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=120)
    plt.close(figure)


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
            var_names=[v.name for v in model.free_RVs],  # not the probabilities of each image
            compute_convergence_checks=False,  # of weights: neurons can swap places
            random_seed=arguments.seed,
        )
    seconds = time.time() - started
    probability = predict(model, idata, X_test)

    draws = probability.stack(sample=("chain", "draw")).transpose("sample", "image", "digit").values
    predictive = draws.mean(0)
    single = np.array([score(p, y_test) for p in draws])
    adam = np.asarray(jax.nn.softmax(network(train_with_adam(X_train, y_train, 0), X_test)))
    print(f"\n{'test set':24} accuracy     NLL   calibration error")
    rows = {
        "posterior predictive": score(predictive, y_test),
        "one draw, on average": single.mean(0),
        "one draw, the best": (single[:, 0].max(), single[:, 1].min(), single[:, 2].min()),
        "Adam, once": score(adam, y_test),
    }
    for name, (accuracy, nll, calibration) in rows.items():
        print(f"{name:24} {accuracy:8.2%}  {nll:6.3f}   {calibration:8.3f}")

    of_truth = probability.isel(image=("pick", np.arange(len(y_test))), digit=("pick", y_test))
    rhat, ess = az.rhat(of_truth).values, az.ess(of_truth).values
    updates = 4 * idata["posterior"].attrs["updates"]
    print(
        f"\nPredictions: R-hat ≤ 1.05 for {(rhat <= 1.05).mean():.1%} of the test digits, "
        f"largest {rhat.max():.3f}; ESS {np.median(ess):.0f} at the median, {ess.min():.0f} least."
        f"\n{updates:,} updates of 4 chains in {seconds:.0f} s with compilation, "
        f"{updates / idata['posterior'].attrs['sampling_time']:,.0f} per second."
    )
    arguments.output.mkdir(exist_ok=True)
    idata["predictions"] = probability.astype(np.float32).to_dataset(name="probability")
    idata.to_netcdf(arguments.output / "digits.nc", engine="h5netcdf")
    draw_picture(predictive, X_test, y_test, arguments.output / "digits.png")
    print(f"Saved digits.nc and digits.png in {arguments.output}.")


if __name__ == "__main__":
    main()
