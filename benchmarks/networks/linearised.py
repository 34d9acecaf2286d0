"""Linearised Laplace of a network for images, and the mode around which it is linear."""

import argparse
from typing import Any

import numpy as np
import pymc as pm
from xarray import DataTree

from benchmarks.networks import image_models
from benchmarks.networks.image_sets import Images
from pymc_sgmcmc import laplace

METHODS = ("mode", "Laplace", "Laplace, EM")


def fit(
    method: str, images: Images, a: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Class probabilities of test images and of others, by one of `METHODS`.

    The mode is the same for all three: that of the model as it is written, by `laplace`'s own
    search. "EM" fits one precision of the prior for each variable.
    """
    model = image_models.build(a.network, images, a)
    idata = laplace(
        model,
        draws=1 if method == "mode" else a.laplace_draws,
        structure="diag" if method == "mode" else "sampled",
        em="layer" if method == "Laplace, EM" else None,
        em_rounds=a.em_rounds,
        max_updates=a.laplace_updates,
        batch_size=a.batch_size,
        dtype="float32",
        random_seed=a.seed,
    )
    if method == "mode":
        idata = _at_mode(idata, model)
    shown = np.concatenate([images.X_test, images.X_other])
    probabilities = image_models.probabilities(idata, model, shown)
    inside, outside = np.split(probabilities, [len(images.X_test)])
    known = idata["posterior"].attrs
    extras = {k: known[k] for k in ("updates", "effective_dimension", "em_rounds") if k in known}
    return inside, outside, extras | {"draws": idata["posterior"].sizes["draw"]}


def _at_mode(idata: DataTree, model: pm.Model) -> DataTree:
    """The mode as the only draw, of a model that is not linear."""
    mode = idata["linearised_at"].to_dataset().expand_dims(chain=[0], draw=[0])
    free = [v.name for v in model.free_RVs]
    return DataTree.from_dict({"/posterior": mode[free], "/constant_data": idata["constant_data"]})
