"""Arguments that may be given or left to the warm-up: their errors and what "auto" means."""

import numpy as np
import pymc as pm
import pytest

from pymc_sgmcmc import ATMC, SGHMC, SGLD, schedules
from pymc_sgmcmc.dynamics import SGHMCDynamics, SGLDDynamics
from pymc_sgmcmc.plan.tuning_arguments import resolve_tuning_arguments


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"step_size": 0}, ValueError, "positive number, or None to have it found, got 0"),
        ({"step_size": -0.1}, ValueError, "positive number, .*got -0.1"),
        ({"step_size": np.nan}, ValueError, "positive number, .*got nan"),
        ({"step_size": np.inf}, ValueError, "positive number, .*got inf"),
        ({"step_size": "0.1"}, ValueError, "positive number, .*got '0.1'"),
        ({"step_size": [0.1]}, ValueError, r"positive number, .*got \[0.1\]"),
        ({"step_size": True}, ValueError, "positive number, .*got True"),
        ({"steps_per_draw": 0}, ValueError, "steps_per_draw must be at least 1, got 0"),
        ({"steps_per_draw": 2.5}, TypeError, 'must be an integer or "auto", got 2.5'),
        ({"steps_per_draw": True}, TypeError, 'must be an integer or "auto", got True'),
        ({"steps_per_draw": "many"}, TypeError, "must be an integer or \"auto\", got 'many'"),
        ({"steps_per_draw": None}, TypeError, 'must be an integer or "auto", got None'),
        ({"preconditioner": "full"}, ValueError, '"dense", "diagonal", None or .*got \'full\''),
        ({"preconditioner": [1.0, -1.0]}, ValueError, r"positive variances.*shape \(2,\)"),
        ({"preconditioner": [1.0, np.nan]}, ValueError, r"positive variances.*shape \(2,\)"),
        ({"preconditioner": [[1, 2], [2, 1]]}, ValueError, r"positive definite.*shape \(2, 2\)"),
        ({"preconditioner": [[1, 1], [0, 1]]}, ValueError, r"symmetric.*shape \(2, 2\)"),
        ({"preconditioner": np.ones((2, 3))}, ValueError, r"covariance matrix.*shape \(2, 3\)"),
        ({"preconditioner": 2.0}, ValueError, r"covariance matrix.*shape \(\)"),
        ({"control_variate": "yes"}, ValueError, "must be True, False or \"auto\", got 'yes'"),
        ({"control_variate": 1.5}, ValueError, 'must be True, False or "auto", got 1.5'),
        ({"target_bias": 0}, ValueError, "target_bias must be greater than 0"),
        ({"target_bias": 0.5}, ValueError, "target_bias must be greater than 0 and less than 0.5"),
        ({"clip_gradient": 0}, ValueError, "clip_gradient must be greater than 0"),
        ({"clip_gradient": "1"}, TypeError, "clip_gradient must be a number, got '1'"),
        ({"target_bias": "small"}, TypeError, "target_bias must be a number, got 'small'"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        resolve_tuning_arguments(arguments)
    with pm.Model():
        pm.Normal("x", shape=2)
        with pytest.raises(error, match=message):
            SGLD(**arguments)


@pytest.fixture(scope="module")
def model():
    with pm.Model() as model:
        pm.Normal("x", shape=2)
        pm.Normal("y")
    return model


@pytest.mark.parametrize("shape", [(2,), (2, 2)])
def test_a_preconditioner_of_another_size(model, shape):
    array = np.ones(2) if len(shape) == 1 else np.eye(2)
    with pytest.raises(ValueError, match=r"3 unconstrained parameters.*\(3,\).*\(3, 3\)"):
        ATMC(preconditioner=array, model=model)


def test_temperature_zero_needs_a_step_size(model):
    with pytest.raises(ValueError, match=r"temperature=0.*Give step_size=\.\.\."):
        SGHMC(temperature=0.0, model=model)
    assert SGHMC(temperature=0.0, step_size=0.1, model=model).sampler.step_size == 0.1


def test_control_variates_need_all_variables(model):
    with pytest.raises(ValueError, match=r"needs a step that samples all variables.*'y'"):
        ATMC(["x"], control_variate=True, model=model)
    assert ATMC(["x"], model=model).sampler.control_variate is False
    assert ATMC(model=model).sampler.control_variate == "auto"


AUTO = {"preconditioner": "auto", "control_variate": "auto"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {"step_size": None, "steps_per_draw": None, "target_bias": 0.02, **AUTO}),
        ({"steps_per_draw": 7}, {"steps_per_draw": 7, **AUTO}),
        ({"steps_per_draw": np.int64(7)}, {"steps_per_draw": 7}),
        ({"schedule": "cyclical"}, {"steps_per_draw": 100, **AUTO}),
        ({"step_size": 0.1}, {"steps_per_draw": 100, "step_size": 0.1}),
        ({"step_size": 0.1}, {"preconditioner": None, "control_variate": False}),
        (
            {"step_size": np.float32(0.5), "preconditioner": "dense"},
            {"step_size": 0.5, "preconditioner": "dense", "control_variate": False},
        ),
        (
            {"step_size": 0.1, "control_variate": True},
            {"preconditioner": None, "control_variate": True},
        ),
        ({"preconditioner": None}, {"preconditioner": None, "control_variate": "auto"}),
        ({"control_variate": None}, {"control_variate": False}),
    ],
    ids=str,
)
def test_what_auto_means(arguments, expected):
    resolved = resolve_tuning_arguments(arguments)
    assert {name: resolved[name] for name in expected} == expected


@pytest.mark.parametrize("share", [1, 0.1, 0.01, 0.001])
@pytest.mark.parametrize(("dynamics", "factor"), [(SGLDDynamics, 0.3), (SGHMCDynamics, 0.06)])
def test_the_step_size_that_help_advises_leaves_a_small_bias(share, dynamics, factor):
    step_size = min(0.2, factor * share**0.5)
    text = SGLD.__doc__ if dynamics is SGLDDynamics else SGLD.__doc__.split("for SGHMC")[1]
    assert f"min(0.2, {factor} √(B/N)) s" in text
    assert dynamics().bias(step_size, 1.0, np.array([1 / share - 1])) < 0.025


def test_cycles_end_with_draws():
    resolved = resolve_tuning_arguments({"schedule": "cyclical", "steps_per_draw": 30})
    assert resolved["schedule"] == schedules.CyclicalCosine(30)
    assert resolve_tuning_arguments({"schedule": "cyclical"})["schedule"].cycle_length == 100
