"""Networks for images as PyMC models, and their samplers."""

import argparse
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
from pytensor.tensor.variable import TensorVariable
from xarray import DataTree

import pymc_sgmcmc as sg
from benchmarks.networks.image_sets import Images
from pymc_sgmcmc import nn

SAMPLERS = ("ATMC", "SGNHT", "SGD")
NETWORKS = ("mlp", "lenet", "lenet_small", "resnet_pp", "resnet_frn")
# Heek & Kalchbrenner (2019), section 6: RMS displacement of an update, .0003, and the share of
# momentum that it keeps; what bounds displacements (ATMC) is c/h = .001/.0003.
PAPER = {"step_size": 3e-4, "momentum_decay": 0.9}


def build(network: str, images: Images, a: argparse.Namespace) -> pm.Model:
    """The model of a network, on bytes that are cast in the batch.

    Pixels have mean 0, and for residual networks a standard deviation of 1 in each channel.
    """
    X = images.X / np.float32(255)
    mean, sd = X.mean((0, 1, 2)), X.std((0, 1, 2))
    residual = {"depth": a.depth, "width": a.width}
    with pm.Model() as model:
        pixels = pm.Data("X", images.X) / 255
        if network.startswith("resnet"):
            x: Any = (pixels - mean) / sd
        else:
            x = pixels - X.mean()
        features, prior = _features(network, x, residual)
        nn.classification(features, images.y, classes=10, prior=prior)
    return model


def _features(
    network: str, x: TensorVariable, residual: dict[str, int]
) -> tuple[TensorVariable, nn.Prior | None]:
    """Features, and the prior of the head."""
    if network == "mlp":
        return nn.mlp(nn.flatten(x), (400, 400), activation="relu"), None
    if network == "lenet":
        return nn.lenet(x), None
    if network == "lenet_small":
        return _lenet_small(x), nn.FixedScale()
    if network == "resnet_pp":
        return nn.resnet_pp(x, **residual), nn.WeightNorm()
    return nn.resnet_frn(x, **residual), nn.Isotropic(5**-0.5)


def _lenet_small(x: TensorVariable) -> TensorVariable:
    """Features of the network of Antorán et al. (2023): 14,634 parameters with its head."""
    for layer, (filters, size) in enumerate(((16, 5), (32, 3), (32, 3)), 1):
        options: Any = {"size": size, "stride": 2, "activation": "relu"}
        x = nn.conv2d(x, filters, f"conv_{layer}", prior=nn.FixedScale(), **options)
    return nn.avg_pool2d(x)


def step_of(model: pm.Model, method: str, temperature: float | None, a: argparse.Namespace) -> Any:
    """Sampler of a model: with what the warm-up finds, or the settings of the paper."""
    common = {
        "model": model,
        "dtype": "float32",
        "batch_size": a.batch_size,
        "steps_per_draw": a.steps_per_draw,
        "engine": "jax",
    }
    if a.paper or method == "SGD":
        common |= PAPER | {"schedule": "cyclical"}  # a draw at the end of each cycle
        if method == "ATMC":
            common["speed_limit"] = 10 / 3
    else:
        common["warmup"] = sg.WarmUp(target_bias=a.target_bias)
    if method == "SGD":
        # Momentum without noise: the mode that it ends in, as of the paper's SGD.
        return sg.SGHMC(temperature=0.0, **common)
    cls: Callable[..., Any] = {"ATMC": sg.ATMC, "SGNHT": sg.SGNHT}[method]
    return cls(temperature=temperature, **common)


def sample(
    model: pm.Model, step: Any, a: argparse.Namespace, store: Path, ends: timedelta | None = None
) -> DataTree:
    """Draws of a model; the same call goes on where one that was stopped was."""
    store.parent.mkdir(parents=True, exist_ok=True)
    idata = sg.sample(
        a.draws,
        tune=a.tune,
        chains=a.chains,
        step=step,
        model=model,
        var_names=[v.name for v in model.free_RVs],
        random_seed=a.seed,
        progressbar=False,
        store=str(store),
        stop_when=ends,
    )
    if "posterior" not in idata.children or not idata["posterior"].sizes.get("draw"):
        sys.exit("The time was over before the first draw. Use more --minutes, or less --tune.")
    return idata


def probabilities(idata: DataTree, model: pm.Model, X: np.ndarray) -> np.ndarray:
    """Class probabilities ``(rows, classes)``, averaged over draws, in blocks of rows."""
    found = sg.predict(idata, {"X": X}, model=model, quantiles=(0.5,))
    return found["mean"]["y_probability"].values


def of_each_draw(idata: DataTree, model: pm.Model, X: np.ndarray) -> np.ndarray:
    """Class probabilities ``(chain, draw, row, class)`` of a few rows."""
    return sg.predict(idata, {"X": X}, model=model)["predictions"]["y_probability"].values


def last_draw(idata: DataTree) -> DataTree:
    """The last draw of the first chain, alone."""
    return idata.isel(chain=[0], draw=[-1])
