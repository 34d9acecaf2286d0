"""R-hat and effective sample size of predictions, and of chains with themselves."""

import subprocess
import sys

import arviz_stats
import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import rankdata
from xarray import Dataset

from pymc_sgmcmc.diagnostics import chainwise_rhat, predictive_ess, predictive_rhat
from tests.diagnostics.trees import tree

CHAINS, DRAWS, ROWS = 4, 240, 3


def noise(seed=0, rows=ROWS):
    return np.random.default_rng(seed).normal(size=(CHAINS, DRAWS, rows))


def predictions(x, observed=True, **more):
    content = {"y_mean": (["row"], x)} | more
    return tree(np.zeros(ROWS) if observed else None, predictions=content)


# -- R-hat and ESS ---------------------------------------------------------------------------------


def test_predictions_are_judged_row_by_row():
    x = noise()
    x[1, :, 2] += 3  # one chain disagrees on the last row
    x[:, 1:, 1] = 0.5 ** np.arange(DRAWS - 1)[:, None].T + x[:, [0], 1]  # a row that hardly moves
    idata = predictions(x)
    rhat, ess = predictive_rhat(idata), predictive_ess(idata)
    assert rhat["y_mean"].dims == ess["y_mean"].dims == ("row",)
    assert rhat["y_mean"][0] < 1.02
    assert rhat["y_mean"][2] > 1.3
    assert ess["y_mean"][0] > 500
    assert ess["y_mean"][1] < 50
    expected = arviz_stats.ess(x[..., 0], method="tail", prob=(0.05, 0.95))
    tail = predictive_ess(idata, method="tail", prob=(0.05, 0.95))
    assert float(tail["y_mean"][0]) == pytest.approx(float(expected))


def test_draws_of_the_outcome_are_left_out_unless_they_are_all_or_named():
    idata = predictions(noise(), y=(["row"], noise(1)), y_sd=(["row"], noise(2)))
    assert set(predictive_rhat(idata)) == {"y_mean", "y_sd"}
    assert set(predictive_rhat(idata, "y")) == {"y"}
    assert set(predictive_ess(idata, ["y", "y_sd"])) == {"y", "y_sd"}
    alone = tree(np.zeros(ROWS), posterior_predictive={"y": (["row"], noise())})
    assert set(predictive_rhat(alone)) == {"y"}


@pytest.mark.parametrize("function", [predictive_rhat, predictive_ess])
def test_parameters_are_warned_of(function):
    posterior = {"W": (["in"], noise()), "mu": (["row"], noise(1))}
    idata = tree(np.zeros(ROWS), posterior=posterior)
    assert set(function(idata)) == {"mu"}  # by row: a prediction, and no warning
    assert set(function(idata, ["mu"], group="posterior")) == {"mu"}
    with pytest.warns(UserWarning, match="'W' of the posterior look like parameters"):
        assert set(function(idata, ["W", "mu"])) == {"W", "mu"}
    with pytest.warns(UserWarning, match="look like parameters"):
        assert set(function(idata, group="posterior")) == {"W", "mu"}
    with pytest.warns(UserWarning, match="look like parameters"):
        function(tree(posterior={"W": (["in"], noise())}))


def test_the_first_group_of_predictions_is_taken():
    groups = ("posterior", "posterior_predictive", "predictions")
    for k in (3, 2, 1):
        content = {g: {g[:6]: (["row"], noise())} for g in groups[:k]}
        assert set(predictive_rhat(tree(np.zeros(ROWS), **content))) == {groups[k - 1][:6]}
    assert set(predictive_rhat(tree(np.zeros(ROWS), **content), group="posterior")) == {"poster"}


def test_a_prediction_that_never_changes_has_no_rhat():
    x = noise()
    x[..., 1] = 0.25
    idata = predictions(x)
    for function in (predictive_rhat, chainwise_rhat):
        assert np.isnan(function(idata)["y_mean"]).values.tolist() == [False, True, False]
    x[1, :, 2] = 0.25  # one chain's
    each = chainwise_rhat(predictions(x), per_chain=True)["y_mean"]
    assert np.isnan(each[:, 2]).values.tolist() == [False, True, False, False]
    assert np.isnan(chainwise_rhat(predictions(x))["y_mean"][2])


def test_errors_say_what_to_type():
    idata = predictions(noise())
    with pytest.raises(ValueError, match=r"no variable 'mu'.*'y_mean'"):
        predictive_rhat(idata, ["mu"])
    with pytest.raises(ValueError, match=r"no group 'prior'; there are: 'predictions'"):
        predictive_ess(idata, group="prior")
    with pytest.raises(ValueError, match=r"no group 'predictions' or 'posterior_predictive' or"):
        predictive_rhat(tree(log_likelihood={"y": ([], np.zeros((2, 3)))}))
    with pytest.raises(ValueError, match=r"chainwise_rhat\(idata\)"):
        predictive_rhat(idata.isel(chain=[0]))
    with pytest.raises(ValueError, match="no variable none"):
        predictive_rhat(tree(predictions={"a": ([], np.array([["b"]]))}))


