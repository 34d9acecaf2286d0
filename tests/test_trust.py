import logging
import re

import numpy as np
import pymc as pm
import pytest

import pymc_sgmcmc as sg
from pymc_sgmcmc.report.signs import signs_of_trouble


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 3))
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=3)
        pm.Normal("y", pm.Data("X", X) @ b, 1, observed=X.sum(1) + rng.normal(size=1000))
    return model


def run(model, step_size, door, batch_size=100):
    with model:
        step = sg.SGNHT(batch_size=batch_size, step_size=step_size, steps_per_draw=50)
        settings = {"tune": 200, "chains": 2, "random_seed": 1, "progressbar": False}
        if door == "sample":
            return sg.sample(200, step=step, **settings)
        return pm.sample(200, step=step, compute_convergence_checks=False, **settings)


def findings(idata):
    stats = {k: v.values for k, v in idata["sample_stats"].data_vars.items()}
    return signs_of_trouble(stats, idata["posterior"].attrs)


@pytest.mark.parametrize("door", ["sample", "pm.sample"])
@pytest.mark.slow
def test_a_good_run_is_silent_and_a_bad_one_says_what_to_do(model, door, caplog):
    with caplog.at_level(logging.WARNING, "pymc_sgmcmc"):
        run(model, 0.003, door)
        assert not [r for r in caplog.records if r.name.startswith("pymc_sgmcmc")]
        run(model, 0.05, door)
    said = [r.getMessage() for r in caplog.records if r.name.startswith("pymc_sgmcmc")]
    assert any("kinetic temperature" in s and "Try step_size=0.0" in s for s in said)
    assert any("gradient noise needs" in s and "Try step_size=" in s for s in said)
    assert all(re.search(r"Try (step_size|a longer tune)=", s) for s in said)


@pytest.mark.slow
def test_the_step_size_that_it_advises_is_enough(model):
    (noise,) = [f for f in findings(run(model, 0.02, "sample")) if f.check == "gradient noise"]
    advised = float(noise.message.split("step_size=")[1].split(",")[0])
    assert not [f for f in findings(run(model, advised, "sample")) if f.problem]


def test_of_many_chains_a_few_are_named():
    potential = np.random.default_rng(0).normal(size=(1000, 50))
    potential[20:50] += 100
    (found,) = signs_of_trouble({"potential_energy": potential}, {"temperature": 1.0})
    assert found.message.startswith("Chains 20, 21, 22, 23, 24, 25, 26, 27 and 22 more have a mean")
