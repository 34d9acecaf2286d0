"""What `sample` hands back when it does not come to its end: all draws that were made."""

import io

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from rich.console import Console
from rich.progress import Progress

from pymc_sgmcmc import ATMC, SGLD, ChainStuckError, sample, sampling, session
from pymc_sgmcmc.engines.jax.engine import JaxEngine
from pymc_sgmcmc.output import Recorder
from pymc_sgmcmc.run import chains
from pymc_sgmcmc.run.phases import Run
from pymc_sgmcmc.store import memory

TUNE, DRAWS, STEPS = 10, 40, 5


@pytest.fixture(autouse=True)
def one_block_each(monkeypatch):
    """Blocks of one draw, whatever the machine: an exception has its place among the draws."""
    monkeypatch.setattr(chains, "_BLOCK_SECONDS", 0.0)


@pytest.fixture(scope="module")
def step():
    with pm.Model(coords={"i": range(3)}) as model:
        x = pm.Normal("x", dims="i")
        pm.HalfNormal("s")
        pm.Deterministic("twice", 2 * x, dims="i")
        return SGLD(step_size=0.1, steps_per_draw=STEPS, engine="jax", model=model)


def run(step, **kwargs):
    settings = {"tune": TUNE, "chains": 2, "random_seed": 1, "progressbar": False}
    return sample(DRAWS, step=step, model=step.plan.potential.model, **(settings | kwargs))


@pytest.fixture(scope="module")
def whole(step):
    return run(step)


def fail(monkeypatch, owner, name, error, call):
    """Have a function raise an error in one of its calls, counted from 1."""
    function, calls = getattr(owner, name), []

    def failing(*args, **kwargs):
        calls.append(None)
        if len(calls) == call:
            raise error("injected")
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, failing)


def assert_first(idata, whole, draws):
    assert idata.posterior.equals(whole.posterior.isel(draw=slice(draws)))
    assert idata.sample_stats.equals(whole.sample_stats.isel(draw=slice(draws)))
    assert idata.posterior.attrs["updates"] == (TUNE + draws) * STEPS


