"""Methods that sample the posterior: ATMC on minibatches, NUTS on all rows."""

from typing import Any

import numpy as np
import pymc as pm
from xarray import DataTree

import pymc_sgmcmc as sg
from benchmarks.networks.models import (
    Predictive,
    build,
    normal_laws,
    predictions,
    predictive,
    sampled_names,
)
from benchmarks.networks.settings import Network, Settings
from pymc_sgmcmc.diagnostics import predictive_rhat

_KEPT = ("updates", "warmup_updates", "batch_size", "steps_per_draw", "backend")
_FOUND = ("step_size", "momentum_decay", "softest_scale", "at_rest", "step_halved")


def atmc(
    X: np.ndarray,
    y: np.ndarray,
    X_test: np.ndarray,
    network: Network,
    settings: Settings,
    seed: int,
) -> Predictive:
    """Adaptive thermostat Monte Carlo."""
    model, _ = build(network, X, y)
    with model:
        idata = pm.sample(
            draws=settings.draws,
            tune=settings.tune,
            chains=settings.chains,
            step=sg.ATMC(batch_size=settings.batch_size(len(y)), dtype="float32"),
            var_names=sampled_names(model),
            random_seed=seed,
            compute_convergence_checks=False,
            progressbar=False,
        )
    predicted = predictions(idata, model, X_test)
    told = _attributes(idata) | _signs_of_rest(idata, predicted)
    return normal_laws(predicted, **told, n_rows=len(y), chains=settings.chains)


def _attributes(idata: DataTree) -> dict[str, Any]:
    """What the output tells of the run and its warm-up, as far as this version tells it."""
    told = idata["posterior"].attrs
    return {name: np.asarray(told[name]).tolist() for name in (*_KEPT, *_FOUND) if name in told}


def _signs_of_rest(idata: DataTree, predicted: DataTree) -> dict[str, Any]:
    """Configurational temperature of each chain, and R-hat of the predicted means."""
    samples = idata["sample_stats"]["configurational_temperature"]
    signs: dict[str, Any] = {"configurational_temperature": samples.mean("draw").values.tolist()}
    if samples.sizes["chain"] > 1:
        rhat = predictive_rhat(predicted, "y_mean", group="predictions")["y_mean"].values
        middle, high = np.nanquantile(rhat, (0.5, 0.95))
        signs |= {"rhat_median": float(middle), "rhat_95": float(high)}
    return signs


def nuts(
    X: np.ndarray,
    y: np.ndarray,
    X_test: np.ndarray,
    network: Network,
    settings: Settings,
    seed: int,
) -> Predictive:
    """The No-U-Turn sampler of PyMC; for few rows."""
    if len(y) > settings.nuts_rows:
        raise ValueError(f"NUTS is for at most {settings.nuts_rows} rows here, got {len(y)}.")
    model, _ = build(network, X, y)
    with model:
        idata = pm.sample(
            draws=settings.nuts_draws,
            tune=settings.nuts_tune,
            chains=settings.nuts_chains,
            cores=1,
            var_names=sampled_names(model),
            random_seed=seed,
            discard_tuned_samples=False,
            compute_convergence_checks=False,
            progressbar=False,
        )
    steps = {
        name: int(idata[name]["n_steps"].sum())
        for name in ("warmup_sample_stats", "sample_stats")
        if name in idata and "n_steps" in idata[name]
    }
    gradients = sum(steps.values())
    return predictive(idata, model, X_test, gradients=gradients, chains=settings.nuts_chains)
