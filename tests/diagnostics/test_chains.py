"""Dead chains, temperatures, layers, and the number of chains."""

from fractions import Fraction
from math import comb

import arviz_stats
import numpy as np
import pymc as pm
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression
from sklearn.metrics import log_loss

from pymc_sgmcmc import SGHMC, SGLD, sample
from pymc_sgmcmc.diagnostics import chains_needed, dead_chains, layer_summary, temperatures
from tests.diagnostics.trees import network, tree

# -- dead chains -----------------------------------------------------------------------------------

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 2))
Y = X @ [1.0, -2.0] + X[:, 0] ** 2 + 0.1 * rng.normal(size=40)


@pytest.fixture
def regression():
    """Chain 5 knows the function, 7 is as good as linear but for a shift, 9 is flat and off."""
    linear = LinearRegression().fit(X, Y).predict(X)
    means = np.stack([Y + 0.1, linear + 0.2, np.full(40, Y.mean() + 0.5)])
    draws = means[:, None] + np.array([-3.0, 3.0])[None, :, None]  # only their mean is good
    idata = tree(Y, predictions={"y_mean": (["row"], draws)})
    idata["predictions"].coords["chain"] = [5, 7, 9]
    return idata


def test_dead_chains_of_a_regression(regression):
    found = dead_chains(regression)
    assert (found.dead, found.alive, found.measure) == ([9], [5, 7], "RMSE")
    assert found.baseline == pytest.approx(Y.std())
    assert float(found.scores.sel(chain=9)) == pytest.approx(np.hypot(Y.std(), 0.5))
    assert float(found.scores.sel(chain=5)) == pytest.approx(0.1)
    assert "1 of 3 chains are worse" in str(found)
    assert "✗ chain 9: RMSE" in repr(found)

    found = dead_chains(regression, baseline="linear", X=X)
    assert found.dead == [7, 9]
    residual = Y - LinearRegression().fit(X, Y).predict(X)
    assert found.baseline == pytest.approx(np.sqrt(np.mean(residual**2)))
    assert dead_chains(regression, baseline="linear", X=X[:, 0]).dead == [9]

    assert dead_chains(regression, baseline=0.05).dead == [5, 7, 9]
    assert dead_chains(regression, baseline=100).dead == []
    alive = regression.sel(chain=found.alive)
    assert alive["predictions"]["chain"].values.tolist() == [5]


def test_a_chain_of_nan_is_dead(regression):
    regression["predictions"]["y_mean"][0] = np.nan
    assert dead_chains(regression).dead == [5, 9]


@pytest.mark.parametrize("classes", [2, 3])
def test_dead_chains_of_classes(classes):
    rng = np.random.default_rng(2)
    good = rng.dirichlet(np.full(classes, 0.5), 60)
    y = np.array([rng.choice(classes, p=row) for row in good])
    frequency = np.bincount(y, minlength=classes) / 60
    dull, wrong = np.tile(frequency, (60, 1)), good[::-1]
    impossible = np.eye(classes)[(y + 1) % classes]
    p = np.stack([good, 0.9 * dull + 0.1 * good, wrong, impossible])[:, None].repeat(2, 1)
    if classes == 2:
        content = {"y_probability": (["row"], p[..., 1]), "y_mean": (["row"], 0 * p[..., 0])}
    else:
        content = {"y_probability": (["row", "class"], p)}
    found = dead_chains(tree(y, predictions=content))
    assert (found.dead, found.measure) == ([2, 3], "log score")
    expected = [-log_loss(y, q, labels=range(classes)) for q in (good, wrong)]
    np.testing.assert_allclose(found.scores[[0, 2]], expected)
    assert np.isneginf(found.scores[3])
    dummy = DummyClassifier(strategy="prior").fit(good, y).predict_proba(good)
    assert found.baseline == pytest.approx(-log_loss(y, dummy))
    assert dead_chains(tree(y, predictions=content), baseline=-1e9).dead == [3]
    with pytest.raises(ValueError, match="for regression"):
        dead_chains(tree(y, predictions=content), baseline="linear", X=good)


def test_dead_chains_errors(regression):
    with pytest.raises(ValueError, match='baseline must be "constant" or "linear", or a number'):
        dead_chains(regression, baseline="ridge")
    for wrong, got in ((None, "nothing"), (X[1:], r"\(39, 2\)"), (np.ones((40, 39)), r"\(40, 39")):
        with pytest.raises(ValueError, match=f"features of the 40 predicted rows.*got.*{got}"):
            dead_chains(regression, baseline="linear", X=wrong)


# -- temperatures ----------------------------------------------------------------------------------


def test_temperatures_are_means_by_chain_with_their_error():
    rng = np.random.default_rng(0)
    kinetic = 2 + rng.normal(size=(3, 400))
    kinetic[1] += 1
    slow = np.repeat(rng.normal(size=(3, 40)), 10, axis=1)  # 40 draws' worth
    stats = {"kinetic_temperature": ([], kinetic), "configurational_temperature": ([], 2 + slow)}
    idata = tree(posterior={"x": ([], kinetic)}, sample_stats=stats)
    idata["posterior"].attrs["temperature"] = 2.0
    table = temperatures(idata)
    assert table.attrs["temperature"] == 2.0
    np.testing.assert_allclose(table["mean"].sel(kind="kinetic"), kinetic.mean(1))
    error = table["standard_error"]
    np.testing.assert_allclose(error.sel(kind="kinetic"), 0.05, rtol=0.3)
    np.testing.assert_allclose(error.sel(kind="configurational"), 1 / np.sqrt(40), rtol=0.5)
    one = arviz_stats.mcse(kinetic[[1]])
    assert float(error.sel(kind="kinetic", chain=1)) == pytest.approx(float(one))
    off = abs(table["deviation"].sel(kind="kinetic")) > 5
    assert off.values.tolist() == [False, True, False]
    assert set(table.sizes) == {"kind", "chain"}