# Where it fails, at which call, and the draws that were made by then.
PLACES = {
    "engine": (JaxEngine, "run", TUNE + 21, 20),
    "advance": (Run, "advance", TUNE + 21, 20),
    "schedule": (chains.schedules, "factors", TUNE + 21, 20),
    "recorder": (Recorder, "__call__", 21, 21),
    "progress": (session, "_describe", TUNE + 20, 20),
    "end of progress": (Progress, "stop", 1, DRAWS),
    "to_datatree": (memory, "to_datatree", 1, DRAWS),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("error", [ValueError, MemoryError, OSError, SystemExit, KeyboardInterrupt])
def test_every_exception_brings_the_draws(step, whole, monkeypatch, place, error):
    owner, name, call, draws = PLACES[place]
    fail(monkeypatch, owner, name, error, call)
    if error is KeyboardInterrupt:
        idata = run(step)
    else:
        with pytest.raises(error, match="injected") as raised:
            run(step)
        idata = raised.value.idata
        assert f"{draws} draws of each chain were made before this" in raised.value.__notes__[0]
    assert_first(idata, whole, draws)


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_no_diagnosis_can_lose_draws(step, whole, monkeypatch, caplog, error):
    fail(monkeypatch, sampling, "signs_of_trouble", error, 1)
    assert_first(run(step), whole, DRAWS)
    told = "could not be looked at for signs of trouble" in caplog.text
    assert told == ("KeyError" in caplog.text) == (error is KeyError)


def test_ctrl_c_again_and_again(step, whole, monkeypatch):
    fail(monkeypatch, Run, "advance", KeyboardInterrupt, TUNE + 21)
    fail(monkeypatch, memory, "to_datatree", KeyboardInterrupt, 1)
    assert_first(run(step), whole, 20)
    fail(monkeypatch, Run, "advance", KeyboardInterrupt, TUNE + 21)
    fail(monkeypatch, memory, "to_datatree", KeyboardInterrupt, 1)
    fail(monkeypatch, memory, "to_datatree", KeyboardInterrupt, 1)
    idata = run(step)
    np.testing.assert_array_equal(idata.posterior["x"], whole.posterior["x"][:, :20])


def test_nothing_made_nothing_brought(step, monkeypatch):
    fail(monkeypatch, Run, "advance", OSError, TUNE)
    with pytest.raises(OSError, match="injected") as raised:
        run(step)
    assert raised.value.idata is None
    fail(monkeypatch, Run, "advance", OSError, TUNE)
    with pytest.raises(OSError, match="injected") as raised:
        run(step, discard_tuned_samples=False)
    assert raised.value.idata.warmup_posterior.sizes["draw"] == TUNE - 1
    assert "posterior" not in raised.value.idata.children


@pytest.mark.parametrize("discard", [True, False])
def test_dims_that_do_not_fit(discard):
    # PyMC finds that out when all draws are made.
    with pm.Model(coords={"i": range(3)}):
        x = pm.Normal("x", shape=2)
        pm.Deterministic("twice", 2 * x, dims="i")
        step = SGLD(step_size=0.1, steps_per_draw=STEPS)
    with pytest.raises(ValueError, match="conflicting sizes") as raised:
        run(step, discard_tuned_samples=discard)
    idata = raised.value.idata
    assert idata.posterior["twice"].shape == (2, DRAWS, 2)
    assert idata.posterior.attrs["updates"] == (TUNE + DRAWS) * STEPS
    assert idata.sample_stats["rejected"].shape == (2, DRAWS)
    assert ("warmup_posterior" in idata) == (not discard)


class Picky(Op):
    """Identity that refuses what is large."""

    def make_node(self, x):
        return Apply(self, [pt.as_tensor(x)], [pt.dscalar()])

    def perform(self, node, inputs, outputs):
        if abs(inputs[0]) > self.limit:
            raise ArithmeticError("too large")
        outputs[0][0] = inputs[0]


@pytest.mark.parametrize("limit", [0.0, 0.5])  # never works; works for some draws
def test_a_deterministic_that_fails(limit):
    op = Picky()
    op.limit = limit
    with pm.Model():
        x = pm.Normal("x", initval=0.0)
        pm.Deterministic("picky", op(x))
        step = SGLD(step_size=0.3, steps_per_draw=1)
    with pytest.raises(ArithmeticError, match="too large") as raised:
        run(step, tune=0)
    idata, notes = raised.value.idata, raised.value.__notes__
    assert list(idata.posterior.data_vars) == ["x"]
    x = idata.posterior["x"]
    assert (abs(x.isel(draw=-1)) > limit).any()  # the draw that it failed for is there
    assert (abs(x.isel(draw=slice(-1))) <= limit).all()
    assert any("without 'picky'" in note for note in notes)
    assert idata.posterior.attrs["updates"] == x.sizes["draw"]


@pytest.mark.filterwarnings("ignore:.*draws of all variables take")
def test_memory_that_is_not_there():
    # Room for all draws of a large Deterministic is wanted when the first of them is there.
    with pm.Model():
        x = pm.Normal("x")
        pm.Deterministic("large", pt.zeros(10**6) + x)
        step = SGLD(step_size=0.1, steps_per_draw=STEPS, engine="jax")
        with pytest.raises(MemoryError) as raised:
            sample(10**7, tune=0, chains=2, step=step, progressbar=False)
    assert dict(raised.value.idata.posterior.sizes) == {"chain": 2, "draw": 1}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("backend", ["jax", "numba"])
def test_a_schedule_that_ends(bad, backend, monkeypatch):
    # Blocks of many draws: the last of them ends where the schedule does.
    monkeypatch.setattr(chains, "_BLOCK_SECONDS", 1e9)
    with pm.Model():
        pm.Normal("x")
        step = SGLD(
            step_size=0.1,
            steps_per_draw=10,
            schedule=lambda t: np.where(t >= 253, bad, 1.0),
            engine=backend,
        )
    with pytest.raises(ValueError, match=rf"gave {bad} at update 253: factors") as raised:
        run(step, tune=0)
    posterior = raised.value.idata.posterior
    assert posterior.sizes["draw"] == 25
    assert posterior.attrs["updates"] == 250


@pytest.mark.parametrize(
    ("sampler", "h", "advice"),
    [(ATMC, 1e-25, "h² is 0 in float32: use a larger step"), (SGLD, 3.0, "Use a smaller step")],
)
def test_advice_to_a_stuck_chain(sampler, h, advice):
    with pm.Model():
        pm.Normal("x")
        step = sampler(step_size=h, dtype="float32", engine="jax")
    with pytest.raises(ChainStuckError, match=advice):
        run(step)


def test_no_cursor_stays_hidden(step, monkeypatch):
    # What kills the process can't bring it back.
    console = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(session, "get_console", lambda: console)
    run(step, progressbar=True)
    text, hide, show = console.file.getvalue(), "\x1b[?25l", "\x1b[?25h"
    assert text.count(hide) == 1
    assert text.index(hide) < text.index(show) < text.rindex("━")
