"""Steps that sample some of the variables, beside PyMC's own or each other."""

import subprocess
import sys
import warnings

import numpy as np
import pymc as pm
import pytest
import xarray

from pymc_sgmcmc import ATMC, SGHMC, SGLD, WarmUp
from pymc_sgmcmc.pymc_step.lone import Lone
from pymc_sgmcmc.pymc_step.population import InPopulation

R = 0.8

pytestmark = pytest.mark.filterwarnings("ignore:Found chain dimension to be longer than draw")


def pm_sample(model, steps, draws=10, **kwargs):
    settings = {"tune": 5, "chains": 2, "cores": 1, "random_seed": 1, "progressbar": False}
    settings |= {"compute_convergence_checks": False, **kwargs}
    with model:
        return pm.sample(draws, step=steps, **settings)


@pytest.fixture(scope="module")
def pair():
    """Two standard normals of correlation 0.8."""
    with pm.Model() as pair:
        x = pm.Normal("x", initval=0.0)
        pm.Normal("y", R * x, np.sqrt(1 - R**2))
    return pair


def assert_correlated(idata):
    """Each chain by itself has the joint law; about one draw in 15 is independent."""
    for chain in idata.posterior["chain"]:
        draws = idata.posterior.sel(chain=chain)
        x, y = draws["x"].values, draws["y"].values
        assert abs(np.corrcoef(x, y)[0, 1] - R) < 0.1
        for v in (x, y):
            assert abs(v.mean()) < 0.4
            assert 0.75 < v.std() < 1.25


# -- the joint law -----------------------------------------------------------------------------


