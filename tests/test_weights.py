"""Predictions and scores of chains that have weights, by hand."""

import numpy as np
import pymc as pm
import pytest
from xarray import DataArray

from pymc_sgmcmc import predict
from pymc_sgmcmc.diagnostics import (
    brier_score,
    calibration_error,
    coverage,
    lppd,
    reliability,
    rmse,
)
from pymc_sgmcmc.plots import plot_reliability, plot_running_lppd
from pymc_sgmcmc.weights import in_proportion
from tests.diagnostics.trees import tree

RNG = np.random.default_rng(0)
N = 40
Y, KIND = RNG.normal(size=N), RNG.integers(2, size=N)
MEAN, DRAWN, LOG = RNG.normal(size=(3, 3, 30, N))
P = RNG.uniform(size=(3, 30, N))
# A chain that counts three times as often as another, and one that does not count.
WEIGHTS = [0.75, 0, 0.25]
REPEATED = [0, 0, 0, 2]


def regression(chains=(0, 1, 2)):
    chains = list(chains)
    return tree(
        Y,
        predictions={"y_mean": (["row"], MEAN[chains]), "y": (["row"], DRAWN[chains])},
        log_likelihood={"y": (["row"], LOG[chains])},
    )


def classes(chains=(0, 1, 2)):
    return tree(KIND, predictions={"y_probability": (["row"], P[list(chains)])})


@pytest.mark.parametrize(
    ("score", "idata"),
    [
        (lppd, regression),
        (rmse, regression),
        (brier_score, classes),
        (calibration_error, classes),
        (lambda *a, **k: lppd(*a, running=True, **k), regression),
        (lambda *a, **k: rmse(*a, running=True, **k), regression),
        (lambda *a, **k: reliability(*a, bins=4, **k)["frequency"], classes),
    ],
    ids=["lppd", "rmse", "brier", "calibration", "running lppd", "running rmse", "reliability"],
)
def test_a_weight_is_worth_as_many_copies_of_the_chain(score, idata):
    found = score(idata(), weights=WEIGHTS)
    np.testing.assert_allclose(found, score(idata(REPEATED)))
    # Only their proportions matter.
    np.testing.assert_allclose(score(idata(), weights=[9, 0, 3]), found)
    np.testing.assert_allclose(score(idata(), weights=[2, 2, 2]), score(idata()))
    assert not np.allclose(found, score(idata()))


def test_coverage_is_of_quantiles_of_the_mixture():
    y = np.array([-0.9, -0.5, 6])
    draws = np.stack([np.linspace(-2, 2, 101), np.linspace(98, 102, 101)])[..., None].repeat(3, 2)
    idata = tree(y, predictions={"y": (["row"], draws)})
    assert coverage(idata, probs=[0.5])["coverage"] == 1 / 3
    assert coverage(idata, probs=[0.5], weights=[1, 0])["coverage"] == 2 / 3
    assert coverage(idata, probs=[0.5], weights=[0, 1])["coverage"] == 0
    np.testing.assert_allclose(
        coverage(regression(), weights=[1, 1, 1])["coverage"], coverage(regression())["coverage"]
    )


def test_weights_that_are_not_of_these_chains():
    idata = regression()
    labelled = DataArray(WEIGHTS, dims="chain", coords={"chain": [0, 1, 2]})
    assert float(lppd(idata, weights=labelled)) == float(lppd(idata, weights=WEIGHTS))
    with pytest.raises(ValueError, match=r"one number for each of the 3 chains, got the shape \(2"):
        lppd(idata, weights=[0.5, 0.5])
    others = labelled.assign_coords(chain=[2, 1, 0])
    with pytest.raises(ValueError, match=r"of the chains \[2, 1, 0\], but.*sel\(chain=\[0, 1, 2\]"):
        rmse(idata, weights=others)
    for wrong in ([1, -1, 1], [0, 0, 0], [1, np.nan, 1]):
        with pytest.raises(ValueError, match="finite, not negative, and not all 0"):
            coverage(idata, weights=wrong)
    with pytest.raises(ValueError, match="per_chain=True keeps chains apart"):
        rmse(idata, weights=WEIGHTS, per_chain=True)


