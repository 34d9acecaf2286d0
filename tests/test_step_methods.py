"""Door 1: ``pm.sample(step=...)``, where the step samples every variable of its model."""

import inspect
import logging
import multiprocessing.process
import pickle
import re
import subprocess
import sys

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from pymc.exceptions import SamplingError
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

from pymc_sgmcmc import ATMC, JAX, SGHMC, SGLD, SGNHT, WarmUp, sample, schedules
from pymc_sgmcmc.pymc_step import names
from pymc_sgmcmc.pymc_step.step import StochasticGradientStep
from tests.samplers import SAMPLERS

N = 60

pytestmark = pytest.mark.filterwarnings("ignore:Found chain dimension to be longer than draw")


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 2))
    coords = {"feature": ["a", "b"], "row": np.arange(N)}
    with pm.Model(coords=coords) as model:
        Xd = pm.Data("X", X, dims=("row", "feature"))
        b = pm.Normal("b", dims="feature")
        s = pm.HalfNormal("s")
        mu = pm.Deterministic("mu", Xd @ b, dims="row")
        pm.Normal("y", mu, s, observed=X @ [1, -1] + rng.normal(size=N), dims="row")
    return model


@pytest.fixture(scope="module")
def step(model):
    return ATMC(batch_size=10, step_size=0.02, steps_per_draw=5, model=model)


@pytest.fixture(scope="module")
def small():
    """Two variables, no data."""
    with pm.Model() as small:
        pm.Normal("x", shape=2)
        pm.HalfNormal("s")
    return small


@pytest.fixture(scope="module")
def still(small):
    """A step that stays where it starts."""
    return SGLD(step_size=1e-9, steps_per_draw=1, model=small)


def pm_sample(model, step, draws=12, **kwargs):
    settings = {"tune": 4, "chains": 3, "random_seed": 1, "progressbar": False}
    settings |= {"compute_convergence_checks": False, **kwargs}
    with model:
        return pm.sample(draws, step=step, **settings)


# -- any number of cores, in one process -------------------------------------------------------


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"cores": 1}, {"cores": 2}, {"cores": 4}, {"mp_ctx": "forkserver"}, {"mp_ctx": "spawn"}],
    ids=str,
)
def test_all_chains_run_in_this_process(model, step, monkeypatch, kwargs):
    before = pm_sample(model, step, cores=1)  # JAX runs from here on

    def start(process):
        raise AssertionError("pm.sample started a process.")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", start)
    after = pm_sample(model, step, **kwargs)
    assert before.posterior.equals(after.posterior)
    assert before.sample_stats.equals(after.sample_stats)


@pytest.mark.slow
def test_a_plain_script_with_defaults(tmp_path):
    # No __main__ guard, no cores=..., JAX live from the second pm.sample on.
    script = tmp_path / "script.py"
    script.write_text("""
import numpy as np, pymc as pm
from pymc_sgmcmc import ATMC
y = np.random.default_rng(0).normal(2, 1, 500)
with pm.Model():
    mu = pm.Normal("mu", 0, 10)
    pm.Normal("y", mu, 1, observed=y)
    for _ in range(2):
        step = ATMC(batch_size=50, step_size=0.01, steps_per_draw=30)
        idata = pm.sample(300, tune=300, step=step, random_seed=1)
    print("mean", idata.posterior["mu"].mean().item(), "of", y.mean())
    print("chains", idata.posterior.sizes["chain"])
""")
    run = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    words = run.stdout.split()
    mean, expected = (float(words[words.index(w) + 1]) for w in ("mean", "of"))
    assert abs(mean - expected) < 0.02
    assert "arallel" not in run.stderr
    assert "fork" not in run.stderr


