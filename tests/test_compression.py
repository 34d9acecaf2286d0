"""A few draws that predict like all: which, with what weights."""

import arviz as az
import numpy as np
import pymc as pm
import pytest
from scipy import stats
from xarray import DataTree

from pymc_sgmcmc import ATMC, nn, predict, sample
from pymc_sgmcmc.diagnostics import lppd

RNG = np.random.default_rng(3)


def tree(p=None, **predictions):
    predictions = predictions or {"y_probability": p}
    chains, draws = next(iter(predictions.values())).shape[:2]
    numbers = np.arange(chains * draws).reshape(chains, draws)
    return az.from_dict({"posterior": {"number": numbers}, "predictions": predictions})


def test_copies_are_one_draw_with_the_weight_of_all():
    """Of 3 kinds of draws, 12, 6 and 2 times, three are exact: with weights .6, .3 and .1."""
    kinds = RNG.dirichlet(np.ones(4), size=(3, 50))
    which = RNG.permutation(np.repeat([0, 1, 2], [12, 6, 2]))
    few, weights = nn.compress(tree(kinds[which].reshape(2, 10, 50, 4)), 3)
    of_kind = which[few["posterior"]["number"].values.ravel()]
    assert sorted(of_kind) == [0, 1, 2]
    np.testing.assert_allclose(weights, np.array([0.6, 0.3, 0.1])[of_kind], atol=1e-3)
    assert weights.attrs["kl"] < 1e-6
    assert few["posterior"].sizes["chain"] == 3
    assert few["posterior"].sizes["draw"] == 1
    origin = 10 * few["posterior"]["of_chain"] + few["posterior"]["of_draw"]
    np.testing.assert_array_equal(origin, few["posterior"]["number"].isel(draw=0))


def test_weights_are_the_best_of_their_draws():
    p = RNG.dirichlet(np.ones(3), size=(1, 200, 40))
    few, weights = nn.compress(tree(p), 5)
    chosen, target = p[0, few["posterior"]["number"].values.ravel()], p[0].mean(0)

    def kl(w):
        return (target * np.log(target / np.tensordot(w, chosen, 1))).sum() / 40

    assert weights.attrs["kl"] == pytest.approx(kl(weights.values))
    for other in RNG.dirichlet(100 * weights.values + 1, size=200):
        assert kl(other) >= weights.attrs["kl"] - 1e-6
    assert kl(weights.values) < 0.5 * kl(np.eye(5)[0])


def test_draws_without_labels():
    p = RNG.uniform(size=(2, 3, 4))
    named = tree(p)
    bare = {k: named[k].to_dataset().drop_vars(["chain", "draw"]) for k in named.children}
    few = nn.compress(DataTree.from_dict(bare), 2).idata["posterior"]
    assert few["number"].equals(nn.compress(named, 2).idata["posterior"]["number"])


def test_two_classes_and_numbers():
    p = RNG.uniform(size=(2, 30, 20))
    few, weights = nn.compress(tree(p), 4)
    both = nn.compress(tree(np.stack([1 - p, p], -1)), 4)
    assert few["posterior"]["number"].equals(both.idata["posterior"]["number"])
    np.testing.assert_allclose(weights, both.weights)
    # Normal outcomes: the mean and sd of a mixture of a few are those of all.
    mean, sd = RNG.normal(size=(2, 200, 1)), np.full((2, 200, 1), 0.2)
    few, weights = nn.compress(tree(y_mean=mean, y_sd=sd), 12)
    chosen = mean.ravel()[few["posterior"]["number"].values.ravel()]
    x = np.linspace(-5, 5, 2001)
    density = weights.values @ stats.norm.pdf(x, chosen[:, None], 0.2)
    all_of_them = stats.norm.pdf(x, mean.reshape(-1, 1), 0.2).mean(0)
    assert np.abs(density - all_of_them).sum() * (x[1] - x[0]) / 2 < 0.1  # total variation


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n must be an integer.*got 0"),
        ({"n": 7}, "at most the number of draws, 6, got 7"),
        ({"var_name": "z"}, r"one of \['y'\], got 'z'"),
        ({"predictions": tree(np.full((1, 6, 2), 0.5))}, "1 chains of 6 draws.*has 2 of 3"),
        ({"predictions": az.from_dict({"posterior": {"x": np.ones((2, 3))}})}, "no predictions"),
    ],
)
def test_errors_say_what_to_give(change, message):
    with pytest.raises(ValueError, match=message):
        nn.compress(**{"idata": tree(np.full((2, 3, 2), 0.5)), "n": 2, **change})


@pytest.mark.slow
def test_twenty_draws_score_like_all_of_them():
    """On digits: chosen by new images without their labels, scored on others."""
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = datasets.load_digits(return_X_y=True)
    X = X / 16 - 0.3
    with pm.Model() as model:
        nn.classification(nn.mlp(pm.Data("X", X[:1300]), (30,)), y[:1300])
        step = ATMC(batch_size=128, dtype="float32")
        idata = sample(100, tune=100, step=step, random_seed=1, progressbar=False)
    unlabelled = predict(idata, {"X": X[1300:1550]}, model=model)
    few, weights = nn.compress(idata, 20, predictions=unlabelled)
    new = {"X": X[1550:], "y": y[1550:]}
    of_all = lppd(predict(idata, new, model=model))
    of_few = lppd(predict(few, new, model=model), weights=weights)
    assert abs(float(of_few - of_all)) < 0.08  # it was 0.005, 0.024 and 0.051