@pytest.mark.slow
def test_temperatures_of_a_run():
    with pm.Model() as model:
        pm.Normal("x", shape=20)
        steps = SGHMC(temperature=0.5), SGLD()
    for step, kinds in zip(steps, (2, 1), strict=True):
        settings = {"tune": 100, "chains": 2, "random_seed": 1, "progressbar": False}
        table = temperatures(sample(200, step=step, model=model, **settings))
        assert table.sizes == {"kind": kinds, "chain": 2}
        T = table.attrs["temperature"]
        assert T == (0.5 if kinds == 2 else 1.0)
        assert (abs(table["mean"] - T) < 0.3 * T).all()


def test_temperatures_need_a_run_of_this_package():
    x = np.ones((2, 10))
    for idata in (
        tree(posterior={"x": ([], x)}),
        tree(posterior={"x": ([], x)}, sample_stats={"kinetic_temperature": ([], x)}),
        tree(posterior={"x": ([], x)}, sample_stats={"energy": ([], x)}),
    ):
        with pytest.raises(ValueError, match="temperatures needs the output of"):
            temperatures(idata)


# -- layers ----------------------------------------------------------------------------------------


def test_layer_summary_by_hand():
    idata, layers = network((3,), draws=(3, 50), noise=0.3)
    idata["posterior"]["W0"][1] += 2.0
    table = layer_summary(idata, layers)
    assert table["layer"].values.tolist() == ["W0", "W1"]
    w = idata["posterior"]["W0"].values
    norm = np.sqrt((w**2).sum((2, 3)))
    row = table.sel(layer="W0")
    assert float(row["root_mean_square"]) == pytest.approx(np.sqrt((w**2).mean()))
    assert float(row["norm"]) == pytest.approx(norm.mean())
    assert float(row["norm_rhat"]) == pytest.approx(arviz_stats.rhat(norm))
    assert float(row["norm_ess"]) == pytest.approx(arviz_stats.ess(norm))
    between = np.sqrt(w.mean(1).var(0, ddof=1).mean())
    assert float(row["between"]) == pytest.approx(between)
    assert float(row["within"]) == pytest.approx(np.sqrt(w.var(1, ddof=1).mean()))
    assert between > 1
    assert float(table.sel(layer="W1")["between"]) < 0.2
    assert list(table.to_dataframe()) == list(table)


def test_layer_summary_takes_names_heads_and_one_chain():
    idata, layers = network((3,), draws=(2, 20), noise=0.3)
    full = layer_summary(idata, layers)
    for same in (["W0", "W1"], [("W0", None), [("W1", "b1")]]):
        assert layer_summary(idata, same).identical(full)
    assert layer_summary(idata, ["W1"]).identical(full.isel(layer=[1]))
    one = layer_summary(idata.isel(chain=[0]), layers)
    assert np.isnan(one["norm_rhat"]).all()
    assert np.isnan(one["between"]).all()
    assert (one["within"] > 0).all()
    with pytest.raises(ValueError, match=r"'Q', which are missing.*'W0', 'b0'"):
        layer_summary(idata, ["Q", "W0"])


# -- how many chains -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modes", "exact", "markov"),
    [(1, 1, 100), (2, 34, 798), (3, 54, 1274), (4, 73, 1805), (5, 92, 2385)],
)
def test_chains_needed_of_the_paper(modes, exact, markov):
    assert chains_needed(modes, 0.99) == (exact, markov)


def test_chains_needed_is_the_smallest_number_in_a_simulation():
    p = np.array([0.6, 0.3, 0.1])
    needed = chains_needed(3, 0.9, 10 * p)
    first = np.random.default_rng(0).choice(3, size=(40_000, 200), p=p)
    seen_by = np.max([(first == mode).argmax(1) + 1 for mode in range(3)], axis=0)
    error = 4 * np.sqrt(0.9 * 0.1 / 40_000)
    assert (seen_by <= needed.exact).mean() > 0.9 - error
    assert (seen_by <= needed.exact - 1).mean() < 0.9 + error
    assert needed.markov == pytest.approx(seen_by.mean() / 0.1, rel=0.03)


def test_chains_needed_of_equal_modes_is_the_classical_collector():
    harmonic = sum(1 / k for k in range(1, 13))
    needed = chains_needed(12, 0.5, [1] * 12)
    assert needed.markov == int(np.ceil(12 * harmonic / 0.5))

    # P(all seen) = Σ (-1)^j C(12, j) (1 - j/12)^G, in exact arithmetic.
    def seen(n, chains):
        return sum((-1) ** j * comb(n, j) * Fraction(n - j, n) ** chains for j in range(n + 1))

    for n, confidence in ((12, Fraction(1, 2)), (20, Fraction(99, 100))):
        exact = chains_needed(n, float(confidence), [1] * n).exact
        assert seen(n, exact) >= confidence > seen(n, exact - 1)
    assert chains_needed(1, 0.9) == (1, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.9), "n_modes must be an integer of at least 1, got 0"),
        ((21, 0.9), "n_modes must be from 1 to 20, got 21"),
        ((3, 1.0), "confidence must be greater than 0 and less than 1"),
        ((3, 99), "confidence must be greater than 0 and less than 1"),
        ((3, 0.9, [1, 2]), "must be 3 positive numbers"),
        ((2, 0.9, [1, 0]), "must be 2 positive numbers"),
        ((2, 0.9, [1, np.nan]), "must be 2 positive numbers"),
        ((2, 0.9, [1, 1e-12]), "none below 1e-09"),
    ],
)
def test_chains_needed_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        chains_needed(*arguments)
