"""Weights of chains: known answers, and a network from end to end."""

import arviz as az
import numpy as np
import pymc as pm
import pytest
from scipy import stats
from scipy.special import logsumexp

from pymc_sgmcmc import ATMC, nn, predict, sample
from pymc_sgmcmc.diagnostics import lppd, stack_chains
from tests.diagnostics.trees import tree

DRAWS = 200


def around(places, y, sd=1.0, draws=DRAWS, seed=1):
    """Log densities of chains whose draws of a mean scatter by 0.05 around a place each."""
    jitter = np.random.default_rng(seed).normal(0, 0.05, (len(places), draws, 1))
    log = stats.norm(np.reshape(places, (-1, 1, 1)) + jitter, sd).logpdf(y)
    return tree(log_likelihood={"y": (["row"], log)})


def by_em(scores):
    """Weights of the best mixture, by the algorithm for mixtures whose parts are known."""
    weights, density = np.full(len(scores), 1 / len(scores)), np.exp(scores - scores.max(0))
    for _ in range(5_000):
        weights = weights * (density / (weights @ density)).mean(1)
    return weights


@pytest.mark.parametrize("loo", [True, False])
def test_the_chain_that_is_right_gets_everything(loo):
    y = np.random.default_rng(0).normal(0, 1, 400)
    weights = stack_chains(around([3, 0], y), loo=loo)
    np.testing.assert_allclose(weights, [0, 1], atol=1e-3)
    assert weights.attrs["stacked"] == pytest.approx(weights.attrs["best_chain"], abs=1e-3)
    assert weights.attrs["stacked"] > weights.attrs["equal"] + 0.3


@pytest.mark.parametrize("loo", [True, False])
def test_outcomes_from_two_places_share_the_weights(loo):
    rng = np.random.default_rng(0)
    y = rng.normal(np.where(rng.random(600) < 0.5, -2, 2), 1)
    fitted = around([-2, 2, 9], y)
    weights = stack_chains(fitted, loo=loo)
    # Two standard errors of a share of 600, and more.
    np.testing.assert_allclose(weights, [0.5, 0.5, 0], atol=0.06)
    assert weights.attrs["stacked"] > weights.attrs["equal"] > weights.attrs["best_chain"]
    new = around([-2, 2, 9], rng.normal(np.where(rng.random(600) < 0.5, -2, 2), 1), seed=2)
    assert lppd(new, weights=weights) > lppd(new) > lppd(new, per_chain=True).max()


def test_the_weights_are_the_best_there_are():
    rng = np.random.default_rng(3)
    y = rng.standard_t(3, 300)
    for places in (rng.normal(0, 2, 3), rng.normal(0, 1, 8), [0, 12, 1]):
        fitted = around(places, y)
        scores = lppd_by_row(fitted)
        found, best = stack_chains(fitted, loo=False), by_em(scores)
        np.testing.assert_allclose(found, best, atol=2e-3)
        score = np.log(best @ np.exp(scores)).mean()
        assert found.attrs["stacked"] >= score - 1e-7
        assert float(found.sum()) == pytest.approx(1)


def lppd_by_row(idata):
    log = idata["log_likelihood"]["y"].values
    return logsumexp(log, axis=1) - np.log(log.shape[1])


def test_scores_are_those_of_lppd_and_of_arviz():
    y = np.random.default_rng(0).normal(0, 1, 100)
    fitted = around([0, 1], y)
    weights = stack_chains(fitted, loo=False)
    assert weights.attrs["stacked"] == pytest.approx(float(lppd(fitted, weights=weights)))
    assert weights.attrs["equal"] == pytest.approx(float(lppd(fitted)))
    assert "pareto_k_above_0.7" not in weights.attrs
    one = az.from_dict(
        {
            "posterior": {"mu": np.zeros((1, DRAWS))},
            "log_likelihood": {"y": fitted["log_likelihood"]["y"].values[:1]},
        }
    )
    expected = az.loo(one).elpd / len(y)
    assert stack_chains(fitted).attrs["best_chain"] == pytest.approx(expected, abs=1e-6)


def knowing(y, seed):
    """Log densities by a chain with a mean for each outcome, whose prior is N(0, 10)."""
    precision = 1 / 0.7**2 + 1 / 10**2
    noise = np.random.default_rng(seed).normal(0, precision**-0.5, (DRAWS, len(y)))
    return stats.norm(y / 0.7**2 / precision + noise, 0.7).logpdf(y)


