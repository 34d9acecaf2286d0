"""Which engine runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
import pytest

from pymc_sgmcmc import SGLD, nn, sample
from pymc_sgmcmc.engines import choice, threads
from pymc_sgmcmc.model.graphs import convolves


def test_the_rule(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    # A short regression, a long one; a network for a minute, for ten; a large one.
    assert choice.faster_engine(5, 500, chains=4, updates=20_000) == "jax"
    assert choice.faster_engine(5, 500, chains=4, updates=50_000_000) == "numba"
    assert choice.faster_engine(6310, 8192, chains=4, updates=50_000) == "jax"
    assert choice.faster_engine(6310, 8192, chains=4, updates=500_000) == "numba"
    assert choice.faster_engine(6310, 8192, chains=4, updates=500_000, convolves=True) == "jax"
    assert choice.faster_engine(500_000, 400_000, chains=4, updates=50_000) == "jax"
    # Chains that wait for a core save their time twice.
    assert choice.faster_engine(6310, 8192, chains=4, updates=200_000) == "numba"
    monkeypatch.setattr(threads, "cores", lambda: 8)
    assert choice.faster_engine(6310, 8192, chains=4, updates=200_000) == "jax"
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    assert choice.faster_engine(6310, 8192, chains=4, updates=500_000) == "jax"


def run(step, model):
    return sample(
        3, tune=2, chains=2, step=step, model=model, random_seed=1, progressbar=False
    ).posterior.attrs["backend"]


def test_auto_follows_the_length_of_the_run(monkeypatch):
    with pm.Model() as model:
        pm.Normal("x", shape=3)
        step = SGLD(step_size=0.1, steps_per_draw=5)
    assert run(step, model) == "jax"
    monkeypatch.setattr(choice, "_WORTH_IT", 0)
    assert run(step, model) == "numba"


def test_filters_of_images_are_for_jax():
    with pm.Model() as model:
        nn.classification(nn.flatten(nn.conv2d(np.zeros((4, 6, 6, 1)), 2, "filter")), [0, 1, 0, 1])
    assert convolves(model)
    with pm.Model() as model:
        nn.classification(nn.mlp(np.zeros((4, 6)), (2,)), [0, 1, 0, 1])
    assert not convolves(model)


def test_models_that_only_jax_compiles(monkeypatch):
    square = pytensor.wrap_jax(lambda x: jnp.sum(x**2))
    with jax.enable_x64(True), pm.Model() as model:  # or PyTensor's wrapper warns
        x = pm.Normal("x", shape=3)
        pm.Potential("p", -square(x))
        step = SGLD(step_size=0.1, steps_per_draw=5)
        with pytest.raises(
            NotImplementedError, match=r'of \'p\' .*\(JaxFunction\).*Use engine="jax"'
        ):
            run(SGLD(step_size=0.1, steps_per_draw=5, engine="numba"), model)
    monkeypatch.setattr(choice, "_WORTH_IT", 0)
    assert run(step, model) == "jax"
