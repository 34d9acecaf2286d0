"""Temperatures of layers: 1 under the posterior, and those that were planted elsewhere."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytest
from xarray import Dataset, DataTree

from pymc_sgmcmc.diagnostics import layer_temperatures
from pymc_sgmcmc.plots import plot_layer_temperatures

CHAINS, DRAWS = 3, 400


@pytest.fixture(scope="module")
def model():
    with pm.Model() as model:
        pm.Normal("first", 0, 2, shape=(4, 10))
        pm.HalfNormal("scale", 1, shape=30)
        pm.Normal("last", 1, 0.1, shape=20)
        pm.Uniform("place", -1, 3, shape=10)
    return model


def draws(heat=None, length=DRAWS, seed=0):
    """Draws of the prior, which is the posterior without data; some variables spread further."""
    rng = np.random.default_rng(seed)
    shape = CHAINS, length
    first, last = rng.normal(size=(*shape, 4, 10)), rng.normal(size=(*shape, 20))
    heat = {"first": 1, "last": 1} | (heat or {})
    posterior = {
        "first": (("chain", "draw", "a", "b"), 2 * heat["first"] ** 0.5 * first),
        "scale": (("chain", "draw", "c"), np.abs(rng.normal(size=(*shape, 30)))),
        "last": (("chain", "draw", "d"), 1 + 0.1 * heat["last"] ** 0.5 * last),
        "place": (("chain", "draw", "e"), rng.uniform(-1, 3, size=(*shape, 10))),
    }
    return DataTree.from_dict({"posterior": Dataset(posterior)})


def test_layers_have_the_temperature_of_the_posterior_and_others_are_told(model):
    """Transformed ones, too: U has their Jacobians."""
    found = layer_temperatures(draws({"first": 1.5, "last": 0.7}), model, draws=200)
    assert found["variable"].values.tolist() == ["first", "scale", "last", "place"]
    assert found["mean"].dims == ("variable", "chain")
    assert found["standard_error"].max() < 0.05
    right = found.sel(variable=["scale", "place"])
    assert np.abs(right["deviation"]).max() < 5
    assert np.abs(right["mean"].mean("chain") - 1).max() < 0.06
    mean = found["mean"].mean("chain")
    assert mean.sel(variable="first") == pytest.approx(1.5, abs=0.04)
    assert mean.sel(variable="last") == pytest.approx(0.7, abs=0.03)
    assert (found["deviation"].sel(variable="first") > 5).all()
    assert (found["deviation"].sel(variable="last") < -5).all()


def test_the_temperature_that_was_asked_for(model):
    cold = draws({"first": 0.5, "last": 0.5}, length=50)
    cold["posterior"].attrs["temperature"] = 0.5
    found = layer_temperatures(cold, model)
    assert found.attrs["temperature"] == 0.5
    assert np.abs(found["deviation"].sel(variable=["first", "last"])).max() < 5
    cold["posterior"].attrs["temperature"] = [1.0, 0.5]
    with pytest.raises(ValueError, match=r"\[0.5, 1.0\]: no one for all layers"):
        layer_temperatures(cold, model)


def test_few_draws_make_it_too_low_by_one_of_them(model):
    """n independent draws about their own mean: 1 − 1/n."""
    found = layer_temperatures(draws(length=10), model)["mean"].sel(variable=["first", "last"])
    assert found.mean() == pytest.approx(0.9, abs=0.05)
    with pytest.raises(ValueError, match="takes 8 draws of each chain, and there are 5"):
        layer_temperatures(draws(length=5), model)


def test_figure_has_the_numbers(model, monkeypatch):
    rng = np.random.default_rng(1)
    dims = "variable", "chain"
    numbers = {k: (dims, rng.random((4, CHAINS))) for k in ("mean", "standard_error")}
    coords = {"variable": ["first", "scale", "last", "place"], "chain": range(CHAINS)}
    found = Dataset(numbers, coords, {"temperature": 0.8})
    monkeypatch.setattr(
        "pymc_sgmcmc.plots.layer_temperatures.layer_temperatures", lambda *args, **options: found
    )
    drawn = plot_layer_temperatures(draws(length=8), model)
    for chain in range(CHAINS):
        dots, _, (bars,) = drawn.get_viz("chains", sel={"chain": chain})
        of = found.isel(chain=chain)
        np.testing.assert_allclose(dots.get_xdata(), of["mean"])
        lengths = [np.ptp(segment[:, 0]) for segment in bars.get_segments()]
        np.testing.assert_allclose(lengths, 4 * of["standard_error"])
    axes = drawn.get_viz("plot")
    assert [label.get_text() for label in axes.get_yticklabels()] == found[
        "variable"
    ].values.tolist()
    np.testing.assert_array_equal(drawn.get_viz("asked").get_xdata(), 0.8)
    plt.close("all")


def test_models_that_it_cannot_take():
    with pm.Model() as discrete:
        pm.Poisson("n", 1)
    with pytest.raises(ValueError, match="must be continuous, and 'n' is discrete"):
        layer_temperatures(draws(), discrete)
