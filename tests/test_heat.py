"""Chains that are said to have grown hot, and those that have not."""

import pymc as pm
import pytest

from pymc_sgmcmc import SGHMC, SGLD, SGNHT, sample


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        (SGLD, {}),
        (SGHMC, {}),
        (SGHMC, {"momentum_decay": 0.99}),
        (SGHMC, {"momentum_decay": 0.999}),
        (SGNHT, {"momentum_decay": 0.999}),
    ],
    ids=str,
)
def test_chains_at_the_right_temperature_are_not_hot(sampler, options):
    """With little friction a few draws are no measure of a temperature: energy stays for long."""
    with pm.Model() as model:
        pm.Normal("x", shape=2)
        step = sampler(steps_per_draw=20, **options)
    idata = sample(
        2000, tune=200, chains=8, step=step, model=model, random_seed=1, progressbar=False
    )
    assert not idata.posterior.attrs.get("step_halved")
    assert len(set(idata.sample_stats["step_size"].values.ravel())) == 1