# -- ccR-hat ---------------------------------------------------------------------------------------


def by_formula(x, splits):
    """√((n-1)/n + B/W) of each chain's parts, after its own rank-normalisation."""
    values = []
    for chain in x:
        z = ndtri((rankdata(chain) - 0.375) / (len(chain) + 0.25))
        parts = z[len(z) % splits :].reshape(splits, -1)
        n = parts.shape[1]
        W, B = parts.var(1, ddof=1).mean(), parts.mean(1).var(ddof=1)
        values.append(np.sqrt((n - 1) / n + B / W))
    return np.array(values)


@pytest.mark.parametrize("splits", [2, 3, 4, 5])
def test_chainwise_rhat_is_its_formula(splits):
    x = noise() + np.linspace(0, 2, DRAWS)[:, None] * [0, 0.5, 1]
    idata = predictions(x)
    each = chainwise_rhat(idata, splits=splits, per_chain=True)["y_mean"]
    assert each.dims == ("chain", "row")
    for row in range(ROWS):
        np.testing.assert_allclose(each[:, row], by_formula(x[..., row], splits))
    mean = chainwise_rhat(idata, splits=splits)["y_mean"]
    np.testing.assert_allclose(mean, each.mean("chain"))
    assert mean.dims == ("row",)


def test_a_remainder_of_draws_is_left_out_at_the_start():
    x = noise()[:, :203]
    x[:, :3] = 1e6
    idata = predictions(x)
    assert float(chainwise_rhat(idata, splits=4)["y_mean"].max()) < 1.05
    ranks = np.array([by_formula(x[..., r], 4).mean() for r in range(ROWS)])
    # The ranks are of what is left.
    np.testing.assert_allclose(
        chainwise_rhat(idata, splits=4)["y_mean"],
        [by_formula(x[:, 3:, r], 4).mean() for r in range(ROWS)],
    )
    assert not np.allclose(chainwise_rhat(idata, splits=4)["y_mean"], ranks, rtol=1e-9)


def test_chains_stuck_in_different_places_agree_with_themselves_alone():
    x = noise() + 10 * np.arange(CHAINS)[:, None, None]
    idata = predictions(x)
    assert predictive_rhat(idata)["y_mean"].min() > 2
    assert chainwise_rhat(idata)["y_mean"].max() < 1.02


def test_a_chain_that_drifts_is_found():
    x = noise()
    x[2] += np.linspace(0, 6, DRAWS)[:, None]
    each = chainwise_rhat(predictions(x), per_chain=True)["y_mean"]
    assert (each.sel(chain=2) > 1.3).all()
    assert (each.drop_sel(chain=2) < 1.05).all()
    assert (chainwise_rhat(predictions(x))["y_mean"] > 1.08).all()


def test_chainwise_rhat_takes_parameters_one_chain_ties_and_outliers():
    posterior = {"W": (["in", "out"], noise()[..., None]), "s": ([], noise()[..., 0])}
    idata = tree(posterior=posterior)
    assert set(chainwise_rhat(idata.isel(chain=[2]), group="posterior")) == {"W", "s"}
    assert chainwise_rhat(idata, group="posterior")["W"].dims == ("in", "out")
    x = noise()
    x[0, 5] = 1e9  # ranks don't care
    y = predictions(x)
    assert chainwise_rhat(y)["y_mean"].max() < 1.05
    ties = (noise() > 0).astype(int)
    assert chainwise_rhat(predictions(ties))["y_mean"].max() < 1.05


@pytest.mark.parametrize(("splits", "advice"), [(1, 4), (61, 4)])
def test_parts_must_be_long_enough(splits, advice):
    with pytest.raises(ValueError, match=f"splits={splits} of 240 draws.*Try splits={advice}"):
        chainwise_rhat(predictions(noise()), splits=splits)


# -- importing -------------------------------------------------------------------------------------


def test_importing_the_diagnostics_starts_neither_arviz_nor_jax():
    script = (
        "import sys, pymc; before = set(sys.modules)\n"
        "import pymc_sgmcmc.diagnostics\n"
        "new = set(sys.modules) - before\n"
        "assert not [m for m in new if m.split('.')[0] in ('arviz', 'arviz_stats', 'jax')]\n"
        "assert 'jax' not in sys.modules and 'arviz' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_input_is_left_alone():
    idata = predictions(noise(), y=(["row"], noise(1)))
    kept = idata.copy(deep=True)
    predictive_rhat(idata), predictive_ess(idata), chainwise_rhat(idata)
    assert idata.identical(kept)
    assert isinstance(chainwise_rhat(idata), Dataset)
