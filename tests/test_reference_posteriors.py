"""A real logistic regression against reference moments (posteriordb's wells, 3,020 households)."""

import os
from pathlib import Path

import numpy as np
import pymc as pm
import pytest

import pymc_sgmcmc as sg

DATA = os.environ.get("PYMC_SGMCMC_DATA")
pytestmark = pytest.mark.skipif(
    DATA is None, reason="set PYMC_SGMCMC_DATA to the folder of the reference posteriors"
)


@pytest.fixture(scope="module")
def wells():
    with np.load(Path(DATA) / "posteriordb" / "wells_data-wells_dist100_model.npz") as file:
        return dict(file)


@pytest.mark.parametrize(
    ("sampler", "batch_size"), [(sg.SGHMC, None), (sg.SGNHT, 302), (sg.ATMC, 302)]
)
def test_moments_are_those_of_the_reference(sampler, batch_size, wells):
    smallest = np.linalg.eigvalsh(wells["ref_cov"])[0] ** 0.5
    rule = min(0.2, 0.3 * ((batch_size or 3020) / 3020) ** 0.5)
    with pm.Model():
        beta = pm.Flat("beta", shape=2)
        pm.Bernoulli("switched", logit_p=pm.Data("X", wells["X"]) @ beta, observed=wells["y"])
        step = sampler(batch_size=batch_size, step_size=rule * smallest)
        idata = sg.sample(400, tune=100, chains=8, step=step, random_seed=3, progressbar=False)
    draws = idata["posterior"]["beta"].stack(sample=("chain", "draw")).values
    error = (draws.mean(1) - wells["ref_mean"]) / wells["ref_sd"]
    assert np.abs(error).max() < 0.1
