"""Principal components and diffusion maps, against distributions whose answers are known."""

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermeval
from scipy.linalg import subspace_angles
from scipy.stats import norm
from xarray import DataTree

from pymc_sgmcmc.diagnostics import canonicalize, diffusion_map, principal_components
from tests.diagnostics.trees import network, outputs, scramble, tree


def cloud(x, chains=4):
    """DataTree of points ``(n, d)`` as draws."""
    return tree(posterior={"x": (("entry",), x.reshape(chains, -1, x.shape[1]))})


def values(found):
    """Coordinates ``(n, components)``."""
    x = found["coordinate"].values
    return x.reshape(-1, x.shape[2])


# Principal components


@pytest.mark.parametrize("d", [5, 320])
@pytest.mark.parametrize("standardize", [False, True])
def test_components_are_eigenvectors_of_the_covariance(d, standardize):
    """Small matrices have all of their singular vectors computed, large ones some."""
    x = np.random.default_rng(0).normal(size=(400, d)) * np.linspace(1, 3, d)
    x[:, 1] += 2 * x[:, -1]
    found = principal_components(cloud(x), n_components=3, standardize=standardize)
    covariance = np.corrcoef(x.T) if standardize else np.cov(x.T)
    covariance *= 400 / 399 if standardize else 1
    eigenvalues, vectors = np.linalg.eigh(covariance)
    np.testing.assert_allclose(found["variance"], eigenvalues[:-4:-1], rtol=1e-9)
    np.testing.assert_allclose(found["share"], eigenvalues[:-4:-1] / covariance.trace(), rtol=1e-9)
    overlap = np.abs((found["direction"].values @ vectors[:, :-4:-1]).diagonal())
    np.testing.assert_allclose(overlap, 1, rtol=1e-7)
    centred = (x - x.mean(0)) / (x.std(0) if standardize else 1)
    np.testing.assert_allclose(values(found), centred @ found["direction"].values.T, atol=1e-8)
    np.testing.assert_allclose(values(found).var(0, ddof=1), found["variance"], rtol=1e-9)
    largest = np.abs(found["direction"]).argmax("entry")
    assert (found["direction"].isel(entry=largest) > 0).all()


def test_entries_are_labelled_and_those_that_never_change_stay():
    a, b = np.random.default_rng(0).normal(size=(2, 2, 50, 3))
    draws = tree(
        posterior={"a": (("slope",), a), "b": (("slope",), b), "c": ((), np.ones((2, 50)))}
    )
    draws["posterior"].coords["slope"] = ["x", "y", "z"]
    found = principal_components(draws, ["b", "c"])
    assert found["entry"].values.tolist() == ["b[x]", "b[y]", "b[z]", "c"]
    np.testing.assert_allclose(found["direction"].sel(entry="c"), 0, atol=1e-12)
    assert found["coordinate"].dims == ("chain", "draw", "component")


# Diffusion maps


def gaussian_walk(epsilon, alpha, variance=1.0):
    """λ₁ of the walk on a normal distribution at a finite ε, and the variance that it leaves.

    The density estimate has the variance s² + 2ε; divided out to the power of α it leaves steps
    of variance 2ε to a normal distribution of variance r. λ_k is the k-th power of λ₁.
    """
    r = 1 / (1 / variance - alpha / (variance + 2 * epsilon))
    return r / (r + 2 * epsilon), r * (r + 2 * epsilon) / (2 * r + 2 * epsilon)


@pytest.mark.parametrize("alpha", [0, 0.5])
def test_of_a_normal_distribution_are_hermite_polynomials(alpha):
    """The Ornstein-Uhlenbeck process, whose rates are 1, 2, 3 ... times the first."""
    x = norm.ppf((np.arange(600) + 0.5) / 600)[:, None]
    found = diffusion_map(cloud(x), n_components=3, alpha=alpha, bandwidth=0.2, standardize=False)
    slowest, left = gaussian_walk(0.2, alpha)
    np.testing.assert_allclose(found["eigenvalue"], slowest ** np.arange(1, 4), atol=0.015)
    for k in (1, 2, 3):
        bulk = np.abs(x[:, 0]) < 2.5  # beyond, polynomials are of few draws
        polynomial = hermeval(x[bulk, 0] / left**0.5, np.eye(4)[k])
        correlation = np.corrcoef(values(found)[bulk, k - 1], polynomial)[0, 1]
        assert abs(correlation) > 0.995, (k, correlation)


def test_gaps_of_two_widths():
    """Rates 1/s² of a direction of variance s²: 1 and 4, beside 2 and 3 of the wide one alone."""
    x = np.random.default_rng(2).normal(size=(1000, 2)) * [1, 0.5]
    found = diffusion_map(cloud(x), n_components=4, bandwidth=0.1, standardize=False)
    wide = gaussian_walk(0.1, 0.5)[0] ** np.arange(1, 4)
    narrow = gaussian_walk(0.1, 0.5, variance=0.25)[0]
    np.testing.assert_allclose(found["eigenvalue"][:2], wide[:2], atol=0.03)
    expected = np.sort([wide[2], narrow])[::-1]
    np.testing.assert_allclose(found["eigenvalue"][2:], expected, atol=0.05)
    along = np.corrcoef(values(found)[:, 0], x[:, 0])[0, 1]
    assert abs(along) > 0.99