def test_misleading_messages_are_suppressed_and_no_others(model, step, caplog):
    logger = logging.getLogger("pymc.sampling.population")
    with caplog.at_level(logging.INFO, logger="pymc"):
        pm_sample(model, step, cores=2)
        pm_sample(model, step, cores=1)
        assert "arallel" not in caplog.text
        assert "Population sampling (3 chains)" in caplog.text
        assert "Only 12 samples per chain" in caplog.text
        assert not logger.filters
        logger.info("Chains are not parallelized, says another population step.")
    assert "another population step" in caplog.text


def test_each_phase_is_told(caplog):
    with pm.Model() as model:
        pm.Normal("x", shape=3)
        step = ATMC(warmup=WarmUp(preconditioner="diagonal"), engine="jax")
        silent = SGLD(step_size=0.1, engine="jax")
    with caplog.at_level(logging.INFO, logger="pymc"):
        pm_sample(model, step)
        told = [r.getMessage() for r in caplog.records if r.name == "pymc"]
        caplog.clear()
        pm_sample(model, silent)
        assert "Searching" not in caplog.text
        caplog.clear()
        pm_sample(model, silent, quiet=True)
        assert not caplog.records
    assert told[0] == "Searching for the posterior's modes and scale…"
    assert re.fullmatch(r"Warm-up done in \d+ s: step size [\d.]+, \d+ updates a draw.", told[1])
    assert told[2:] == ["Sampling with JAX, which compiles a new model first."]


def test_a_callback_is_not_dropped_in_silence(model, step):
    with pytest.warns(UserWarning, match="pm.sample never calls callback=") as warned:
        pm_sample(model, step, callback=print)
    assert warned[0].filename == __file__


def test_exceptions_point_to_the_door_that_keeps_draws(small):
    step = SGLD(step_size=0.1, schedule=lambda t: np.where(t > 900, -1.0, 1.0), model=small)
    with pytest.raises(ValueError, match=r"gave -1\.0 at update 901") as error:
        pm_sample(small, step)
    assert "pymc_sgmcmc.sample(step=...) does" in error.value.__notes__[0]


def test_the_filter_goes_when_the_start_is_refused(small, still):
    logger = logging.getLogger("pymc.sampling.population")
    with pytest.raises(SamplingError):
        pm_sample(small, still, initvals={"x": [np.inf, 0]})
    assert not logger.filters


def test_the_step_refuses_to_be_pickled(step):
    with pytest.raises(pickle.PicklingError, match="one compiled call"):
        pickle.dumps(step)


# -- where chains start ------------------------------------------------------------------------


def test_chains_that_all_start_at_the_initial_point_are_jittered(small, still):
    draw = pm_sample(small, still, 1, tune=0, chains=50).posterior.isel(draw=0)
    initial = small.initial_point(0)
    for x in (draw["x"].values, np.log(draw["s"].values) - initial["s_log__"]):
        assert np.abs(x).max() <= 1
        assert 0.3 < np.abs(x).mean() < 0.7
        assert len(np.unique(x)) == x.size


@pytest.mark.parametrize(
    ("initvals", "expected"),
    [
        ({"x": [5.0, 6.0]}, [[5, 6], [5, 6]]),
        ([{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}], [[1, 2], [3, 4]]),
        ([{"x": [1.0, 2.0]}, None], [[1, 2], [0, 0]]),
    ],
    ids=["dict", "list", "list with None"],
)
def test_other_starts_are_taken_as_given(small, still, initvals, expected):
    draw = pm_sample(small, still, 1, tune=0, chains=2, initvals=initvals).posterior.isel(draw=0)
    np.testing.assert_allclose(draw["x"], expected, atol=1e-7)
    initial = np.exp(small.initial_point(0)["s_log__"])
    np.testing.assert_allclose(draw["s"], [initial, initial], rtol=1e-7)


def test_starts_from_the_prior(small, still):
    draw = pm_sample(small, still, 1, tune=0, chains=50, initvals={"x": "prior"}).posterior
    x = draw["x"].values.ravel()
    assert np.abs(x).max() > 1.5
    assert 0.8 < x.std() < 1.2
    np.testing.assert_allclose(draw["s"], 1, rtol=1e-7)