def test_plots_are_of_the_mixture():
    drawn = plot_running_lppd(regression(), weights=WEIGHTS)
    together = drawn.get_viz("together").get_ydata()
    np.testing.assert_allclose(together, lppd(regression(), running=True, weights=WEIGHTS))
    alone = plot_reliability(classes(REPEATED)).get_viz("points")[0].get_xydata()
    drawn = plot_reliability(classes(), weights=WEIGHTS).get_viz("points")[0]
    np.testing.assert_allclose(drawn.get_xydata(), alone)
    models = {"weighted": classes(), "equal": classes()}
    drawn = plot_reliability(models, weights={"weighted": WEIGHTS})
    line = drawn.get_viz("points", sel={"model": "weighted"})[0]
    np.testing.assert_allclose(line.get_xydata(), alone)
    line = drawn.get_viz("points", sel={"model": "equal"})[0]
    expected = plot_reliability(classes()).get_viz("points")[0]
    np.testing.assert_array_equal(line.get_xydata(), expected.get_xydata())


# -- draws in proportion ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "taken"),
    [
        ([1, 1, 1], [60, 60, 60]),
        ([0.5, 0.25, 0.25], [60, 30, 30]),
        ([0, 1, 0], [0, 60, 0]),
        ([0.6, 0, 0.4], [60, 0, 40]),
        ([0.98, 0.02, 1e-9], [60, 1, 0]),
    ],
)
def test_draws_are_taken_in_proportion_and_once(weights, taken):
    number = np.arange(180).reshape(3, 60)
    found = in_proportion(tree(posterior={"x": ([], number)})["posterior"].to_dataset(), weights)
    x = found["x"]
    assert x.dims == ("chain", "draw")
    assert x.sizes == {"chain": 1, "draw": sum(taken)}
    assert len(np.unique(x)) == x.size
    np.testing.assert_array_equal(np.bincount(x.values[0] // 60, minlength=3), taken)
    for chain, n in enumerate(taken):  # from the whole length of the chain
        places = x.values[0][x.values[0] // 60 == chain] % 60
        assert n < 2 or np.ptp(np.diff(places)) <= 1


@pytest.fixture(scope="module")
def line():
    with pm.Model() as model:
        slope = pm.Normal("slope", shape=2)
        pm.Normal("y", pm.Data("x", np.zeros((5, 2))) @ slope, 1, observed=np.zeros(5))
    slope = RNG.normal(size=(3, 20, 2))
    return model, tree(posterior={"slope": (["slope_dim_0"], slope)})


def test_predictions_are_of_draws_in_proportion(line):
    model, idata = line
    rows = {"x": np.eye(2), "y": [0.0, 0.0]}
    new = predict(idata, rows, model=model, weights=[0.5, 0, 0.5])
    chosen = np.concatenate(idata["posterior"]["slope"].values[[0, 2]])
    np.testing.assert_allclose(new["predictions"]["y_mean"][0], chosen, rtol=1e-6)
    every = predict(idata, rows, model=model)
    for score in (lppd, rmse):
        expected = float(score(every, weights=[0.5, 0, 0.5]))
        assert float(score(new)) == pytest.approx(expected, rel=1e-5)
    outcomes = predict(idata, rows, model=model, var_names=["y"], weights=[0, 1, 0], random_seed=1)
    assert outcomes["predictions"]["y"].shape == (1, 20, 2)


def test_predictions_are_not_weighted_twice(line):
    model, idata = line
    weights = DataArray(WEIGHTS, dims="chain", coords={"chain": [0, 1, 2]})
    new = predict(idata, {"x": np.eye(2), "y": [0.0, 0.0]}, model=model, weights=weights)
    with pytest.raises(ValueError, match=r"What predict\(..., weights=...\) gave is weighted"):
        lppd(new, weights=weights)
    with pytest.raises(ValueError, match="one number for each of the 3 chains"):
        predict(idata, {"x": np.eye(2)}, model=model, weights=[1, 1])