def test_bandwidth_that_is_found_leaves_no_draw_alone():
    """A tail's draws are no modes: the first coordinate goes along the whole distribution."""
    rng = np.random.default_rng(3)
    for n, d in ((300, 1), (600, 3), (600, 20)):
        x = rng.normal(size=(n, d)) * np.r_[2, np.ones(d - 1)]
        found = diffusion_map(cloud(x), standardize=False)
        assert abs(np.corrcoef(values(found)[:, 0], x[:, 0])[0, 1]) > 0.95
        expected = gaussian_walk(found.attrs["bandwidth"], 0.5, variance=4)[0]
        assert found["eigenvalue"][0] == pytest.approx(expected, abs=0.12)
    small = diffusion_map(cloud(x), standardize=False, bandwidth=0.2)
    assert abs(np.corrcoef(values(small)[:, 0], x[:, 0])[0, 1]) < 0.5


def test_of_a_circle_are_cosine_and_sine():
    """However unevenly it is covered, with α = 1: a plane of functions, of the rate 1."""
    rng = np.random.default_rng(4)
    angle = rng.vonmises(0, 0.5, size=600)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    found = diffusion_map(
        cloud(circle), n_components=4, alpha=1, landmarks=600, bandwidth=0.02, standardize=False
    )
    waves = [np.column_stack([np.cos(k * angle), np.sin(k * angle)]) for k in (1, 2)]
    assert np.sin(subspace_angles(values(found)[:, :2], waves[0])).max() < 0.1
    assert np.sin(subspace_angles(values(found)[:, 2:], waves[1])).max() < 0.2
    np.testing.assert_allclose(found["rate"], [1, 1, 4, 4], rtol=0.1)


@pytest.mark.parametrize("apart", [1.5, 30])
def test_the_first_coordinate_tells_two_wells_apart(apart):
    """Also where the kernel between them is 0: the constant is not mixed in."""
    rng = np.random.default_rng(5)
    well = rng.choice([-1, 1], size=800)
    x = np.column_stack([apart * well + rng.normal(0, 0.35, 800), rng.normal(0, 1, 800)])
    found = diffusion_map(cloud(x), standardize=False, n_components=3)
    psi = values(found)[:, 0] * np.sign(values(found)[0, 0] * well[0])
    assert (np.sign(psi) == well).mean() > 0.995
    assert found["rate"][0] < 0.3 * found["rate"][1]


def test_others_than_landmarks_get_their_place_from_them():
    x = np.random.default_rng(6).normal(size=(800, 2)) * [1, 0.6]
    all_draws = diffusion_map(cloud(x), landmarks=800, bandwidth=0.4, standardize=False)
    some = diffusion_map(cloud(x), landmarks=400, bandwidth=0.4, standardize=False)
    assert some.attrs["landmarks"] == 400
    assert abs(np.corrcoef(values(some)[:, 0], values(all_draws)[:, 0])[0, 1]) > 0.99
    # At a landmark the extension is what the eigenproblem gave it: of mean square 1 on them.
    at = np.linspace(0, 799, 400).round().astype(int)
    alone = diffusion_map(cloud(x[at]), bandwidth=0.4, standardize=False)
    among = diffusion_map(cloud(x), landmarks=400, bandwidth=0.4, standardize=False)
    np.testing.assert_allclose(values(among)[at], values(alone), atol=1e-8)
    # A draw so far out that all kernels vanish goes to its nearest landmark.
    far = diffusion_map(cloud(np.r_[x, np.full((4, 2), 99.0)]), landmarks=400, bandwidth=0.01)
    assert np.isfinite(far["coordinate"]).all()


def test_the_same_every_time():
    x = cloud(np.random.default_rng(7).normal(size=(400, 3)))
    assert diffusion_map(x).identical(diffusion_map(x))


def test_copies_of_a_network_are_one_in_the_space_of_functions():
    idata, layers = network((3,), draws=(6, 40), noise=0.1)
    copies = scramble(idata, layers, by_chain=True)
    rows = np.random.default_rng(8).normal(size=(15, 3))
    made = outputs(copies, layers, rows)
    functions = tree(predictions={"y": (("row", "output"), made)})
    weights = diffusion_map(copies, standardize=False)
    aligned = diffusion_map(canonicalize(copies, layers), standardize=False)
    predicted = diffusion_map(functions, standardize=False, group="predictions")

    def between(found):
        """Share of the first coordinate's variance that is between chains."""
        first = found["coordinate"].sel(component=1)
        return float(first.mean("draw").var() / first.var())

    assert between(weights) > 0.9
    assert between(aligned) < 0.2
    assert between(predicted) < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"var_names": "z"}, "no draws of 'z'; it has 'x'"),
        ({"alpha": 2}, "alpha must be from 0 to 1"),
        ({"bandwidth": 0}, "bandwidth must be greater than 0"),
        ({"landmarks": 2}, "landmarks must be an integer of at least 3"),
        ({"landmarks": 10, "n_components": 9}, "take more of them"),
        ({"group": "prior"}, "There is no group 'prior'"),
    ],
)
def test_errors_say_what_to_write(options, message):
    x = cloud(np.random.default_rng(9).normal(size=(40, 3)))
    with pytest.raises(ValueError, match=message):
        diffusion_map(x, **options)


def test_draws_that_cannot_be_mapped():
    with pytest.raises(ValueError, match="no more than 2 directions"):
        principal_components(cloud(np.zeros((40, 2))), n_components=3)
    with pytest.raises(ValueError, match="are the same draw"):
        diffusion_map(cloud(np.ones((40, 2))))
    x = np.ones((40, 2))
    x[3, 1] = np.inf
    with pytest.raises(ValueError, match=r"'x\[1\]' has values that are not finite"):
        diffusion_map(cloud(x))
    with pytest.raises(ValueError, match="There is no group 'posterior'"):
        principal_components(DataTree())
