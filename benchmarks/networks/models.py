"""The networks as PyMC models, and what their draws predict."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
from xarray import DataTree

from benchmarks.networks.settings import Network
from pymc_sgmcmc import nn, predict


@dataclass(frozen=True)
class Predictive:
    """Normal laws of the rows to predict, one for each draw.

    Attributes
    ----------
    mean, sd : ndarray
        ``(draws, rows)``.
    extras : dict
        What else there is to tell of the run: updates, rows in a minibatch ....
    """

    mean: np.ndarray
    sd: np.ndarray
    extras: dict[str, Any]


@dataclass(frozen=True)
class StandardNormal:
    """Weights from N(0, 1), whatever the number of inputs."""

    def weights(self, name: str, dims: tuple[str, ...], fan_in: int, gain: float) -> Any:
        """Write the weights into the model of the context."""
        return pm.Normal(name, 0, 1, dims=dims)


def build(network: Network, X: np.ndarray, y: np.ndarray) -> tuple[pm.Model, Any]:
    """Model of a network, and the outputs of its last hidden layer."""
    with pm.Model() as model:
        rows = pm.Data("X", X)
        if network.head == "standard normal":
            prior = StandardNormal()
            features = nn.mlp(rows, network.hidden, activation=network.activation, prior=prior)
            mean = nn.dense(features, None, "y_mean", prior=prior)
            pm.Normal("y", mean, pm.HalfNormal("noise", 1), observed=y)
        else:
            features = nn.mlp(rows, network.hidden, activation=network.activation)
            nn.regression(features, y, noise=network.head)
    return model, features


def prior_start(model: pm.Model, seed: int) -> dict[str, np.ndarray]:
    """Unconstrained draw from the prior, but for what has an ``initval``: where chains start too.

    At the model's own initial point all weights are 0, where the gradients of most vanish.
    """
    draw = pm.initial_point.make_initial_point_fn(model=model, default_strategy="prior")
    return draw(seed)


def sampled_names(model: pm.Model) -> list[str]:
    """Variables to keep: weights that are made of them need no room."""
    return [variable.name for variable in model.free_RVs]


def predictions(idata: DataTree, model: pm.Model, X: np.ndarray) -> DataTree:
    """Give a posterior with the group ``predictions`` of rows."""
    return predict(idata, {"X": X}, var_names=None, model=model)


def normal_laws(predicted: DataTree, **extras: Any) -> Predictive:
    """Put the chains of `predictions` after one another."""
    group = predicted["predictions"]
    mean, sd = np.broadcast_arrays(group["y_mean"].values, group["y_sd"].values)
    rows = mean.shape[-1]
    return Predictive(mean.reshape(-1, rows), sd.reshape(-1, rows), extras)


def predictive(idata: DataTree, model: pm.Model, X: np.ndarray, **extras: Any) -> Predictive:
    """Normal laws that the draws of a posterior predict for rows."""
    return normal_laws(predictions(idata, model, X), **extras)
