"""Door 2: ``pymc_sgmcmc.sample``, and that both doors give the same."""

import io
import signal
import subprocess
import sys

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from pymc.exceptions import SamplingError
from pymc.step_methods import CompoundStep
from rich.console import Console
from rich.progress import Progress

from pymc_sgmcmc import (
    ATMC,
    SGLD,
    ChainStuckError,
    WarmUp,
    diagnose,
    sample,
    session,
)
from pymc_sgmcmc.run import chains
from pymc_sgmcmc.run.phases import Run
from tests.samplers import SAMPLERS, mostly_slow

BY_NAME = {sampler.__name__: sampler for sampler in SAMPLERS}
N = 60

pytestmark = pytest.mark.filterwarnings("ignore:Found chain dimension to be longer than draw")


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 2))
    coords = {"feature": ["a", "b"], "row": np.arange(N), "part": ["u", "v", "w"]}
    with pm.Model(coords=coords) as model:
        Xd = pm.Data("X", X, dims=("row", "feature"))
        b = pm.Normal("b", dims="feature")
        s = pm.HalfNormal("s")
        w = pm.Dirichlet("w", np.ones(3), dims="part")
        mu = pm.Deterministic("mu", Xd @ b + w[0], dims="row")
        pm.Deterministic("positive", pt.sum(b > 0))
        pm.Deterministic("first", b[0] > 0)
        pm.Normal("y", mu, s, observed=X @ [1, -1] + rng.normal(size=N), dims="row")
    return model


@pytest.fixture(scope="module")
def steps(model):
    """One step of each sampler, which all tests share: its engine is compiled once."""
    return {
        name: sampler(batch_size=10, step_size=0.02, steps_per_draw=5, model=model)
        for name, sampler in BY_NAME.items()
    }


@pytest.fixture(scope="module")
def step(steps):
    return steps["ATMC"]


def pm_sample(model, step, draws=30, **kwargs):
    settings = {"tune": 10, "chains": 3, "random_seed": 1, "progressbar": False}
    settings |= {"compute_convergence_checks": False, **kwargs}
    with model:
        return pm.sample(draws, step=step, **settings)


def our_sample(model, step, draws=30, **kwargs):
    settings = {"tune": 10, "chains": 3, "random_seed": 1, "progressbar": False}
    return sample(draws, step=step, model=model, **(settings | kwargs))


def assert_same(ours, theirs):
    """Same groups, names, dims, coords and types; same values, to rounding where transformed."""
    assert set(ours.children) == set(theirs.children)
    for group in theirs.children:
        a, b = ours[group].to_dataset(), theirs[group].to_dataset()
        assert set(a.data_vars) == set(b.data_vars)
        assert dict(a.sizes) == dict(b.sizes)
        for name, x in b.variables.items():
            assert a[name].dims == x.dims, name
            assert a[name].dtype == x.dtype, name
            if name in ("s", "w", "mu"):
                np.testing.assert_allclose(a[name], x, rtol=1e-12, atol=1e-14)
            else:
                np.testing.assert_array_equal(a[name], x)


# -- both doors --------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", mostly_slow(ATMC))
def test_doors_give_the_same(model, steps, sampler):
    step = steps[sampler.__name__]
    ours, theirs = our_sample(model, step), pm_sample(model, step)
    assert_same(ours, theirs)
    for group in ("posterior", "sample_stats"):
        a, b = dict(ours[group].attrs), dict(theirs[group].attrs)
        for attributes in (a, b):
            assert attributes.pop("created_at")
            assert attributes.pop("sampling_time") > 0
        assert a == b
        assert a["sampler"] == sampler.__name__
        assert a["updates"] == 40 * 5
        assert a["tuning_steps"] == 10
    kwargs = {"tune": 0, "var_names": ["b"]}
    assert_same(our_sample(model, step, **kwargs), pm_sample(model, step, **kwargs))


@pytest.mark.parametrize(
    "kwargs", [{"discard_tuned_samples": False}, {"chains": 1}, {"random_seed": [1, 2]}], ids=str
)
@pytest.mark.slow
def test_doors_give_the_same_with(model, step, kwargs):
    assert_same(our_sample(model, step, **kwargs), pm_sample(model, step, **kwargs))


