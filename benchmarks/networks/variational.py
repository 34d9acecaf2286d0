"""Mean-field variational inference, of PyMC."""

import numpy as np
import pymc as pm

from benchmarks.networks.models import Predictive, build, predictive, prior_start
from benchmarks.networks.settings import Network, Settings

_START_SD = 0.01  # of every unconstrained parameter; wide starts drown the data in noise


def advi(
    X: np.ndarray,
    y: np.ndarray,
    X_test: np.ndarray,
    network: Network,
    settings: Settings,
    seed: int,
) -> Predictive:
    """Automatic differentiation variational inference (Kucukelbir et al. 2017), on all rows."""
    model, _ = build(network, X, y)
    start = prior_start(model, seed)
    with model:
        fitted = pm.fit(
            n=settings.advi_updates,
            method="advi",
            start=start,
            start_sigma=dict.fromkeys(start, _START_SD),
            obj_optimizer=pm.adam(learning_rate=0.01),
            random_seed=seed,
            progressbar=False,
        )
    idata = fitted.sample(settings.chains * settings.draws, random_seed=seed)
    return predictive(idata, model, X_test)
