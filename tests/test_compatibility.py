"""What docs/compatibility.md says works with the libraries around PyMC does, and what not, not."""

import re
from pathlib import Path

import arviz as az
import matplotlib as mpl
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr

from pymc_sgmcmc import ATMC

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PAGE = (Path(__file__).parent.parent / "docs/compatibility.md").read_text()
QUIET = {"progressbar": False, "random_seed": 1, "compute_convergence_checks": False}
N = 1000
rng = np.random.default_rng(0)
group = rng.integers(5, size=N)
x = rng.normal(size=N)
y = 1 + 0.5 * x + 0.5 * rng.normal(size=5)[group] + rng.normal(size=N)


@pytest.fixture(scope="module")
def idata():
    """A run with all the groups that ArviZ' functions read."""
    with pm.Model() as model:
        mu = pm.Normal("a", 0, 2) + pm.Normal("b", 0, 2) * pm.Data("X", x)
        pm.Normal("y", mu, pm.HalfNormal("s", 2), observed=y)
        idata = pm.sample(300, tune=200, chains=4, step=ATMC(batch_size=200), **QUIET)
        pm.compute_log_likelihood(idata, progressbar=False)
        pm.compute_log_prior(idata)
        pm.sample_posterior_predictive(idata, extend_inferencedata=True, progressbar=False)
    return model, idata


def listed(heading):
    """Functions that a section of the page names."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"`az\.(\w+)`", section)


@pytest.mark.parametrize("name", listed("ArviZ: plots"))
def test_plots_of_arviz(idata, name, monkeypatch):
    mpl.use("agg")
    assert getattr(az, name)(idata[1]) is not None
    mpl.pyplot.close("all")


@pytest.mark.parametrize("name", listed("ArviZ: statistics"))
def test_statistics_of_arviz(idata, name):
    more = {"loo_subsample": {"observations": 300}, "bfmi": {}}.get(name, {})
    assert getattr(az, name)(idata[1], **more) is not None


def test_files(idata, tmp_path):
    """All groups and attributes come back."""
    _, draws = idata
    draws.to_netcdf(tmp_path / "run.nc")
    draws.to_zarr(tmp_path / "run.zarr")
    for again in (az.from_netcdf(tmp_path / "run.nc"), xr.open_datatree(tmp_path / "run.zarr")):
        assert set(again.children) == set(draws.children)
        assert again["posterior"].attrs["sampler"] == "ATMC"
        assert again["posterior"].attrs["step_size"] == draws["posterior"].attrs["step_size"]


def test_pymc_dims(idata):
    """A model of labelled arrays has the draws of the one above, and what goes on with them."""
    import pymc.dims as pmd

    with pm.Model(coords={"row": range(N)}):
        mu = pmd.Normal("a", 0, 2) + pmd.Normal("b", 0, 2) * pmd.Data("X", x, dims="row")
        pmd.Normal("y", mu, pmd.HalfNormal("s", 2), observed=pmd.as_xtensor(y, dims="row"))
        draws = pm.sample(300, tune=200, chains=4, step=ATMC(batch_size=200), **QUIET)
        pm.compute_log_likelihood(draws, progressbar=False)
    for name in ("a", "b", "s"):
        np.testing.assert_allclose(draws["posterior"][name], idata[1]["posterior"][name], rtol=1e-6)
    assert abs(az.loo(draws).elpd - az.loo(idata[1]).elpd) < 1e-6


def test_bambi():
    bambi = pytest.importorskip("bambi", reason="bambi is not installed")
    table = pd.DataFrame({"x": x, "group": group.astype(str), "y": y})
    formula = bambi.Model("y ~ x + (1|group)", table, noncentered=False)
    formula.build()
    model = formula.backend.model
    step = ATMC(batch_size=200, model=model)
    idata = pm.sample(300, tune=300, chains=4, model=model, step=step, **QUIET)
    slope = np.linalg.lstsq(np.c_[np.eye(5)[group], x], y)[0][-1]  # hardly shrunk
    assert abs(float(idata.posterior["x"].mean()) - slope) < 0.2 / np.sqrt(N) * 5
    formula.predict(idata, kind="response")
    assert "y" in idata["posterior_predictive"]


def test_pymc_bart_is_refused():
    pymc_bart = pytest.importorskip("pymc_bart", reason="pymc-bart is not installed")
    with pm.Model():
        mu = pymc_bart.BART("mu", X=np.c_[x, group].astype(float), Y=y)
        pm.Normal("y", mu, pm.HalfNormal("s", 1), observed=y)
        with pytest.raises(ValueError, match="'mu' has one entry per row"):
            ATMC(batch_size=100)
