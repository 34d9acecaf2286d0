"""Posteriors of posteriordb without any tuning argument, against their reference moments."""

import os

import pytest

from pymc_sgmcmc import ATMC, SGHMC, SGLD, SGNHT, sample
from tests import posteriors

pytestmark = pytest.mark.skipif(
    "PYMC_SGMCMC_DATA" not in os.environ,
    reason="set PYMC_SGMCMC_DATA to the folder of the reference posteriors",
)

# Rows of a minibatch.
NAMES = {
    "GLM_Poisson_Data-GLM_Poisson_model": None,
    "kidiq-kidscore_momiq": 100,
    "mesquite-logmesquite": None,
    "sblri-blr": 25,
    "wells_data-wells_interaction_model": 300,
}


@pytest.fixture(scope="module", params=NAMES)
def posterior(request):
    return posteriors.load(request.param)


@pytest.mark.parametrize(
    ("sampler", "backend"),
    [(SGLD, "jax"), (SGHMC, "jax"), (SGNHT, "jax"), (ATMC, "jax"), (ATMC, "numba")],
)
@pytest.mark.slow
def test_moments_are_those_of_the_reference(posterior, sampler, backend):
    step = sampler(batch_size=NAMES[posterior.name], model=posterior.model, engine=backend)
    idata = sample(
        600, tune=200, chains=16, step=step, model=posterior.model, random_seed=1,
        progressbar=False,
    )  # fmt: skip
    found = posteriors.compare(posterior, posterior.vector(idata))
    low, high = (0.8, 1.25) if posterior.n_rows >= 100 else (0.7, 1.4)
    assert found.mean_error < 0.1
    assert 0.9 < found.sd_ratio[0] <= found.sd_ratio[1] < 1.1
    assert low < found.eigenvalues[0] <= found.eigenvalues[1] < high
