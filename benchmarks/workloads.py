"""The posteriors that the speed benchmarks share: data, priors and settings, in NumPy alone.

A logistic regression on made-up data, and tanh networks with independent normal priors on
scikit-learn's digits and on MNIST. Every peer writes the same model with its own means; `gradient`
is what all of them must agree with. Parameters stand in the order of `shapes` in one flat vector.
"""

import importlib.util
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

FRICTION = -np.log(0.9)  # of the momentum in one update, for samplers that have one
PRIOR_SD = 2.5  # of the logistic regression
WEIGHT_SCALE, BIAS_SD = 6.0, 1.0  # of the networks, whose weights have sd WEIGHT_SCALE/√fan_in


@dataclass(frozen=True)
class Workload:
    """A posterior, and how it is sampled.

    Attributes
    ----------
    name : str
    X, y : ndarray
        Features ``(N, n)``, float32, and labels ``(N,)``, int32.
    layers : tuple of int
        Units of each layer of a network; empty for the logistic regression.
    batch_size : int
    step_size : float
        h, the displacement of a parameter in one update: small, since only speed is measured.
    draws : int
        Draws of one chain in one call of a compiled program: about a third of a second.
    steps_per_draw : int
        Updates between two positions that are kept.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    layers: tuple[int, ...]
    batch_size: int
    step_size: float
    draws: int
    steps_per_draw: int = 100

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the parameters: intercept and slopes, or weights and bias of each layer."""
        if not self.layers:
            return [(), (self.X.shape[1],)]
        return [shape for n, m in pairwise(self.layers) for shape in ((n, m), (m,))]

    @property
    def prior_sds(self) -> list[float]:
        """Standard deviation of the prior of each parameter array."""
        if not self.layers:
            return [PRIOR_SD] * 2
        return [sd for n in self.layers[:-1] for sd in (WEIGHT_SCALE / n**0.5, BIAS_SD)]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def split(self, theta: np.ndarray) -> list[np.ndarray]:
        """Parameter arrays ``(..., *shape)`` of flat positions ``(..., d)``."""
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in self.shapes])[:-1]
        parts = zip(np.split(theta, ends, axis=-1), self.shapes, strict=True)
        return [part.reshape((*theta.shape[:-1], *shape)) for part, shape in parts]

    def start(self, chains: int, seed: int = 0) -> np.ndarray:
        """Where the chains start, ``(chains, d)``: a network as for training."""
        z = np.random.default_rng(seed).normal(size=(chains, self.size))
        for part, shape in zip(self.split(z), self.shapes, strict=True):
            part *= shape[0] ** -0.5 if len(shape) == 2 else 0.01
        return z.astype(np.float32)

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """Gradient of the log posterior from all rows at one position ``(d,)``, in float64."""
        parameters = self.split(theta.astype(float))
        X = self.X.astype(float)
        prior = [-p / sd**2 for p, sd in zip(parameters, self.prior_sds, strict=True)]
        if not self.layers:
            intercept, slopes = parameters
            error = self.y - 1 / (1 + np.exp(-intercept - X @ slopes))
            likelihood = [error.sum(), X.T @ error]
        else:
            weights, signals = parameters[::2], [X]
            for w, b in zip(weights, parameters[1::2], strict=True):
                signals.append(signals[-1] @ w + b)
                if len(signals) < len(self.layers):
                    signals[-1] = np.tanh(signals[-1])
            logits = signals.pop()
            p = np.exp(logits - logits.max(1, keepdims=True))
            error = np.eye(self.layers[-1])[self.y] - p / p.sum(1, keepdims=True)
            likelihood = []
            for w, signal in zip(weights[::-1], signals[::-1], strict=True):
                likelihood = [signal.T @ error, error.sum(0), *likelihood]
                error = (error @ w.T) * (1 - signal**2)
        terms = zip(prior, likelihood, strict=True)
        return np.concatenate([np.ravel(a + b) for a, b in terms])


def logistic_data(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Independent standard normal features; labels from slopes of sd 1/√d."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d), np.float32)
    p = 1 / (1 + np.exp(-0.5 - X @ rng.normal(0, d**-0.5, d)))
    return X, (rng.random(n) < p).astype(np.int32)


def logistic(n: int = 100_000, d: int = 50, batch_size: int = 500) -> Workload:
    """Logistic regression; its step is small beside the posterior sd, about 2.5/√n."""
    return Workload("logistic", *logistic_data(n, d), (), batch_size, 0.05 / n**0.5, 50)


def digits(batch_size: int) -> Workload:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X = (X / 16 - (X / 16).mean()).astype(np.float32)
    layers = (64, 50, 50, 10)
    return Workload(f"digits-{batch_size}", X, y.astype(np.int32), layers, batch_size, 1e-3, 20)


def mnist(batch_size: int = 512) -> Workload:
    with np.load(Path(os.environ["PYMC_SGMCMC_DATA"]) / "images" / "mnist.npz") as data:
        X, y = data["X_train"].reshape(-1, 784), data["y_train"].astype(np.int32)
    X = X.astype(np.float32) / 255
    return Workload("mnist", X - X.mean(), y, (784, 400, 400, 10), batch_size, 1e-4, 1)


WORKLOADS = {
    "logistic": logistic,
    "digits-32": lambda: digits(32),
    "digits-128": lambda: digits(128),
    "mnist": mnist,
}


def missing(name: str) -> str | None:
    """Why a workload can't be had, or None if it can."""
    if name.startswith("digits") and importlib.util.find_spec("sklearn") is None:
        return "scikit-learn, which has the digits, is not installed"
    if name != "mnist":
        return None
    folder = os.environ.get("PYMC_SGMCMC_DATA")
    if folder is None:
        return "PYMC_SGMCMC_DATA is not set: it names the folder that has images/mnist.npz"
    path = Path(folder) / "images" / "mnist.npz"
    return None if path.exists() else f"{path} does not exist"


def save(workload: Workload, path: Path) -> None:
    """Write a workload to a file, so that peers need no package to read it."""
    np.savez(path, **vars(workload))


def load(path: Path) -> Workload:
    with np.load(path) as data:
        return Workload(
            **{k: x if k in ("X", "y") else x.item() for k, x in data.items() if k != "layers"},
            layers=tuple(data["layers"].astype(int).tolist()),
        )
