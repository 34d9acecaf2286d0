"""Arguments that may be given or left to the warm-up: their errors and what "auto" means."""

import dataclasses
import inspect
import re
import typing

import numpy as np
import pymc as pm
import pytest

import pymc_sgmcmc.step_methods
from pymc_sgmcmc import ATMC, JAX, SGHMC, SGLD, Numba, WarmUp, schedules
from pymc_sgmcmc.dynamics import SGHMCDynamics, SGLDDynamics
from pymc_sgmcmc.plan.settings import RunSettings
from pymc_sgmcmc.settings import declared
from tests.samplers import OF_THE_PACKAGE, SAMPLERS


def as_settings(arguments):
    """Arguments of a step, those of the warm-up in its settings."""
    of_warmup = {f.name for f in declared(WarmUp)} & set(arguments)
    rest = {name: x for name, x in arguments.items() if name not in of_warmup}
    warmup = {name: arguments[name] for name in of_warmup}
    return rest | ({"warmup": WarmUp(**warmup)} if warmup else {})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"step_size": 0}, ValueError, "greater than 0 and .*, or None to have it found, got 0"),
        ({"step_size": -0.1}, ValueError, "greater than 0 .*got -0.1"),
        ({"step_size": np.nan}, ValueError, "greater than 0 .*got nan"),
        ({"step_size": np.inf}, ValueError, "and finite.*got inf"),
        ({"step_size": "0.1"}, TypeError, "must be a number, or None to .*got '0.1'"),
        ({"step_size": [0.1]}, TypeError, r"must be a number, or None to .*got \[0.1\]"),
        ({"step_size": True}, TypeError, "must be a number, or None to .*got True"),
        ({"steps_per_draw": 0}, ValueError, 'integer of at least 1, or "auto", got 0'),
        ({"steps_per_draw": 2.5}, TypeError, 'integer of at least 1, or "auto", got 2.5'),
        ({"steps_per_draw": True}, TypeError, 'integer of at least 1, or "auto", got True'),
        ({"steps_per_draw": "many"}, TypeError, "of at least 1, or \"auto\", got 'many'"),
        ({"preconditioner": "full"}, ValueError, '"dense" or "diagonal", None or .*got \'full\''),
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
        ({"dtype": "float16"}, ValueError, 'dtype must be "float32" or "float64", got'),
        ({"clip_gradient": 0}, ValueError, "clip_gradient must be greater than 0"),
        ({"clip_gradient": "1"}, TypeError, "clip_gradient must be a number, got '1'"),
        ({"target_bias": "small"}, TypeError, "target_bias must be a number, got 'small'"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments, error, message):
    with pm.Model():
        pm.Normal("x", shape=2)
        with pytest.raises(error, match=message):
            SGLD(**as_settings(arguments))


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
        ATMC(warmup=WarmUp(preconditioner=array), model=model)


def test_temperature_zero_needs_a_step_size(model):
    with pytest.raises(ValueError, match=r"temperature=0.*Give step_size=\.\.\."):
        SGHMC(temperature=0.0, model=model)
    assert SGHMC(temperature=0.0, step_size=0.1, model=model).plan.settings.step_size == 0.1


def test_control_variates_need_all_variables(model):
    with pytest.raises(ValueError, match=r"needs a step that samples all variables.*'y'"):
        ATMC(["x"], warmup=WarmUp(control_variate=True), model=model)
    assert ATMC(["x"], model=model).plan.settings.warmup.control_variate is False
    assert ATMC(model=model).plan.settings.warmup.control_variate == "auto"


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
def test_what_auto_means(arguments, expected, model):
    settings = ATMC(**as_settings(arguments), model=model).plan.settings
    resolved = vars(settings) | vars(settings.warmup)
    assert {name: resolved[name] for name in expected} == expected


@pytest.mark.parametrize("share", [1, 0.1, 0.01, 0.001])
@pytest.mark.parametrize(("dynamics", "factor"), [(SGLDDynamics, 0.3), (SGHMCDynamics, 0.06)])
def test_the_step_size_that_help_advises_leaves_a_small_bias(share, dynamics, factor):
    step_size = min(0.2, factor * share**0.5)
    text = SGLD.__doc__ if dynamics is SGLDDynamics else SGLD.__doc__.split("for SGHMC")[1]
    assert f"min(0.2, {factor} √(B/N)) s" in text
    assert dynamics().bias(step_size, 1.0, np.array([1 / share - 1])) < 0.025


