import logging

import numpy as np
import pymc as pm
import pytest

import pymc_sgmcmc as sg
from pymc_sgmcmc.trust import signs_of_trouble


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
            return sg.sample(200, step=step, **settings), step
        return pm.sample(200, step=step, compute_convergence_checks=False, **settings), step


@pytest.mark.parametrize("door", ["sample", "pm.sample"])
def test_a_good_run_is_silent_and_a_bad_one_says_what_to_do(model, door, caplog):
    with caplog.at_level(logging.WARNING, "pymc_sgmcmc"):
        run(model, 0.003, door)
        assert not [r for r in caplog.records if r.name.startswith("pymc_sgmcmc")]
        run(model, 0.05, door)
    said = [r.getMessage() for r in caplog.records if r.name.startswith("pymc_sgmcmc")]
    assert any("kinetic temperature" in s or "Gradient noise" in s for s in said)
    assert all("Try step_size=" in s for s in said)


def test_the_step_size_that_it_advises_is_enough(model):
    idata, step = run(model, 0.02, "sample")
    stats = {k: v.values for k, v in idata["sample_stats"].data_vars.items()}
    (noise,) = [s for s in signs_of_trouble(stats, step.sampler) if "Gradient noise" in s]
    advised = float(noise.split("step_size=")[1].split(",")[0])
    idata, step = run(model, advised, "sample")
    stats = {k: v.values for k, v in idata["sample_stats"].data_vars.items()}
    assert not signs_of_trouble(stats, step.sampler)


def test_rejected_updates_are_told():
    sampler = type("S", (), {"step_size": 0.1, "dynamics": type("D", (), {"temperature": 1.0})})
    assert signs_of_trouble({"rejected": np.zeros((2, 3))}, sampler) == []
    (sign,) = signs_of_trouble({"rejected": np.ones((2, 3))}, sampler)
    assert sign.startswith("6 updates")
