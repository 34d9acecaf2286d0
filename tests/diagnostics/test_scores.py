"""Log predictive density, root mean square error and coverage, by hand."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import log_loss

from pymc_sgmcmc.diagnostics import coverage, lppd, rmse
from tests.diagnostics.trees import tree

rng = np.random.default_rng(0)
LOG = rng.normal(-2, 1, size=(3, 5, 4))


def likelihood(x=LOG, dims=("row",), **more):
    return tree(np.zeros(x.shape[2:]), log_likelihood={"y": (list(dims), x)} | more)


# -- lppd ------------------------------------------------------------------------------------------


def test_lppd_is_the_mean_over_rows_of_the_log_mean_density():
    p = np.array([[[0.5, 0.1], [0.25, 0.3]]])  # one chain, two draws, two rows
    value = lppd(likelihood(np.log(p)))
    assert value.dims == ()
    assert float(value) == pytest.approx((np.log(0.375) + np.log(0.2)) / 2)
    density = np.exp(LOG)
    assert float(lppd(likelihood())) == pytest.approx(np.log(density.mean((0, 1))).mean())


def test_lppd_of_chains_and_of_the_first_draws():
    density = np.exp(LOG)
    each = lppd(likelihood(), per_chain=True)
    np.testing.assert_allclose(each, np.log(density.mean(1)).mean(-1))
    assert each.dims == ("chain",)
    running = lppd(likelihood(), running=True)
    expected = [np.log(density[:, : t + 1].mean((0, 1))).mean() for t in range(5)]
    np.testing.assert_allclose(running, expected)
    assert running.dims == ("draw",)
    both = lppd(likelihood(), per_chain=True, running=True)
    expected = [[np.log(c[: t + 1].mean(0)).mean() for t in range(5)] for c in density]
    np.testing.assert_allclose(both, expected)
    assert both.dims == ("chain", "draw")
    assert both.chain.values.tolist() == [0, 1, 2]
    # All chains together are better than their average (Jensen).
    assert float(lppd(likelihood())) > float(each.mean())


def test_lppd_of_classes_is_minus_the_log_loss_of_the_mean_probability():
    p = rng.dirichlet([1, 1, 1], size=(2, 6, 40))
    y = rng.integers(0, 3, 40)
    log_density = np.log(p[:, :, np.arange(40), y])
    assert float(lppd(likelihood(log_density))) == pytest.approx(-log_loss(y, p.mean((0, 1))))


def test_lppd_of_impossible_and_improbable_rows():
    tiny = np.full((2, 3, 1), -4000.0)
    assert float(lppd(likelihood(tiny))) == pytest.approx(-4000)
    tiny[0] = -np.inf
    assert float(lppd(likelihood(tiny))) == pytest.approx(-4000 - np.log(2))
    each = lppd(likelihood(tiny), per_chain=True, running=True)
    assert np.isneginf(each[0]).all()
    np.testing.assert_allclose(each[1], -4000)


def test_lppd_counts_every_entry_of_float32():
    x = LOG.reshape(3, 5, 2, 2)
    value = lppd(likelihood(x.astype("float32"), ("row", "output")))
    assert float(value) == pytest.approx(float(lppd(likelihood())), rel=1e-6)


def test_lppd_asks_which():
    idata = tree(log_likelihood={"a": (["row"], LOG), "b": (["row"], 2 * LOG)})
    with pytest.raises(ValueError, match=r"'log_likelihood' fit; it has 'a', 'b'.*var_name='a'"):
        lppd(idata)
    assert float(lppd(idata, "b")) != float(lppd(idata, "a"))
    with pytest.raises(ValueError, match=r"'q' is no variable of group 'log_likelihood'.*'a', 'b'"):
        lppd(idata, "q")
    with pytest.raises(ValueError, match=r"pm.compute_log_likelihood\(idata, model=model\)"):
        lppd(tree(posterior={"a": ([], np.zeros((2, 3)))}))


# -- rmse ------------------------------------------------------------------------------------------


def regression(**more):
    content = {"y_mean": (["row"], LOG), "y_sd": (["row"], 0 * LOG + 1)} | more
    return tree(np.array([0.0, -1, -2, -3]), predictions=content)


def test_rmse_is_of_the_mean_prediction():
    idata, y = regression(y=(["row"], LOG + 100)), np.array([0.0, -1, -2, -3])
    value = rmse(idata)
    assert float(value) == pytest.approx(np.sqrt(np.mean((LOG.mean((0, 1)) - y) ** 2)))
    np.testing.assert_allclose(
        rmse(idata, per_chain=True), np.sqrt(np.mean((LOG.mean(1) - y) ** 2, axis=1))
    )
    np.testing.assert_allclose(
        rmse(idata, running=True),
        [np.sqrt(np.mean((LOG[:, : t + 1].mean((0, 1)) - y) ** 2)) for t in range(5)],
    )
    both = rmse(idata, running=True, per_chain=True)
    assert both.dims == ("chain", "draw")
    np.testing.assert_allclose(
        both[1], [np.sqrt(np.mean((LOG[1, : t + 1].mean(0) - y) ** 2)) for t in range(5)]
    )
    assert float(rmse(idata, "y")) == pytest.approx(
        np.sqrt(np.mean((100 + LOG.mean((0, 1)) - y) ** 2))
    )
    assert float(rmse(idata, observed=y + 1)) != float(value)


def test_rmse_of_several_outputs_and_other_groups():
    x, y = LOG.reshape(3, 5, 2, 2), np.arange(4.0).reshape(2, 2)
    idata = tree(y, posterior_predictive={"y": (["a", "b"], x)})
    expected = np.sqrt(np.mean((x.mean((0, 1)) - y) ** 2))
    assert float(rmse(idata)) == pytest.approx(expected)
    in_posterior = tree(y, posterior={"mu": (["row", "output"], x), "W": (["in"], LOG)})
    assert float(rmse(in_posterior)) == pytest.approx(expected)


def test_rmse_asks_which_and_of_what():
    two = regression(z_mean=(["row"], LOG))
    with pytest.raises(ValueError, match=r"Several variables.*'y_mean', 'z_mean'"):
        rmse(two)
    with pytest.raises(ValueError, match=r"No variable.*it has 'W'.*var_name='W'"):
        rmse(tree(np.zeros(4), posterior={"W": (["in"], LOG)}))
    with pytest.raises(TypeError, match=r"name of a variable, got 0\.9"):
        rmse(regression(), 0.9)
    with pytest.raises(ValueError, match="predicts 4 of 'row', but the observations are 3 of"):
        rmse(regression(), observed=np.zeros(3))
    with pytest.raises(ValueError, match=r"Which observations does 'y_mean' predict.*none"):
        rmse(tree(predictions={"y_mean": (["row"], LOG)}))
    idata = regression()
    idata["predictions"].coords["row"] = [4, 5, 6, 7]
    idata["observed_data"].coords["row"] = [5, 4, 6, 7]
    with pytest.raises(ValueError, match="differ in the labels of 'row'"):
        rmse(idata)
    idata["observed_data"].coords["row"] = [4, 5, 6, 7]
    assert float(rmse(idata)) == float(rmse(regression()))


def test_the_outcome_of_a_prediction_is_found_by_name():
    y = np.array([0.0, -1, -2, -3])
    idata = regression()
    idata["observed_data"]["z"] = idata["observed_data"]["y"] + 50
    assert float(rmse(idata)) == float(rmse(regression()))
    idata["observed_data"] = idata["observed_data"].to_dataset().rename(y="q")
    with pytest.raises(ValueError, match="has 'q', 'z'"):
        rmse(idata)
    assert float(rmse(idata, observed=y)) == float(rmse(regression()))


# -- coverage --------------------------------------------------------------------------------------


def test_coverage_by_hand():
    draws = np.arange(101.0).reshape(1, 101, 1).repeat(4, 2)  # quantiles are their own percent
    y = np.array([50.0, 26, 8, 99])
    idata = tree(y, predictions={"y": (["row"], draws), "y_mean": (["row"], 0 * draws)})
    found = coverage(idata, probs=(0.5, 0.8, 0.9, 0.98))
    assert found["coverage"].values.tolist() == [0.5, 0.5, 0.75, 1.0]
    assert found["prob"].values.tolist() == [0.5, 0.8, 0.9, 0.98]
    np.testing.assert_allclose(
        found["standard_error"], [np.sqrt(p * (1 - p) / 4) for p in (0.5, 0.8, 0.9, 0.98)]
    )
    assert found.attrs["rows"] == 4


@pytest.mark.parametrize(("width", "right"), [(1.0, True), (0.5, False), (2.0, False)])
def test_coverage_is_the_level_for_the_right_width_alone(width, right):
    rng = np.random.default_rng(1)
    mean = rng.normal(size=600)
    y = mean + rng.normal(size=600)
    draws = mean + width * rng.normal(size=(2, 500, 600))
    found = coverage(tree(y, posterior_predictive={"y": (["row"], draws)}))
    off = abs(found["coverage"] - found["prob"]) / found["standard_error"]
    assert (off < 4).all() if right else (off > 4).all()
    # For a width that is wrong, by how much: the share within z_p * width of a standard normal.
    z = stats.norm.ppf((1 + found["prob"]) / 2)
    np.testing.assert_allclose(found["coverage"], 2 * stats.norm.cdf(width * z) - 1, atol=0.08)


def test_coverage_needs_draws_of_the_outcome():
    with pytest.raises(ValueError, match=r"only 'y_mean', 'y_sd'.*var_names=\['y'\]"):
        coverage(regression())
    with pytest.raises(ValueError, match="no group 'predictions' or 'posterior_predictive';"):
        coverage(tree(np.zeros(4), posterior={"mu": (["row"], LOG)}))
    for probs in ((0.5, 1.0), (90,), ()):
        with pytest.raises(ValueError, match="levels between 0 and 1"):
            coverage(regression(y=(["row"], LOG)), probs=probs)
