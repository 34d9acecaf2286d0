"""Calibration against scikit-learn, and by hand."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from pymc_sgmcmc.diagnostics import brier_score, calibration_error, reliability
from tests.diagnostics.trees import tree

rng = np.random.default_rng(0)
N, K = 300, 4


def binary(p, y, draws=(2, 3)):
    """Draws of which `p` is the mean."""
    spread = np.minimum(p, 1 - p) * np.linspace(-1, 1, np.prod(draws)).reshape(*draws, 1)
    return tree(y, predictions={"y_probability": (["row"], p + spread)})


def multiclass(p, y):
    return tree(y, predictions={"y_probability": (["row", "class"], np.stack([p, p])[None])})


@pytest.fixture(scope="module")
def two():
    p = rng.beta(0.7, 0.9, N)
    return p, rng.binomial(1, p**1.5)


@pytest.fixture(scope="module")
def many():
    p = rng.dirichlet(np.full(K, 0.6), N)
    return p, np.array([rng.choice(K, p=0.7 * row + 0.3 / K) for row in p])


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("bins", [1, 5, 15])
def test_reliability_is_that_of_scikit_learn(two, bins, adaptive):
    p, y = two
    strategy = "quantile" if adaptive else "uniform"
    frequency, probability = calibration_curve(y, p, n_bins=bins, strategy=strategy)
    table = reliability(binary(p, y), bins=bins, adaptive=adaptive)
    full = table.isel(bin=table["count"].values > 0)
    np.testing.assert_allclose(full["frequency"], frequency)
    np.testing.assert_allclose(full["probability"], probability)
    assert int(table["count"].sum()) == N
    if adaptive:
        assert np.ptp(table["count"].values) <= 1
    inside = (full["lower"] <= full["probability"]) & (full["probability"] <= full["upper"])
    assert inside.all()


def test_classwise_reliability_is_that_of_each_class_against_the_rest(many):
    p, y = many
    table = reliability(multiclass(p, y), classwise=True, bins=8)
    assert table["frequency"].dims == ("class", "bin")
    for k in range(K):
        frequency, probability = calibration_curve(y == k, p[:, k], n_bins=8)
        one = table.isel({"class": k}).isel(bin=table["count"][k].values > 0)
        np.testing.assert_allclose(one["frequency"], frequency)
        np.testing.assert_allclose(one["probability"], probability)
    top = reliability(multiclass(p, y), bins=8)
    frequency, probability = calibration_curve(p.argmax(1) == y, p.max(1), n_bins=8)
    np.testing.assert_allclose(top["frequency"].dropna("bin"), frequency)
    np.testing.assert_allclose(top["probability"].dropna("bin"), probability)


def test_calibration_error_by_hand():
    p = np.array([0.1, 0.2, 0.6, 0.7, 0.9, 1.0, 0.5])  # bins (0, .5] and (.5, 1]
    y = np.array([0, 1, 1, 1, 0, 1, 0])
    low, high = abs(1 / 3 - 0.8 / 3), abs(3 / 4 - 3.2 / 4)
    idata = binary(p, y)
    assert calibration_error(idata, bins=2) == pytest.approx(3 / 7 * low + 4 / 7 * high)
    assert calibration_error(idata, bins=2, norm="l2") == pytest.approx(
        np.sqrt(3 / 7 * low**2 + 4 / 7 * high**2)
    )
    assert calibration_error(idata, bins=2, norm="max") == pytest.approx(max(low, high))
    assert calibration_error(idata, bins=2, classwise=True) == calibration_error(idata, bins=2)
    assert reliability(idata, bins=2)["count"].values.tolist() == [3, 4]
    assert calibration_error(idata, bins=100) == pytest.approx(abs(p - y).sum() / 7)


def test_calibration_error_of_classes_by_hand():
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.9, 0.0, 0.1]])
    y = np.array([0, 2, 2, 0])
    one_bin = calibration_error(multiclass(p, y), bins=1)
    assert one_bin == pytest.approx(abs(3 / 4 - 2.8 / 4))
    classwise = calibration_error(multiclass(p, y), bins=1, classwise=True)
    gaps = [abs(2.0 / 4 - 2 / 4), abs(1.3 / 4 - 0), abs(0.7 / 4 - 2 / 4)]
    assert classwise == pytest.approx(np.mean(gaps))
    two_bins = calibration_error(multiclass(p, y), bins=2)
    assert two_bins == pytest.approx(1 / 4 * abs(0.4 - 1) + 3 / 4 * abs(2.4 / 3 - 2 / 3))


def test_the_posterior_mean_is_what_counts():
    # Each draw is sure and half of them wrong; their mean is calibrated.
    draws = np.tile([[0.0], [1.0]], (1, 4))[None]
    idata = tree(np.array([0, 1, 0, 1]), predictions={"y_probability": (["row"], draws)})
    assert calibration_error(idata) == 0
    assert brier_score(idata) == 0.25


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("power", [1.0, 2.5])
def test_only_true_probabilities_are_calibrated(adaptive, power):
    rng = np.random.default_rng(5)
    p = rng.uniform(size=4000)
    y = rng.binomial(1, p**power)
    error = calibration_error(binary(p, y), adaptive=adaptive)
    # ∫ |p - p^2.5| dp = 1/2 - 1/3.5
    assert error == pytest.approx(abs(1 / 2 - 1 / (1 + power)), abs=0.03)


def test_brier_score_is_that_of_scikit_learn(two, many):
    p, y = two
    assert brier_score(binary(p, y)) == pytest.approx(brier_score_loss(y, p))
    both = np.stack([1 - p, p], axis=1)
    assert brier_score(multiclass(both, y)) == pytest.approx(2 * brier_score_loss(y, p))
    p, y = many
    assert brier_score(multiclass(p, y)) == pytest.approx(brier_score_loss(y, p))


def test_labels_of_classes_and_several_outcomes_in_a_row(many):
    p, y = many
    idata = multiclass(p, y)
    names = np.array(["ant", "bee", "cat", "dog"])
    labelled = tree(names[y], predictions={"y_probability": (["row", "class"], p[None, None])})
    labelled["predictions"].coords["class"] = names
    assert brier_score(labelled) == pytest.approx(brier_score(idata))
    table = reliability(labelled, classwise=True)
    assert table["class"].values.tolist() == names.tolist()
    stacked = tree(
        y.reshape(-1, 2),
        predictions={"y_probability": (["row", "k", "class"], p.reshape(1, 1, -1, 2, K))},
    )
    assert brier_score(stacked) == pytest.approx(brier_score(idata))
    assert calibration_error(stacked, classwise=True) == pytest.approx(
        calibration_error(idata, classwise=True)
    )


def test_a_name_and_bernoulli_draws_will_do(two):
    p, y = two
    draws = (np.arange(1, 101)[:, None] <= 100 * p).astype(int)[None]
    idata = tree(y, posterior_predictive={"y": (["row"], draws)})
    assert brier_score(idata, "y") == pytest.approx(brier_score(binary(p, y)), abs=0.01)
    assert brier_score(idata) == brier_score(idata, "y")


def test_errors(two, many):
    p, y = two
    for bins in (0, -1):
        with pytest.raises(ValueError, match=f"bins must be an integer of at least 1, got {bins}"):
            reliability(binary(p, y), bins=bins)
    with pytest.raises(ValueError, match='norm must be "l1", "l2" or "max", got'):
        calibration_error(binary(p, y), norm="L1")
    with pytest.raises(ValueError, match=r"goes from .* no probabilities"):
        brier_score(tree(y, predictions={"y_probability": (["row"], p[None, None] * 3)}))
    with pytest.raises(ValueError, match=r"classes '0', '2', but .* for '0', '1'"):
        brier_score(binary(p, 2 * y))
    q, z = many
    with pytest.raises(ValueError, match="does not sum to 1 over 'class'"):
        brier_score(multiclass(q / 2, z))
    with pytest.raises(ValueError, match="'7'"):
        brier_score(multiclass(q, z), observed=np.where(z == 0, 7, z))
    with pytest.raises(ValueError, match="predicts 300 of 'row', but the observations are 299"):
        brier_score(binary(p, y), observed=y[1:])
    with pytest.raises(ValueError, match=r"No variable of group 'predictions'.*'y_mean'"):
        brier_score(tree(y, predictions={"y_mean": (["row"], p[None, None])}))