def test_a_start_that_is_not_finite(small, still):
    initvals = [{"x": [0.0, 1.0]}, {"x": [np.nan, 0.0]}]
    with pytest.raises(SamplingError, match=r"not finite for chain 1 at its start.*initvals"):
        pm_sample(small, still, chains=2, initvals=initvals)


def test_jitter_avoids_points_that_are_not_finite():
    with pm.Model() as model:
        x = pm.Normal("x", initval=0.0)
        pm.Potential("above", pt.switch(x < 0, -np.inf, 0))
        step = SGLD(step_size=1e-9, steps_per_draw=1)
    draw = pm_sample(model, step, 1, tune=0, chains=20).posterior["x"]
    assert (draw >= 0).all()
    assert len(np.unique(draw)) == 20


# -- the rest of pm.sample's arguments ---------------------------------------------------------


def test_seeds(model, step):
    first, same, other = (pm_sample(model, step, random_seed=seed) for seed in (1, 1, 2))
    assert first.posterior.equals(same.posterior)
    assert not (first.posterior["b"] == other.posterior["b"]).any()
    chains = first.posterior["b"].isel(draw=-1).values
    assert len(np.unique(chains, axis=0)) == 3


def test_names_dims_coords_and_types(model, step):
    idata = pm_sample(model, step)
    posterior = idata.posterior
    assert set(posterior.data_vars) == {"b", "s", "mu"}
    assert posterior["b"].dims == ("chain", "draw", "feature")
    assert posterior["mu"].dims == ("chain", "draw", "row")
    assert list(posterior["feature"].values) == ["a", "b"]
    assert dict(posterior.sizes) == {"chain": 3, "draw": 12, "feature": 2, "row": N}
    assert {x.dtype for x in posterior.data_vars.values()} == {np.dtype("float64")}
    assert {"observed_data", "constant_data"} < set(idata.children)
    stats = idata.sample_stats
    assert set(stats.data_vars) == {
        "kinetic_temperature",
        "gradient_noise",
        "potential_energy",
        "gradient_norm",
        "configurational_temperature",
        "step_size",
        "rejected",
    }
    assert stats["rejected"].dtype == np.int64
    assert stats["step_size"].dtype == np.float64
    assert (stats["step_size"] == 0.02).all()
    assert all(np.isfinite(x).all() for x in stats.data_vars.values())


def test_tuning_draws_can_be_kept(model, step):
    kept = pm_sample(model, step, discard_tuned_samples=False)
    assert kept.warmup_posterior.sizes["draw"] == 4
    assert kept.warmup_sample_stats.sizes["draw"] == 4
    assert kept.posterior.equals(pm_sample(model, step).posterior)
    assert kept.warmup_posterior.attrs["sampler"] == "ATMC"


def test_var_names_and_idata_kwargs(model, step):
    idata = pm_sample(model, step, var_names=["b"], idata_kwargs={"include_transformed": True})
    assert set(idata.posterior.data_vars) == {"b"}
    idata = pm_sample(model, step, idata_kwargs={"include_transformed": True})
    np.testing.assert_allclose(np.log(idata.posterior["s"]), idata.posterior["s_log__"])


@pytest.mark.filterwarnings("ignore:.*return_inferencedata=False:FutureWarning")
def test_multitrace(model, step):
    trace = pm_sample(model, step, return_inferencedata=False)
    assert trace["b"].shape == (36, 2)
    idata = pm.to_inference_data(trace, model=model)
    assert idata.posterior.attrs["sampler"] == "ATMC"
    with model:
        assert pm.to_inference_data(trace).posterior.equals(idata.posterior)


def test_one_chain_and_no_tuning(model, step):
    assert dict(pm_sample(model, step, chains=1, tune=0).posterior["b"].sizes) == {
        "chain": 1,
        "draw": 12,
        "feature": 2,
    }


def test_a_list_of_one_step(model, step):
    assert pm_sample(model, [step]).posterior.equals(pm_sample(model, step).posterior)