def test_cycles_end_with_draws(model):
    plan = ATMC(schedule="cyclical", steps_per_draw=30, model=model).plan
    assert plan.schedule == schedules.CyclicalCosine(30)
    assert ATMC(schedule="cyclical", model=model).plan.schedule.cycle_length == 100


# -- declared once ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", OF_THE_PACKAGE)
def test_editors_know_what_is_declared(sampler):
    """Types that a checker reads can't be made of declarations: they are written again."""
    unpacked = sampler.__init__.__annotations__["options"]
    (name,) = re.findall(r"Unpack\[(\w+)\]", str(unpacked))
    typed = typing.get_type_hints(getattr(pymc_sgmcmc.step_methods, name))
    names = {f.name for f in declared(RunSettings, sampler.dynamics_class)}
    assert set(typed) - {"model", "rng", "blocked"} == names
    for field in declared(sampler.dynamics_class):
        hints = typing.get_type_hints(sampler.dynamics_class)
        assert typed[field.name] == hints[field.name], field.name


@pytest.mark.parametrize("cls", [WarmUp, JAX, Numba, RunSettings])
def test_every_setting_has_a_text_and_a_default_that_passes_its_check(cls):
    for field in declared(cls):
        assert field.metadata["text"].endswith(".")
        assert field.metadata["kind"]
    assert vars(cls()) == vars(dataclasses.replace(cls()))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_help_lists_every_setting(sampler):
    for field in declared(RunSettings, sampler.dynamics_class):
        assert f"\n{field.name} : {field.metadata['kind']}\n" in sampler.__doc__
        assert inspect.signature(sampler).parameters[field.name].default == field.default


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"backend": "numba"}, "Write engine='numba'."),
        ({"shard": "rows"}, "Write engine=JAX(shard='rows')."),
        ({"matmul_precision": "bfloat16"}, "Write engine=JAX(matmul_precision='bfloat16')."),
        ({"preconditioner": "dense"}, "Write warmup=WarmUp(preconditioner='dense')."),
        ({"control_variate": False}, "Write warmup=WarmUp(control_variate=False)."),
        ({"target_bias": 0.01}, "Write warmup=WarmUp(target_bias=0.01)."),
        ({"start": "prior"}, "Write warmup=WarmUp(start='prior')."),
    ],
    ids=str,
)
def test_old_spellings_say_what_to_write(old, new, model):
    with pytest.raises(TypeError, match=re.escape(new)):
        ATMC(**old, model=model)
    # And what they say to write works.
    text = new.removeprefix("Write ").removesuffix(".")
    step = eval(
        f"ATMC({text}, model=model)", {"ATMC": ATMC, "JAX": JAX, "WarmUp": WarmUp}, {"model": model}
    )
    ((name, value),) = old.items()
    settings = step.plan.settings
    found = vars(settings) | vars(settings.warmup) | vars(settings.engine)
    assert settings.engine.name == value if name == "backend" else found[name] == value


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"warmup": "dense"}, "warmup must be a WarmUp"),
        ({"warmup": {"preconditioner": "dense"}}, "warmup must be a WarmUp"),
        ({"engine": "torch"}, 'engine must be "auto", "jax" or "numba", or JAX'),
        ({"engine": None}, 'engine must be "auto", "jax" or "numba", or JAX'),
        ({"engine": "JAX"}, 'engine must be "auto", "jax" or "numba", or JAX'),
        ({"engine": JAX}, 'engine must be "auto", "jax" or "numba", or JAX'),
    ],
    ids=str,
)
def test_settings_that_are_none(settings, words, model):
    with pytest.raises((TypeError, ValueError), match=words):
        ATMC(**settings, model=model)


def test_unknown_settings_of_an_engine():
    with pytest.raises(ValueError, match=r'shard must be "chains" or "rows", or .* got .data'):
        JAX(shard="data")
    with pytest.raises(ValueError, match=r"shard\[1\] must be an integer of at least 1, got 0"):
        JAX(shard=(2, 0))
    assert JAX(shard=[2, 4]).shard == (2, 4)
    with pytest.raises(TypeError, match="unexpected keyword argument 'shard'"):
        Numba(shard="rows")


def test_settings_are_frozen(model):
    plan = ATMC(model=model).plan
    for settings, name in ((plan, "dynamics"), (plan.settings, "step_size"), (WarmUp(), "start")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(settings, name, None)
