"""Linearised Laplace of a network for images, and the mode around which it is linear."""

import argparse
from typing import Any

import arviz as az
import numpy as np
from xarray import DataTree

from benchmarks.networks import image_models
from benchmarks.networks.image_sets import Images
from pymc_sgmcmc import laplace
from pymc_sgmcmc.linearised.mode import find_mode
from pymc_sgmcmc.model.potential import StochasticPotential

METHODS = ("mode", "Laplace", "Laplace, EM")


def fit(
    method: str, images: Images, a: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Class probabilities of test images and of others, by one of `METHODS`.

    The mode is the same for all three: that of the model as it is written, by `laplace`'s own
    search. "EM" fits one precision of the prior for each variable.
    """
    model = image_models.build(a.network, images, a)
    potential = StochasticPotential(model, batch_size=a.batch_size, dtype="float32")
    mode = potential.unravel(find_mode(potential, np.random.default_rng(a.seed)))
    if method == "mode":
        idata = _alone(mode)
    else:
        idata = laplace(
            model,
            draws=a.laplace_draws,
            em="layer" if method == "Laplace, EM" else None,
            mode=mode,
            batch_size=a.batch_size,
            max_updates=a.laplace_updates,
            em_rounds=a.em_rounds,
            dtype="float32",
            random_seed=a.seed,
        )
    shown = np.concatenate([images.X_test, images.X_other])
    probabilities = image_models.probabilities(idata, model, shown)
    inside, outside = np.split(probabilities, [len(images.X_test)])
    known = idata["posterior"].attrs
    extras = {k: known[k] for k in ("updates", "effective_dimension", "em_rounds") if k in known}
    return inside, outside, extras | {"draws": idata["posterior"].sizes["draw"]}


def _alone(mode: dict[str, np.ndarray]) -> DataTree:
    """The mode as the only draw of a model that is not linear; no variable is transformed."""
    return az.from_dict({"posterior": {k: x[None, None] for k, x in mode.items()}})