@pytest.mark.filterwarnings("ignore:The Pareto k")
def test_left_out_rows_punish_a_chain_that_fits_all_and_predicts_none():
    y = np.random.default_rng(0).normal(0, 1, 60)
    modest = around([0], y)["log_likelihood"]["y"].values[0]
    fitted = tree(log_likelihood={"y": (["row"], np.stack([modest, knowing(y, 1)]))})
    weights = stack_chains(fitted)
    assert weights[0] > 0.8
    assert stack_chains(fitted, loo=False)[1] > 0.8
    few, many = weights.attrs["pareto_k_above_0.7"]
    assert few == 0
    assert many > 20


def test_a_warning_where_what_is_left_out_is_not_known():
    y = np.random.default_rng(0).normal(0, 1, 60)
    fitted = tree(log_likelihood={"y": (["row"], np.stack([knowing(y, 1), knowing(y, 2)]))})
    with pytest.warns(UserWarning, match=r"k of \d\d% of the observations.*\(loo=False\)"):
        stack_chains(fitted)
    stack_chains(fitted, loo=False)


def test_chains_that_are_the_same_are_weighted_the_same():
    y = np.random.default_rng(0).normal(0, 1, 50)
    fitted = around([0, 0, 0, 0], y)
    log = fitted["log_likelihood"]["y"]
    same = tree(log_likelihood={"y": (["row"], log.values[[0, 0, 0, 0]])})
    np.testing.assert_allclose(stack_chains(same), np.full(4, 1 / 4), atol=1e-6)
    # Two of them in the same place share what one would get.
    log.values[1] = log.values[0]
    shared = stack_chains(around([0, 0, 5, 5], y))
    assert float(shared[:2].sum()) == pytest.approx(1, abs=1e-3)


def test_every_entry_of_every_variable_is_an_observation():
    rng = np.random.default_rng(0)
    log = rng.normal(-2, 0.1, (2, 50, 6))
    whole = stack_chains(tree(log_likelihood={"y": (["row"], log)}))
    for parts in (
        {"y": (["row", "output"], log.reshape(2, 50, 3, 2))},
        {"a": (["row"], log[..., :4]), "b": (["other"], log[..., 4:])},
    ):
        found = stack_chains(tree(log_likelihood=parts))
        np.testing.assert_allclose(found, whole, atol=1e-6)
    one = stack_chains(tree(log_likelihood=parts), "a")
    np.testing.assert_allclose(one, stack_chains(tree(log_likelihood={"a": parts["a"]})))


def test_what_cannot_be_stacked():
    y = np.zeros(5)
    with pytest.raises(ValueError, match=r"There is no group 'log_likelihood'"):
        stack_chains(tree(posterior={"a": ([], np.zeros((2, 3)))}))
    with pytest.raises(ValueError, match="there is 1: run four"):
        stack_chains(around([0], y))
    with pytest.raises(ValueError, match=r"20 draws of each chain are too few.*take 25 or more"):
        stack_chains(around([0, 1], y, draws=20))
    assert stack_chains(around([0, 1], y, draws=20), loo=False)[0] == pytest.approx(1)
    with pytest.raises(TypeError, match="loo must be True or False, got 1"):
        stack_chains(around([0, 1], y), loo=1)
    with pytest.raises(ValueError, match="'q' is no variable of group 'log_likelihood'"):
        stack_chains(around([0, 1], y), "q")
    lost = around([0, 1, 2], y)
    lost["log_likelihood"]["y"].values[1, 3, 2] = np.nan
    with pytest.raises(ValueError, match=r"of the chains \[1\] are not.*sel\(chain=\[0, 2\]\)"):
        stack_chains(lost)
    still = around([0, 1], y)
    still["log_likelihood"]["y"].values[1] = -1
    with pytest.raises(ValueError, match=r"chains \[1\] never change.*sel\(chain=\[0\]\)"):
        stack_chains(still)


@pytest.mark.slow
def test_a_network_from_end_to_end():
    """A chain that is moved to a worse place gets no weight, and predictions improve."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (300, 1))
    y = np.sin(2 * X[:, 0]) + rng.normal(0, 0.2, 300)
    with pm.Model() as model:
        nn.regression(nn.mlp(pm.Data("X", X[:200]), hidden=(8,)), y[:200])
        idata = sample(50, tune=100, chains=3, step=ATMC(), random_seed=1, progressbar=False)
    bias = idata["posterior"]["y_mean_bias"]
    bias.values[1] += 1.5
    weights = stack_chains(predict(idata, {"X": X[:200], "y": y[:200]}, model=model))
    assert weights[1] < 0.02
    rows = {"X": X[200:], "y": y[200:]}
    new, mixed = (
        predict(idata, rows, model=model),
        predict(idata, rows, model=model, weights=weights),
    )
    assert lppd(new, weights=weights) > lppd(new) + 0.1
    # Fewer draws, of the same law.
    assert float(lppd(mixed)) == pytest.approx(float(lppd(new, weights=weights)), abs=0.05)