@pytest.mark.parametrize(
    "initvals", [{"s": 2.0}, [{"b": [1.0, 2.0]}, None, {"s": 3.0}], {"b": "prior"}], ids=str
)
def test_doors_start_at_the_same_points(model, step, initvals):
    kwargs = {"initvals": initvals, "var_names": ["b", "s", "w"]}
    assert_same(our_sample(model, step, **kwargs), pm_sample(model, step, **kwargs))


def test_blocks_do_not_matter(model, step, monkeypatch):
    # A slow machine makes small blocks, a fast one large ones.
    ours = our_sample(model, step)
    for seconds in (0.0, 1e9):
        monkeypatch.setattr(chains, "_BLOCK_SECONDS", seconds)
        assert our_sample(model, step).posterior.equals(ours.posterior)


def test_seeds(model, step):
    first, same, other = (our_sample(model, step, random_seed=seed) for seed in (1, 1, 2))
    assert first.posterior.equals(same.posterior)
    assert not (first.posterior["b"] == other.posterior["b"]).any()


def test_var_names(model, step):
    everything = our_sample(model, step)
    some = our_sample(model, step, var_names=["mu", "b"])
    assert list(some.posterior.data_vars) == ["b", "mu"]
    np.testing.assert_array_equal(some.posterior["b"], everything.posterior["b"])
    np.testing.assert_allclose(some.posterior["mu"], everything.posterior["mu"], atol=1e-12)


@pytest.mark.slow
def test_a_thousand_chains(model, step):
    idata = our_sample(model, step, 2, chains=1000, tune=0)
    assert idata.posterior["b"].shape == (1000, 2, 2)
    assert len(np.unique(idata.posterior["b"])) == 4000
    assert (idata.sample_stats["rejected"] == 0).all()


def test_the_model_of_the_context(model, step):
    with model:
        idata = sample(5, tune=0, chains=1, step=step, random_seed=1, progressbar=False)
    assert idata.posterior.sizes["draw"] == 5


# -- progress ----------------------------------------------------------------------------------


def shown(monkeypatch, *args, **kwargs):
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=160)
    monkeypatch.setattr(session, "get_console", lambda: console)
    our_sample(*args, progressbar=True, **kwargs)
    return file.getvalue()


def test_progress_shows_statistics(model, steps, monkeypatch):
    text = shown(monkeypatch, model, steps["ATMC"])
    for words in ("Sampling", "40/40", "U ", "T ", "h 0.02", "updates/s", "left"):
        assert words in text
    assert "rejected" not in text
    text = shown(monkeypatch, model, steps["SGLD"])  # has no momentum, so no temperature
    assert "U " in text
    assert "T " not in text


def test_progress_is_whole_in_a_file(model, steps, capsys):
    our_sample(model, steps["ATMC"], progressbar=True)
    (line,) = capsys.readouterr().out.strip().split("\n")
    assert "40/40" in line
    assert "updates/s" in line
    assert "…" not in line


def test_progress_names_the_phases(monkeypatch):
    update, named = Progress.update, []

    def watched(progress, task, **kwargs):
        named.append(kwargs["description"])
        update(progress, task, **kwargs)

    monkeypatch.setattr(Progress, "update", watched)
    with pm.Model() as model:
        pm.Normal("x", shape=3)
        our_sample(model, ATMC(warmup=WarmUp(preconditioner="diagonal")))
        assert list(dict.fromkeys(named)) == ["Searching", "Compiling", "Tuning", "Sampling"]
        named.clear()
        our_sample(model, SGLD(step_size=0.1), tune=0)
        assert list(dict.fromkeys(named)) == ["Compiling", "Sampling"]


def test_progress_can_be_silent(model, step, capfd):
    our_sample(model, step)
    assert capfd.readouterr() == ("", "")


# -- Ctrl-C ------------------------------------------------------------------------------------


@pytest.fixture
def interrupt(monkeypatch):
    """Have Ctrl-C pressed before a block; blocks are of five draws."""
    advance = Run.advance

    def after(blocks):
        calls = []

        def interrupted(self, n_draws):
            if len(calls) == blocks:
                raise KeyboardInterrupt
            calls.append(None)
            self.chains._next_block = 5
            return advance(self, n_draws)

        monkeypatch.setattr(Run, "advance", interrupted)

    yield after
    monkeypatch.undo()