def test_attributes(model, step):
    # Those of the step that ran, not of the latest that was made.
    SGLD(step_size=0.5, batch_size=3, model=model)
    idata = pm_sample(model, step)
    for group in ("posterior", "sample_stats"):
        attributes = idata[group].attrs
        assert attributes["sampler"] == "ATMC"
        assert attributes["step_size"] == 0.02
        assert attributes["batch_size"] == 10
        assert attributes["n_rows"] == N
        assert attributes["shard"] == "chains"
        assert attributes["data"] == "X, y"
        assert attributes["temperature"] == 1
        assert attributes["updates"] == 16 * 5
        assert attributes["jax_version"]


def test_precision_of_products_is_recorded(small):
    step = SGLD(step_size=0.1, engine=JAX(matmul_precision="bfloat16"), model=small)
    attributes = pm_sample(small, step, 1, tune=0, chains=1).posterior.attrs
    assert attributes["matmul_precision"] == "bfloat16"
    assert "data" not in attributes


def test_other_steps_get_no_attributes():
    with pm.Model() as model:
        pm.Normal("x")
        SGLD(step_size=0.1)
        assert "sampler" not in pm_sample(model, pm.Metropolis(), chains=1).posterior.attrs
        assert "sampler" not in pm.sample_prior_predictive(3).prior.attrs


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.slow
def test_every_sampler_finds_the_posterior(sampler):
    y = np.random.default_rng(0).normal(1, 1, 100)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Normal("y", mu, 1, observed=y)
        # Momentum without a thermostat gets hotter by noise: smaller steps, more friction.
        names = sampler.dynamics_class.auxiliaries
        heated = "momentum" in names and "thermostat" not in names
        settings = {"step_size": 0.005, "momentum_decay": 0.9} if heated else {"step_size": 0.02}
        step = sampler(batch_size=25, steps_per_draw=25, **settings)
    posterior = pm_sample(model, step, 300, tune=100, chains=8).posterior["mu"]
    assert abs(posterior.mean() - y.mean()) < 0.02
    assert 0.09 < posterior.std() < 0.115  # 0.1, and 3% for the gradient's noise


# -- a second pm.sample ------------------------------------------------------------------------


@pytest.fixture
def located():
    """Normal rows with a prior centre that can be changed too."""
    with pm.Model() as model:
        centre = pm.Data("centre", 0.0)
        mu = pm.Normal("mu", centre, 0.1)
        rows = pm.Data("rows", np.random.default_rng(0).normal(0, 1, 100))
        pm.Normal("y", mu, 1, observed=rows)
        step = SGNHT(batch_size=20, step_size=0.02, steps_per_draw=20)
    return model, step


def located_mean(model, step):
    posterior = pm_sample(model, step, 400, tune=200, chains=4).posterior
    mean = posterior["mu"].mean().item()
    n, total = len(model["rows"].get_value()), model["rows"].get_value().sum()
    assert posterior.attrs["n_rows"] == n
    expected = (total + 100 * model["centre"].get_value()) / (n + 100)
    assert abs(mean - expected) < 0.03
    return mean


def test_a_step_serves_again_and_uses_the_data_as_they_are(located):
    model, step = located
    before = located_mean(model, step)
    engine = step.compiled.engine()

    with model:  # other rows: nothing is compiled again
        pm.set_data({"rows": np.random.default_rng(1).normal(3, 1, 100)})
    assert located_mean(model, step) > before + 1
    assert step.compiled.engine() is engine

    with model:  # another number of rows: N/B is another
        pm.set_data({"rows": np.random.default_rng(2).normal(3, 1, 300)})
    assert located_mean(model, step) > before + 2
    assert step.compiled.engine() is not engine

    with model:  # data that are not rows
        pm.set_data({"centre": -4.0})
    located_mean(model, step)

    with model:
        pm.set_data({"rows": np.zeros(10)})
    with pytest.raises(ValueError, match="batch_size=20 exceeds the 10 rows"):
        pm_sample(model, step)


