"""The exact answers that benchmarks hold runs against, and how results are kept apart."""

import json

import numpy as np
import pymc as pm
import pytest
from scipy.stats import halfnorm, multivariate_normal, norm
from xarray import Dataset

from benchmarks.effects import collapsed, scores
from benchmarks.effects.cases import CASES
from benchmarks.effects.crossed import Crossed
from benchmarks.effects.moments import Moments
from benchmarks.networks import protocols, results


@pytest.fixture(scope="module")
def rows():
    """Eight groups, of which one has no rows and one has one."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(8), [30, 5, 0, 12, 1, 40, 20, 9])
    return g, rng.normal(rng.normal(0.5, 0.7, 8)[g], 0.9)


# -- the collapsed model ---------------------------------------------------------------------------


def test_the_collapsed_density_is_that_of_correlated_rows(rows):
    """Up to a constant, by the covariance matrix of all rows."""
    g, y = rows
    same = g[:, None] == g
    rng = np.random.default_rng(5)
    positions = np.column_stack([rng.normal(0.5, 0.3, 6), rng.normal(-0.3, 0.4, (6, 2))])

    def dense(mu, log_tau, log_sigma):
        tau, sigma = np.exp(log_tau), np.exp(log_sigma)
        covariance = tau**2 * same + sigma**2 * np.eye(len(y))
        prior = norm.logpdf(mu, 0, 5) + halfnorm.logpdf([tau, sigma], scale=2).sum()
        rows = multivariate_normal.logpdf(y, np.full(len(y), mu), covariance)
        return prior + rows + log_tau + log_sigma

    found = collapsed.Groups(g, y, 8).log_density(positions)
    expected = np.array([dense(*position) for position in positions])
    np.testing.assert_allclose(found - found[0], expected - expected[0], rtol=1e-9, atol=1e-9)


def test_effects_given_the_parameters_are_those_of_a_normal_model(rows):
    """By the precision matrix of an effect and its rows."""
    g, y = rows
    mu, tau, sigma = 0.3, 0.6, 1.1
    mean, variance = collapsed.Groups(g, y, 8).effects(np.array([[mu, np.log(tau), np.log(sigma)]]))
    for j in range(8):
        mine = y[g == j]
        precision = 1 / tau**2 + len(mine) / sigma**2
        assert variance[0, j] == pytest.approx(1 / precision)
        assert mean[0, j] == pytest.approx((mu / tau**2 + mine.sum() / sigma**2) / precision)


def test_moments_are_those_of_importance_sampling():
    """From a wide normal, 200,000 draws: errors of some 0.003 standard deviations."""
    rng = np.random.default_rng(6)
    groups, draws = 60, 200_000
    g = rng.integers(groups, size=1200)
    y = rng.normal(rng.normal(1, 0.5, groups)[g], 1.0)
    exact = collapsed.moments(g, y, groups)
    of_groups = collapsed.Groups(g, y, groups)
    centre = [exact.mean["mu"], np.log(exact.mean["tau"]), np.log(exact.mean["sigma"])]
    width = [exact.sd["mu"], exact.sd["tau"] / exact.mean["tau"], exact.sd["sigma"]]
    z = rng.normal(size=(draws, 3))
    positions = centre + 1.5 * z * width
    log_weights = of_groups.log_density(positions) + np.square(z).sum(1) / 2
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    tolerance = 5 / np.sqrt(1 / np.square(weights).sum())
    mean, variance = of_groups.effects(positions)
    effect = mean[:, 0] + np.sqrt(variance[:, 0]) * rng.normal(size=draws)
    sampled = {"mu": positions[:, 0], "tau": np.exp(positions[:, 1])}
    sampled |= {"sigma": np.exp(positions[:, 2]), "a": effect}
    for name, x in sampled.items():
        expected, sd = np.ravel(exact.mean[name])[0], np.ravel(exact.sd[name])[0]
        found = weights @ x
        assert abs(found - expected) < tolerance * sd, name
        assert np.sqrt(weights @ (x - found) ** 2) == pytest.approx(sd, rel=tolerance), name


def test_more_points_and_a_wider_grid_change_nothing(rows, monkeypatch):
    """Where there are tens of groups or more, as the benchmark has."""
    rng = np.random.default_rng(7)
    g = rng.integers(200, size=20_000)
    y = rng.normal(rng.normal(1, 0.5, 200)[g], 1.0)
    found = collapsed.moments(g, y, 200)
    monkeypatch.setattr(collapsed, "_REACH", 8.0)
    monkeypatch.setattr(collapsed, "_POINTS", 33)
    finer = collapsed.moments(g, y, 200)
    for name in found.mean:
        assert np.abs(found.mean[name] - finer.mean[name]).max() < 1e-6
        np.testing.assert_allclose(found.sd[name], finer.sd[name], rtol=1e-6)


# -- cases and scores ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_a_case_has_the_variables_it_names(name):
    case = CASES[name](16)
    values = pm.draw([case.model[n] for n in (*case.effects, *case.hyper)], random_seed=1)
    shapes = dict(zip((*case.effects, *case.hyper), (np.shape(x) for x in values), strict=True))
    assert set(case.truth) == set(case.effects)
    for effect, truth in case.truth.items():
        assert shapes[effect] == truth.shape


def test_the_sizes_of_all_cases_are_told():
    from benchmarks.hierarchies import SIZES

    assert set(SIZES) == set(CASES)


def test_scores_are_in_standard_deviations_of_the_reference(tmp_path):
    reference = Moments(
        {"a": np.zeros(4), "mu": np.array(1.0)}, {"a": np.full(4, 2.0), "mu": np.array(0.5)}
    )
    path = tmp_path / "of" / "reference.npz"
    reference.save(path)
    found = Moments(
        {"a": np.array([2.0, -2, 2, -2]), "mu": np.array(0.0)},
        {"a": np.array([1.0, 2, 2, 3]), "mu": np.array(0.5)},
    )
    assert scores.accuracy(found, Moments.load(path), ("a",), ("mu",)) == pytest.approx(
        {
            "effects_error": 1,
            "sd_low": 0.5,
            "sd_high": 1.5,
            "sd_error": np.sqrt(0.125),
            "hyper_error": 2,
        }
    )
    truth = {"a": np.array([3.0, -4, 0, -5])}
    assert scores.distance_to_truth(found, truth) == pytest.approx(1)


# -- crossed factors -------------------------------------------------------------------------------


def crossed_model(apart):
    """Two factors of 3 and 4 levels without data, and the standard deviations given."""
    crossed = Crossed(2, {"a": "sd_a", "b": "sd_b"})
    with pm.Model(coords={"first": range(3), "second": range(4)}) as model:
        pm.HalfNormal("sd_a", 1)
        pm.HalfNormal("sd_b", 1)
        crossed.write(model, ("first", "second"), apart)
    return crossed, pm.do(model, {"sd_a": 0.7, "sd_b": 1.5})


@pytest.mark.slow
def test_a_total_and_what_sums_to_zero_is_the_same_prior():
    """Covariances of 40,000 draws: entries are within 5 standard errors, √(σᵢᵢσⱼⱼ + σᵢⱼ²)/200."""
    crossed, model = crossed_model(apart=True)
    names = ("total", "a", "b")
    values = pm.draw([model[name] for name in names], draws=40_000, random_seed=8)
    dims = {"total": (), "a": ("first",), "b": ("second",)}
    draws = Dataset(
        {n: (("chain", "draw", *dims[n]), x[None]) for n, x in zip(names, values, strict=True)}
    )
    apart = draws.assign(sd_a=0.7 + 0 * draws["total"], sd_b=1.5 + 0 * draws["total"])
    found = crossed.restore(apart, seed=9)
    assert set(found) == {"b0", "a", "b", "sd_a", "sd_b"}
    sums = found["b0"] + found["a"].mean("first") + found["b"].mean("second")
    np.testing.assert_allclose(sums, draws["total"], atol=1e-9)
    columns = np.column_stack([found["b0"].values[0], found["a"].values[0], found["b"].values[0]])
    expected = np.diag(np.square([2, *[0.7] * 3, *[1.5] * 4]))
    diagonal = np.diag(expected)
    error = np.sqrt(np.outer(diagonal, diagonal) + expected**2) / 200
    assert (np.abs(np.cov(columns.T) - expected) < 5 * error).all()


# -- results of networks ---------------------------------------------------------------------------


def test_results_of_both_noises_are_kept_apart(tmp_path):
    """And those of before the noise was an option have the one that their method had."""
    path = tmp_path / "uci.jsonl"
    run = {"protocol": "pbp", "set": "yacht", "split": 0, "method": "ATMC"}
    lines = [
        run,
        {**run, "noise": "input"},
        {**run, "method": "ensemble"},
        {**run, "protocol": "wiese"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert [key[-1] for key in results.read(path)] == [
        "learned",
        "input",
        "input",
        "standard normal",
    ]


def test_noise_is_the_methods_own_or_what_is_asked():
    pbp, wiese = protocols.PROTOCOLS["pbp"], protocols.PROTOCOLS["wiese"]
    assert pbp.noise("yacht", "ATMC") == "learned"
    assert pbp.noise("yacht", "ATMC", "input") == "input"
    assert pbp.noise("yacht", "MILE", "learned") == "input"
    assert pbp.network_with("yacht", "input").head == "input"
    with pytest.raises(SystemExit, match="Leave it out"):
        wiese.noise("yacht/f1", "ATMC", "input")