@pytest.mark.parametrize("discard", [True, False])
def test_interrupted_sampling_keeps_its_draws(model, step, interrupt, caplog, capfd, discard):
    whole = our_sample(model, step, discard_tuned_samples=discard)
    interrupt(after_blocks := 5)
    idata = our_sample(model, step, discard_tuned_samples=discard)
    assert "15 of 30 draws kept" in caplog.text
    assert capfd.readouterr() == ("", "")  # nothing is printed where no progress is
    assert idata.posterior.equals(whole.posterior.isel(draw=slice(15)))
    assert idata.sample_stats.equals(whole.sample_stats.isel(draw=slice(15)))
    assert idata.posterior.attrs["updates"] == after_blocks * 5 * 5
    assert set(idata.children) == set(whole.children)
    if not discard:
        assert idata.warmup_posterior.equals(whole.warmup_posterior)


def test_interrupted_tuning(model, step, interrupt):
    whole = our_sample(model, step, discard_tuned_samples=False)
    interrupt(1)
    with pytest.raises(KeyboardInterrupt):
        our_sample(model, step)
    interrupt(0)
    with pytest.raises(KeyboardInterrupt):
        our_sample(model, step, discard_tuned_samples=False)
    interrupt(1)
    idata = our_sample(model, step, discard_tuned_samples=False)
    assert idata.warmup_posterior.equals(whole.warmup_posterior.isel(draw=slice(5)))
    assert idata.warmup_posterior.attrs["tuning_steps"] == 5
    assert "posterior" not in idata.children


@pytest.mark.parametrize("backend", [pytest.param("jax", marks=pytest.mark.slow), "numba"])
def test_a_real_ctrl_c(tmp_path, backend):
    script = tmp_path / "script.py"
    script.write_text(f"""
import signal
import pymc as pm
from pymc_sgmcmc import SGLD, sample, WarmUp
from pymc_sgmcmc.run.phases import Run
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a job in the background
with pm.Model():
    pm.Normal("x", shape=3)
    step = SGLD(step_size=0.1, steps_per_draw=1000, engine="{backend}")
    sample(1, tune=0, chains=2, step=step, progressbar=False)
    advance = Run.advance
    def telling(chains, n):
        if chains.made > 2:
            print("drawing", flush=True)
        return advance(chains, n)
    Run.advance = telling
    idata = sample(10**6, tune=1, chains=2, step=step)
    print("kept", dict(idata.posterior["x"].sizes))
""")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, script], **pipes)
    assert process.stdout.readline() == "drawing\n"
    process.send_signal(signal.SIGINT)
    output, log = process.communicate()
    assert process.returncode == 0
    assert "of 1000000 draws kept" in log
    kept = eval(output[output.index("kept {") + 5 :])
    assert kept["chain"] == 2
    assert 1 < kept["draw"] < 10**6


# -- updates that are not finite ---------------------------------------------------------------


@pytest.mark.parametrize("bad", [-np.inf, np.nan])
@pytest.mark.parametrize("sampler", [SGLD, ATMC])
def test_updates_that_are_not_finite_are_never_stored(sampler, bad):
    with pm.Model() as model:
        x = pm.Normal("x", initval=0.5)
        pm.Potential("allowed", pt.switch(x < -0.5, bad, 0))
        step = sampler(step_size=0.1, steps_per_draw=10)
    idata = our_sample(model, step, 1000)
    x, rejected = idata.posterior["x"], idata.sample_stats["rejected"]
    assert np.isfinite(x).all()
    assert (x >= -0.5).all()
    assert (rejected.sum("draw") > 50).all()  # counted in every chain, which all go on
    assert (rejected < 10).mean() > 0.99
    assert (x.diff("draw") != 0).mean() > 0.99
    assert 0.3 < x.mean() < 0.6  # 0.51, were the wall no disturbance
    assert all(np.isfinite(v).all() for v in idata.sample_stats.data_vars.values())


@pytest.fixture(scope="module")
def island():
    """Chains below 10 move freely; one at 100 can't leave it, nor stay."""
    with pm.Model() as model:
        x = pm.Normal("x", 0, 1000)
        pm.Potential("here", pt.switch((x > 10) & (pt.abs(x - 100) > 1e-9), np.nan, 0))
        step = SGLD(step_size=0.1, steps_per_draw=50)
    return model, step