def test_a_step_refuses_a_model_that_was_edited(located):
    model, step = located
    with model:
        pm.Potential("late", -(model["mu"] ** 2))
    with pytest.raises(ValueError, match=r"variables changed.*Make a new step"):
        pm_sample(model, step)


def test_another_step_for_the_same_variable_is_refused(small):
    # PyMC allows it, but the chains of this step are made ahead.
    with small:
        steps = [SGLD(step_size=0.1), pm.Metropolis([small["x"]])]
    for order in (steps, steps[::-1]):
        with pytest.raises(ValueError, match=r"Another step moves.*SGLD\(vars=\[...\]"):
            pm_sample(small, order)


# -- wrong arguments ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "arguments", "error", "message"),
    [
        (
            SGLD,
            {"temperature": -1},
            ValueError,
            "at least 0 and finite, got -1",
        ),
        (
            SGLD,
            {"temperature": np.nan},
            ValueError,
            "at least 0 and finite, got nan",
        ),
        (SGNHT, {"temperature": 0}, ValueError, "temperature=0.*Use SGLD or SGHMC"),
        (ATMC, {"temperature": 0}, ValueError, "temperature=0.*Use SGLD or SGHMC"),
        (
            SGHMC,
            {"momentum_decay": 0},
            ValueError,
            "momentum_decay must be greater than 0",
        ),
        (SGNHT, {"momentum_decay": 1.0}, ValueError, 'less than 1, or "auto", got 1.0'),
        (ATMC, {"momentum_decay": 1.1}, ValueError, 'less than 1, or "auto", got 1.1'),
        (ATMC, {"speed_limit": 0}, ValueError, "speed_limit must be greater than 0"),
        (SGNHT, {"thermostat_time": 0}, ValueError, "thermostat_time must be greater than 0"),
        (SGNHT, {"thermostat": "both"}, ValueError, "thermostat must be .*got 'both'"),
        (SGLD, {"schedule": "linear"}, ValueError, '"constant", "polynomial" or "cyclical"'),
        (SGLD, {"schedule": 0.5}, ValueError, "a name or a function.*got 0.5"),
        (
            SGLD,
            {"schedule": schedules.CyclicalCosine(30), "steps_per_draw": 100},
            ValueError,
            "cycle of 30. Use steps_per_draw=30",
        ),
        (SGLD, {"dtype": "float16"}, ValueError, '"float32" or "float64", got \'float16\''),
        (SGLD, {"batch_size": 5}, ValueError, "no observed variable"),
        (SGLD, {"vars": []}, ValueError, "vars is empty"),
        (SGLD, {"blocked": False}, ValueError, r"blocked=False.*SGLD\(...\)"),
        (
            SGLD,
            {"learning_rate": 0.1},
            TypeError,
            "'learning_rate'. Here it is step_size; usually none",
        ),
        (ATMC, {"LR": 0.1}, TypeError, "'LR'. Here it is step_size"),
        (ATMC, {"minibatch_size": 5}, TypeError, "'minibatch_size'. Here it is batch_size"),
        (ATMC, {"thinning": 5}, TypeError, "'thinning'. Here it is steps_per_draw"),
        (SGHMC, {"friction": 5}, TypeError, "'friction'. Here it is momentum_decay"),
        (SGLD, {"friction": 5}, TypeError, "'friction'. It takes vars"),
        (ATMC, {"burn_in": 5}, TypeError, "'burn_in'. It belongs to pm.sample"),
        (ATMC, {"shedule": None}, TypeError, "'shedule'. Did you mean 'schedule'?"),
        (SGLD, {"momentum_decay": 0.9}, TypeError, "'momentum_decay'. It takes vars, batch_size"),
        (ATMC, {"zeta": 0.1}, TypeError, "'zeta'. It takes vars, batch_size.*speed_limit"),
    ],
)
def test_wrong_arguments(small, sampler, arguments, error, message):
    with pytest.raises(error, match=message):
        sampler(**({"step_size": 0.1} | arguments), model=small)


