"""Methods that sample the posterior: ATMC on minibatches, NUTS on all rows."""

import numpy as np
import pymc as pm

import pymc_sgmcmc as sg
from benchmarks.networks.models import Predictive, build, predictive, sampled_names
from benchmarks.networks.settings import Network, Settings

_KEPT = ("updates", "warmup_updates", "batch_size", "steps_per_draw", "backend")


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
    attrs = idata["posterior"].attrs
    known = {name: attrs[name] for name in _KEPT if name in attrs}
    return predictive(idata, model, X_test, **known, n_rows=len(y), chains=settings.chains)


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
