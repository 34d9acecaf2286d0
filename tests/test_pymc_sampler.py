"""A sampler for `pm.sample(sampler=...)`, against the interface of PyMC's draft (its #8358)."""

import inspect
import logging
import sys
import types
from abc import ABC, abstractmethod

import numpy as np
import pymc as pm
import pytest

from pymc_sgmcmc import ATMC, SGLD, sample
from pymc_sgmcmc.pymc_sampler import as_sampler

pytestmark = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")

rng = np.random.default_rng(0)
y = rng.normal(1, 1, size=200)
OPTIONS = {"batch_size": 50, "step_size": 0.02}
RUN = {"draws": 30, "tune": 10, "chains": 2, "random_seed": 1, "progressbar": False}


class Sampler(ABC):
    """The contract of the draft: these arguments by name, each with its default, and no others."""

    @abstractmethod
    def sample_from_init(
        self, *, model=None, draws=1000, tune=1000, chains=None, cores=None, blas_cores="auto",
        initvals=None, random_seed=None, progressbar=True, quiet=False,
        discard_tuned_samples=True, keep_warning_stat=False, var_names=None, idata_kwargs=None,
        compute_convergence_checks=True,
    ): ...  # fmt: skip


CONTRACT = inspect.signature(Sampler.sample_from_init).parameters


def pm_sample(sampler, **run):
    """What the draft's `pm.sample` does with a sampler: all arguments of the run, by name."""
    if not isinstance(sampler, Sampler):
        raise TypeError("sampler must be a Sampler instance")
    known = {k: p.default for k, p in CONTRACT.items() if k != "self"}
    assert run.keys() <= known.keys()
    return sampler.sample_from_init(**known | run)


@pytest.fixture
def drafted(monkeypatch):
    """PyMC as if the draft were released."""
    for name in ("pymc.sampling.samplers", "pymc.sampling.samplers.base"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["pymc.sampling.samplers.base"].Sampler = Sampler


@pytest.fixture
def model():
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("m", 0, 10), pm.HalfNormal("s", 2), observed=y)
    return model


def test_none_is_released():
    with pytest.raises(NotImplementedError, match=rf"PyMC {pm.__version__} has no .*sample\(step"):
        as_sampler(ATMC, batch_size=50)


def test_the_draws_are_those_of_sample(drafted, model):
    sampler = as_sampler(SGLD, **OPTIONS)  # no model is known here
    assert repr(sampler) == "as_sampler(SGLD, batch_size=50, step_size=0.02)"
    for given in ({"model": model}, {}):
        with model:
            found = pm_sample(sampler, **RUN, **given)
    with model:
        want = sample(step=SGLD(**OPTIONS), **RUN)
    for name, x in want["posterior"].items():
        np.testing.assert_array_equal(found["posterior"][name], x)


@pytest.mark.slow
def test_arguments_of_the_run(drafted, model, caplog):
    caplog.set_level(logging.INFO, "pymc")
    more = {"var_names": ["m"], "discard_tuned_samples": False, "initvals": {"m": 2.0}}
    sampler = as_sampler(SGLD, **OPTIONS)
    with model:
        found = pm_sample(sampler, **RUN | {"draws": 120}, **more)
        want = sample(step=SGLD(**OPTIONS), **RUN | {"draws": 120}, **more)
    assert list(found["posterior"].data_vars) == ["m"]
    for group in ("posterior", "warmup_posterior"):
        np.testing.assert_array_equal(found[group]["m"], want[group]["m"])
    # PyMC's own checks of convergence, which the draft has samplers run.
    assert any("at least 4 chains" in r.getMessage() for r in caplog.records)
    caplog.clear()
    pm_sample(sampler, model=model, compute_convergence_checks=False, **RUN)
    assert not [r for r in caplog.records if r.name.startswith("pymc.stats")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cores", 2),
        ("blas_cores", 4),
        ("keep_warning_stat", True),
        ("idata_kwargs", {"log_likelihood": True}),
    ],
)
def test_what_it_has_no_use_for(drafted, model, name, value):
    with pytest.warns(UserWarning, match=f"{name}=.* is not used by SGLD: "):
        pm_sample(as_sampler(SGLD, **OPTIONS), model=model, **RUN, **{name: value})


def test_arguments_are_those_of_the_contract(drafted):
    """No argument of a run is forgotten, and none taken that no draft has."""
    ours = inspect.signature(as_sampler(SGLD).sample_from_init).parameters
    assert all(ours[k].default == p.default for k, p in CONTRACT.items() if k != "self")
    assert ours.keys() - CONTRACT.keys() == {"compile_kwargs"}  # of the draft before


def test_no_step_method(drafted, model):
    with model, pytest.raises(TypeError, match=r"step must be the class .*as_sampler\(ATMC"):
        as_sampler(SGLD(**OPTIONS))
    with model, pytest.raises(TypeError, match="SGLD takes no argument 'batchsize'"):
        pm_sample(as_sampler(SGLD, batchsize=50), **RUN)