def test_names_of_elsewhere_are_those_of_arguments():
    taken = set().union(*(inspect.signature(s).parameters for s in (SGLD, SGHMC, SGNHT, ATMC)))
    assert {re.split("[=;]", here)[0] for here in names._ELSEWHERE} <= taken
    assert not taken & set(" ".join(names._ELSEWHERE.values()).split())
    for here in names._ELSEWHERE:
        if within := re.search(r"WarmUp\((\w+)", here):
            assert within[1] in inspect.signature(WarmUp).parameters


def test_wrong_models(model):
    with pytest.raises(TypeError, match="No model on context stack"):
        SGLD(step_size=0.1)
    with pytest.raises(ValueError, match="batch_size=61 exceeds the 60 rows"):
        SGLD(step_size=0.1, batch_size=61, model=model)
    with pm.Model():
        pm.Poisson("k", 3)
        with pytest.raises(ValueError, match="no continuous free variable"):
            SGLD(step_size=0.1)
        x = pm.Normal("x")
        with pytest.raises(ValueError, match=r"'k' is discrete.*pm.Metropolis"):
            SGLD(vars=["k", x], step_size=0.1)


def test_jax_missing(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(ImportError, match="pip install jax"):
        SGLD(step_size=0.1, engine="jax", model=small)
    assert SGLD(step_size=0.1, model=small).plan.settings.engine.name == "numba"


class WithoutJax(Op):
    def make_node(self, x):
        return Apply(self, [x], [x.type()])

    def perform(self, node, inputs, outputs):
        outputs[0][0] = np.asarray(inputs[0] ** 2)

    def pullback(self, inputs, outputs, cotangents):
        return [2 * inputs[0] * cotangents[0]]


def test_an_op_that_both_engines_lack_is_named():
    with pm.Model() as model:
        pm.Potential("p", -WithoutJax()(pm.Normal("x")))
        step = SGLD(step_size=0.1)
    words = r"of 'p' can't .*WithoutJax.*no engine"
    with pytest.raises(NotImplementedError, match=words):
        pm_sample(model, step)
    with pytest.raises(NotImplementedError, match=words):
        sample(5, step=step, model=model, progressbar=False)


# -- what users see of the classes -------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{"step_size": 0.1}, {}], ids=["given", "automatic"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_classes(small, sampler, arguments):
    step = sampler(**arguments, model=small)
    assert isinstance(step, sampler)
    assert isinstance(step, StochasticGradientStep)
    assert type(step).__name__ == sampler.__name__
    assert type(step).__doc__ == sampler.__doc__
    for word in (*inspect.signature(sampler).parameters, "References"):
        assert word in sampler.__doc__
    assert "{{" not in sampler.__doc__
    assert step.vars == small.value_vars
    assert not hasattr(pm, sampler.__name__)


def test_typos_are_met_with_a_suggestion(model):
    with model:
        with pytest.raises(TypeError, match=r"'batchsize'\. Did you mean 'batch_size'"):
            ATMC(batchsize=10, step_size=0.01)
        with pytest.raises(TypeError, match=r"vars must be variables.*got 500.*ATMC\(batch_size="):
            ATMC(500, step_size=0.01)
        with pytest.raises(TypeError, match="published must be True or False, got 'no'"):
            ATMC(step_size=0.01, published="no")
        with pytest.raises(TypeError, match=r"must be a number, or .auto., got 'x'"):
            ATMC(step_size=0.01, momentum_decay="x")


def test_the_signature_spells_out_every_argument():
    parameters = inspect.signature(ATMC).parameters
    defaults = {
        "step_size": None,
        "steps_per_draw": "auto",
        "warmup": WarmUp(),
        "engine": "auto",
        "temperature": 1,
        "momentum_decay": "auto",
    }
    assert {name: parameters[name].default for name in defaults} == defaults
    assert "options" not in parameters