@pytest.mark.parametrize("ours_first", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_with_metropolis(pair, ours_first):
    with pair:
        steps = [SGHMC(["x"], step_size=0.2, steps_per_draw=8), pm.Metropolis([pair["y"]])]
    order = steps if ours_first else steps[::-1]
    assert_correlated(pm_sample(pair, order, 1500, tune=200))


@pytest.mark.slow
def test_two_of_ours(pair):
    with pair:
        steps = [
            SGLD(["x"], step_size=0.2, steps_per_draw=10),
            ATMC(["y"], step_size=0.1, steps_per_draw=10),
        ]
    idata = pm_sample(pair, steps, 1500, tune=200)
    assert_correlated(idata)
    attributes = idata.posterior.attrs
    assert attributes["sampler"] == "SGLD, ATMC"
    assert attributes["step_size"].tolist() == [0.2, 0.1]
    assert attributes["momentum_decay"] == "-, 0.9"
    assert attributes["steps_per_draw"] == 10
    assert attributes["updates"] == 17_000


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("store", ["netcdf", "zarr"])
def test_attributes_of_two_steps_can_be_stored(pair, tmp_path, store):
    with pair:
        steps = [
            SGHMC(["x"], step_size=0.2, steps_per_draw=2),
            ATMC(["y"], step_size=0.1, steps_per_draw=3),
        ]
    idata = pm_sample(pair, steps, 5)
    if store == "netcdf":
        idata.to_netcdf(tmp_path / "file.nc")
        stored = xarray.open_datatree(tmp_path / "file.nc").posterior.attrs
    else:
        pytest.importorskip("zarr")
        idata.to_zarr(tmp_path / "file.zarr")
        stored = xarray.open_datatree(tmp_path / "file.zarr", engine="zarr").posterior.attrs
    assert stored.keys() == idata.posterior.attrs.keys()
    for name, numbers in {
        "step_size": [0.2, 0.1],
        "steps_per_draw": [2, 3],
        "updates": [20, 30],
    }.items():
        np.testing.assert_array_equal(stored[name], numbers)
    assert stored["sampler"] == "SGHMC, ATMC"
    assert stored["shard"] == "chains"


@pytest.mark.slow
def test_each_trace_has_the_attributes_of_its_steps(pair):
    # Also where another run of the same step, or of another step, came in between.
    with pair:
        steps = [ATMC(["x"], warmup=WarmUp(preconditioner="diagonal")), pm.Metropolis([pair["y"]])]
        other = [SGLD(["x"], step_size=0.9), steps[1]]
    kwargs = {"tune": 8, "return_inferencedata": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        traces = [pm_sample(pair, x, 4, **kwargs) for x in (steps, other)]
        traces.append(pm_sample(pair, steps, 4, random_seed=2, **kwargs))
    first, second, last = (pm.to_inference_data(trace, model=pair).posterior for trace in traces)
    assert second.attrs["sampler"] == "SGLD"
    assert second.attrs["step_size"] == 0.9
    for posterior, trace in ((first, traces[0]), (last, traces[2])):
        h = [trace._straces[c].get_sampler_stats("step_size", sampler_idx=0)[-1] for c in (0, 1)]
        assert posterior.attrs["sampler"] == "ATMC"
        assert min(h) <= posterior.attrs["step_size"] <= max(h)
    assert last.attrs["warmup_updates"] > 0
    assert "warmup_updates" not in first.attrs  # what that run found is not known any more


@pytest.mark.slow
def test_with_discrete_variables():
    with pm.Model() as model:
        z = pm.Bernoulli("z", 0.3)
        k = pm.Categorical("k", [0.5, 0.3, 0.2])
        x = pm.Normal("x", 1.5 * z - k, 1)
        steps = [
            pm.BinaryGibbsMetropolis([z]),
            ATMC([x], step_size=0.2, steps_per_draw=8),
            pm.CategoricalGibbsMetropolis([k]),
        ]
    idata = pm_sample(model, steps, 1500, tune=200)
    assert idata.posterior["z"].dtype == np.int64
    for chain in idata.posterior["chain"]:
        draws = idata.posterior.sel(chain=chain)
        z, k, x = (draws[name].values for name in "zkx")
        assert abs(z.mean() - 0.3) < 0.1
        np.testing.assert_allclose(np.bincount(k) / len(k), [0.5, 0.3, 0.2], atol=0.1)
        residual = x - 1.5 * z + k  # N(0, 1), whatever z and k
        assert 0.85 < residual.std() < 1.15
        for group in (z == 0, z == 1, k == 0, k == 2):
            assert abs(residual[group].mean()) < 0.25
        assert abs(np.corrcoef(z, k)[0, 1]) < 0.15


@pytest.mark.slow
def test_with_minibatches():
    # A switch between two slopes: the discrete variable is an input of the minibatch gradient.
    rng = np.random.default_rng(0)
    X, z_true = rng.normal(size=500), 1
    y = 2 * X * z_true + rng.normal(size=500)
    with pm.Model() as model:
        z = pm.Bernoulli("z", 0.5)
        b = pm.Normal("b", 0, 10)
        pm.Normal("y", b * pm.Data("X", X) * z, 1, observed=y)
        steps = [ATMC([b], batch_size=50, step_size=0.01, steps_per_draw=20)]
        steps += [pm.BinaryGibbsMetropolis([z])]
    draws = pm_sample(model, steps, 300, tune=300, initvals={"z": 1}).posterior
    assert (draws["z"] == 1).all()
    expected, sd = (X @ y) / (X @ X), 1 / np.sqrt(X @ X)
    assert abs(draws["b"].mean() - expected) < sd
    assert 0.7 * sd < draws["b"].std() < 1.4 * sd


@pytest.mark.slow
def test_with_nuts_for_the_rest(pair):
    # NUTS, too, has a statistic called step_size: both stand side by side.
    step = SGHMC(["x"], step_size=0.2, steps_per_draw=8, model=pair)
    idata = pm_sample(pair, step, 600, tune=300)
    assert idata.sample_stats["step_size"].shape == (2, 600, 2)
    assert (idata.sample_stats["step_size"][..., 0] == 0.2).all()
    assert (idata.sample_stats["step_size"][..., 1] > 0.2).all()
    assert idata.posterior.attrs["sampler"] == "SGHMC"
    x, y = (idata.posterior[name].values.ravel() for name in "xy")
    assert abs(np.corrcoef(x, y)[0, 1] - R) < 0.1


# -- how chains start and go on ----------------------------------------------------------------


def test_starts(pair):
    with pair:
        still = SGLD(["x"], step_size=1e-9, steps_per_draw=1)
        steps = [still, SGLD(["y"], step_size=1e-9, steps_per_draw=1)]
    kwargs = {"tune": 0, "chains": 3}
    x = pm_sample(pair, steps, 1, **kwargs).posterior["x"].values
    assert len(np.unique(x)) == 3
    assert np.abs(x).max() <= 1
    x = pm_sample(pair, steps, 1, initvals={"x": 3.0}, **kwargs).posterior["x"]
    np.testing.assert_allclose(x, 3, atol=1e-7)


def test_seeds_and_reuse(pair):
    with pair:
        steps = [ATMC(["x"], step_size=0.1, steps_per_draw=5), pm.Metropolis([pair["y"]])]
    first, same, other = (pm_sample(pair, steps, random_seed=seed) for seed in (1, 1, 2))
    assert first.posterior["x"].equals(same.posterior["x"])
    assert not (first.posterior["x"] == other.posterior["x"]).any()
    assert not (first.posterior["x"][0] == first.posterior["x"][1]).any()


def test_who_is_alone(pair):
    everything = SGLD(step_size=0.1, model=pair)
    assert isinstance(everything, InPopulation)
    for vars in (["x"], pair["x"], [pair["x"]], pair.value_vars[0]):
        part = SGLD(vars, step_size=0.1, model=pair)
        assert isinstance(part, Lone)
        assert isinstance(part, SGLD)
        assert part.vars == [pair.value_vars[0]]
    assert isinstance(SGLD(vars=["y", "x"], step_size=0.1, model=pair), InPopulation)


def test_blocked_false_is_refused(pair):
    with pytest.raises(ValueError, match=r"blocked=False.*Leave it out: ATMC\(...\)"):
        ATMC(["x"], step_size=0.1, blocked=False, model=pair)


# -- processes ---------------------------------------------------------------------------------

SCRIPT = """
import numpy as np, pymc as pm
from pymc_sgmcmc import SGHMC, sample

def main():
    with pm.Model() as model:
        x = pm.Normal("x", initval=0.0)
        y = pm.Normal("y", 0.9 * x, np.sqrt(0.19))
        steps = [SGHMC(["x"], step_size=0.2, steps_per_draw=8), pm.Metropolis([y])]
        SGHMC(["x"], step_size=0.9)  # made, but not run

    def run(**kwargs):
        with model:
            return pm.sample(100, tune=50, chains=2, step=steps, random_seed=1,
                             progressbar=False, compute_convergence_checks=False, **kwargs)

    forked = run(cores=2)  # fork: JAX runs in the children only
    assert forked.posterior.attrs["sampler"] == "SGHMC"
    assert forked.posterior.attrs["step_size"] == 0.2
    alone = run(cores=1)  # from here on JAX runs in this process
    assert forked.posterior.equals(alone.posterior), "fork"
    assert forked.sample_stats.equals(alone.sample_stats), "fork"
    try:
        run(cores=2, mp_ctx="fork")
    except Exception as error:
        print("refused:", type(error).__name__, error)
    assert run(cores=2, mp_ctx="forkserver").posterior.equals(alone.posterior), "forkserver"
    print("done")

if __name__ == "__main__":
    main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Processes are forked on Linux.")
@pytest.mark.slow
def test_processes(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "done" in run.stdout
    refused = run.stdout[run.stdout.index("refused: ") :]
    assert "ParallelSamplingError" in refused
    assert "JAX already ran" in refused
    assert "cores=1" in refused