def test_a_stuck_chain_stops_the_run(island):
    model, step = island
    initvals = [{"x": 0.0}, {"x": 100.0}, {"x": 0.0}]
    match = r"Chain 1 can't move: at update \d+, its last \d+ attempts .*step_size=0.1\. Use a"
    for door in (our_sample, pm_sample):
        with pytest.raises(ChainStuckError, match=match) as error:
            door(model, step, initvals=initvals)
        assert error.value.idata is None
    assert isinstance(error.value, SamplingError)


def test_a_stuck_chain_leaves_the_draws_made_before():
    # An unstable step: the position doubles and doubles until its square overflows.
    with pm.Model() as model:
        pm.Normal("x")
        step = SGLD(step_size=2.5, steps_per_draw=1)
    with pytest.raises(ChainStuckError, match=r"step_size=2\.5") as error:
        our_sample(model, step, 10_000, tune=0)
    idata = error.value.idata
    draws = idata.posterior.sizes["draw"]
    assert 400 < draws < 5000
    assert np.isfinite(idata.posterior["x"]).all()
    assert (idata.posterior["x"].diff("draw")[:, :400] != 0).all()
    assert idata.posterior.attrs["updates"] == draws
    with pytest.raises(ChainStuckError) as error:
        our_sample(model, step, 10, tune=10_000, discard_tuned_samples=False)
    tuning = error.value.idata.warmup_posterior["x"]
    assert tuning[:, :400].equals(idata.posterior["x"][:, :400])


def test_a_clipped_gradient_has_another_law_and_is_recorded():
    with pm.Model() as model:
        pm.Normal("x", 0, 1e-3)
        options = {"step_size": 1e-3, "steps_per_draw": 100}
        free, held = (SGLD(**options, clip_gradient=c) for c in (1e-9, None))
    free, held = (our_sample(model, step, 50, tune=0, chains=100) for step in (free, held))
    # Without its gradient SGLD walks at random: t updates have a variance of t h².
    x = free.posterior["x"]
    spread = (x.isel(draw=-1) - x.isel(draw=0)).std().item()
    assert spread == pytest.approx(1e-3 * np.sqrt(4900), rel=0.3)
    assert held.posterior["x"].isel(draw=-1).std() < 2e-3
    assert free.posterior.attrs["clip_gradient"] == 1e-9
    assert "clip_gradient" not in held.posterior.attrs
    assert "clip_gradient" in str(diagnose(free))


# -- wrong arguments ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"draws": 0}, ValueError, "draws must be an integer of at least 1, got 0"),
        ({"draws": 10.0}, TypeError, "draws must be an integer of at least 1, got 10.0"),
        ({"tune": -1}, ValueError, "tune must be an integer of at least 0, got -1"),
        ({"chains": 0}, ValueError, "chains must be an integer of at least 1, got 0"),
        ({"chains": True}, TypeError, "chains must be .* got True"),
        ({"step": ATMC}, TypeError, "step must be one of.*step=ATMC"),
        ({"step": None}, TypeError, "step must be one of"),
        ({"var_names": ["beta"]}, ValueError, "'beta'.*They are: 'b', 's', 'w', 'mu'"),
        ({"var_names": "b"}, TypeError, r"list of names, got 'b': write var_names=\['b'\]"),
        ({"initvals": [{}]}, ValueError, "initvals has 1 points for 4 chains"),
        ({"cores": 2}, TypeError, "unexpected keyword argument 'cores'"),
    ],
)
def test_wrong_arguments(model, step, arguments, error, message):
    with pytest.raises(error, match=message):
        sample(**({"draws": 5, "step": step, "model": model, "progressbar": False} | arguments))


def test_a_step_for_another_model(step):
    with pm.Model() as other:
        pm.Normal("x")
    with pytest.raises(ValueError, match=r"made for another model.*step = ATMC\(...\)"):
        our_sample(other, step)


def test_a_step_that_does_not_sample_everything(model):
    part = SGLD(["b"], step_size=0.1, model=model)
    with pytest.raises(ValueError, match=r"'s_log__', 'w_simplex__'.*pm.sample\(step=\["):
        our_sample(model, part)


def test_a_step_of_pymc(model):
    with model, pytest.raises(TypeError, match=r"or use pm\.sample for other steps"):
        sample(5, step=CompoundStep([]))
