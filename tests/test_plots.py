"""The numbers that plots draw, against numbers computed by hand."""

import inspect
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytest
from numpydoc.validate import validate
from xarray import Dataset, DataTree

from pymc_sgmcmc import plots
from pymc_sgmcmc.diagnostics.positions import unconstrained
from pymc_sgmcmc.plots.directions import filter_normalized

SAMPLE = ("chain", "draw", "row")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def tree(y=None, constant=None, log_likelihood=None, **predictions):
    """DataTree with predictions whose dims follow from their rank."""
    dims = (*SAMPLE, "class")
    groups = {"predictions": {k: (dims[: np.ndim(x)], x) for k, x in predictions.items()}}
    if y is not None:
        groups["observed_data"] = {"y": ("row", np.asarray(y))}
    if log_likelihood is not None:
        groups["log_likelihood"] = {"y": (SAMPLE, log_likelihood)}
    return DataTree.from_dict({name: Dataset(group) for name, group in groups.items()})


@pytest.fixture
def three_classes():
    """Probabilities (2 chains, 3 draws, 40 rows, 3 classes), and outcomes."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet([0.5, 0.5, 0.5], (2, 3, 40))
    return p, rng.integers(0, 3, 40)


def entropy(p):
    return -(p * np.log(p)).sum(-1)


def visual(collection, name, **sel):
    return collection.get_viz(name, sel=sel)


# Reliability


@pytest.mark.parametrize("classes", ["top", "pooled", "each"])
def test_reliability_draws_mean_probability_frequency_and_share(three_classes, classes):
    p, y = three_classes
    mean, came = p.mean((0, 1)), y[:, None] == np.arange(3)
    panels = {None: (mean.ravel(), came.ravel())}
    if classes == "top":
        panels = {None: (mean.max(1), came[np.arange(40), mean.argmax(1)])}
    if classes == "each":
        panels = {k: (mean[:, k], came[:, k]) for k in range(3)}
    dt = tree(y, y_probability=p)
    drawn = plots.plot_reliability(dt, classes=classes, bins=4, ci_prob=0.9)
    for panel, (probability, outcome) in panels.items():
        sel = {} if panel is None else {"class": panel}
        bins = np.minimum((probability * 4).astype(int), 3)
        used = np.unique(bins)
        line, caps, _ = visual(drawn, "points", **sel)
        np.testing.assert_allclose(line.get_xdata(), [probability[bins == b].mean() for b in used])
        np.testing.assert_allclose(line.get_ydata(), [outcome[bins == b].mean() for b in used])
        shares = [bar.get_height() for bar in visual(drawn, "shares", **sel)]
        np.testing.assert_allclose(shares, [(bins == b).mean() for b in used])
        for i, b in enumerate(used):  # Wilson's interval, from scipy
            from scipy.stats import binomtest

            n, k = int((bins == b).sum()), int(outcome[bins == b].sum())
            low, high = binomtest(k, n).proportion_ci(0.9, "wilson")
            assert caps[0].get_ydata()[i] == pytest.approx(min(low, k / n))
            assert caps[1].get_ydata()[i] == pytest.approx(max(high, k / n))


def test_reliability_of_a_binary_outcome_is_that_of_one():
    p = np.array([[[0.1, 0.2, 0.9, 0.8]]])
    drawn = plots.plot_reliability(tree([0, 1, 1, 1], y_probability=p), bins=2)
    line = visual(drawn, "points")[0]
    np.testing.assert_allclose(line.get_xdata(), [0.15, 0.85])
    np.testing.assert_allclose(line.get_ydata(), [0.5, 1])
    assert visual(drawn, "plot").get_xlabel() == "predicted probability of y = 1"


def test_reliability_of_several_models(three_classes):
    p, y = three_classes
    models = {"all": tree(y, y_probability=p), "one draw": tree(y, y_probability=p[:1, :1])}
    for classes in ("top", "pooled"):
        drawn = plots.plot_reliability(models, classes=classes)
        for model, dt in models.items():
            alone = visual(plots.plot_reliability(dt, classes=classes), "points")[0]
            line = visual(drawn, "points", model=model)[0]
            np.testing.assert_array_equal(line.get_xydata(), alone.get_xydata())
            assert visual(drawn, "title", model=model).get_text() == model
    with pytest.raises(ValueError, match="one model at a time"):
        plots.plot_reliability(models, classes="each")


def test_legend_of_reliability_is_above_the_panels(three_classes):
    """Inside it would hide error bars."""
    p, y = three_classes
    drawn = plots.plot_reliability(tree(y, y_probability=p), classes="pooled")
    legend, axes = visual(drawn, "legend"), visual(drawn, "plot")
    axes.figure.canvas.draw()
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1
    assert legend.get_texts()[0].get_text() == "share of 120 predictions"


def test_reliability_says_what_to_write(three_classes):
    p, y = three_classes
    dt = tree(y, y_probability=p)
    with pytest.raises(ValueError, match='write "top", "pooled" or "each"'):
        plots.plot_reliability(dt, classes="all")
    with pytest.raises(ValueError, match="adaptive=False"):
        plots.plot_reliability(dt, classes="pooled", adaptive=True)
    with pytest.raises(ValueError, match="var_name='a_probability'"):
        plots.plot_reliability(tree(y, a_probability=p, b_probability=p))


# Running averages


def autoregressive(rho, chains=4, draws=2000, seed=0):
    """Chains with a known error of their average: √((1 + ρ)/(1 − ρ)/n), for a variance of 1."""
    rng = np.random.default_rng(seed)
    x = np.empty((chains, draws, 2))
    x[:, 0] = rng.normal(size=(chains, 2))
    for t in range(1, draws):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * rng.normal(size=(chains, 2))
    return x


def test_running_averages_and_their_errors():
    x = autoregressive(0.8)
    dt = DataTree.from_dict({"posterior": Dataset({"b": (("chain", "draw", "slope"), x)})})
    drawn = plots.plot_running_average(dt)
    for entry in (0, 1):
        label = f"b[{entry}]"
        for t in (1, 10, 2000):
            chain = visual(drawn, "chains", entry=label, chain=2).get_ydata()[t - 1]
            assert chain == pytest.approx(x[2, :t, entry].mean())
            together = visual(drawn, "together", entry=label).get_ydata()[t - 1]
            assert together == pytest.approx(x[:, :t, entry].mean())
        band = visual(drawn, "error", entry=label).get_paths()[0].vertices
        last = band[band[:, 0] == 2000][:, 1]
        expected = 4 * np.sqrt((1 + 0.8) / (1 - 0.8) / 8000)  # two errors to either side
        assert np.ptp(last) == pytest.approx(expected, rel=0.25)
    assert visual(drawn, "plot", entry="b[0]").get_xlabel() == "draws of each chain"


def test_running_averages_of_what_there_is_not():
    draws = {"b": (("chain", "draw", "slope"), np.zeros((2, 9, 41)))}
    dt = DataTree.from_dict({"posterior": Dataset(draws)})
    with pytest.raises(ValueError, match="41 panels are too many"):
        plots.plot_running_average(dt)
    with pytest.raises(ValueError, match="no draws of 'c'; it has 'b'"):
        plots.plot_running_average(dt, "c")
    with pytest.raises(ValueError, match="takes 8 draws of each chain, and there are 5"):
        plots.plot_running_average(dt.isel(draw=slice(5), slope=slice(2)))


# Running lppd


def test_running_lppd_of_chains_and_of_all():
    loglik = np.random.default_rng(1).normal(-2, 1, (3, 5, 7))
    drawn = plots.plot_running_lppd(tree(log_likelihood=loglik))
    for t in range(5):
        density = np.exp(loglik[:, : t + 1])
        each = [visual(drawn, "chains", chain=c).get_ydata()[t] for c in range(3)]
        np.testing.assert_allclose(each, np.log(density.mean(1)).mean(1))
        together = visual(drawn, "together").get_ydata()[t]
        assert together == pytest.approx(np.log(density.mean((0, 1))).mean())
    np.testing.assert_array_equal(visual(drawn, "together").get_xdata(), np.arange(1, 6))
    assert "nats" in visual(drawn, "plot").get_ylabel()


@pytest.mark.parametrize(("chains", "beside"), [(4, False), (8, True)])
def test_a_long_legend_of_running_lppd_stands_beside_the_lines(chains, beside):
    drawn = plots.plot_running_lppd(tree(log_likelihood=np.zeros((chains, 4, 2))))
    figure = drawn.get_viz("figure")
    figure.canvas.draw()
    (axes,) = figure.axes
    legend = axes.get_legend().get_window_extent()
    assert (legend.x0 >= axes.bbox.x1) == beside
    assert legend.x1 <= figure.bbox.x1


def test_running_lppd_of_one_chain_has_one_line():
    drawn = plots.plot_running_lppd(tree(log_likelihood=np.zeros((1, 4, 2))))
    assert len(visual(drawn, "plot").lines) == 1


# Entropy out of distribution


def test_ood_entropy_draws_densities_and_auroc(three_classes):
    p, _ = three_classes
    sure = p**3 / (p**3).sum(-1, keepdims=True)
    drawn = plots.plot_ood_entropy(
        tree(y_probability=sure), {"other": tree(y_probability=p)}, bins=6
    )
    inside, outside = entropy(sure.mean((0, 1))), entropy(p.mean((0, 1)))
    edges = np.linspace(0, np.log(3), 7)
    for name, values in (("in distribution", inside), ("other", outside)):
        stairs = visual(drawn, "densities", rows=name).get_data()
        np.testing.assert_allclose(stairs.edges, edges)
        np.testing.assert_allclose(stairs.values, np.histogram(values, edges, density=True)[0])
    auroc = (outside[:, None] > inside).mean()
    assert visual(drawn, "densities", rows="other").get_label() == f"other: AUROC {auroc:.3f}"


def test_ood_entropy_counts_ties_half_and_takes_two_trees():
    same = tree(y_probability=np.full((1, 2, 5), 0.3))
    drawn = plots.plot_ood_entropy(same, same)
    assert visual(drawn, "densities", rows="out of distribution").get_label().endswith("0.500")
    with pytest.raises(ValueError, match="no probabilities"):
        plots.plot_ood_entropy(tree(z_probability=np.full((1, 2, 5), 3.0)), same)


# Rejection


def test_rejection_of_classes_by_entropy(three_classes):
    p, y = three_classes
    drawn = plots.plot_rejection(tree(y, y_probability=p))
    mean = p.mean((0, 1))
    right, order = mean.argmax(1) == y, entropy(mean).argsort()[::-1]
    expected = [right[order[k:]].mean() for k in range(40)]
    line = visual(drawn, "rejection")
    np.testing.assert_allclose(line.get_xdata(), np.arange(40) / 40)
    np.testing.assert_allclose(line.get_ydata(), expected)
    oracle = np.minimum(1, right.sum() / np.arange(40, 0, -1))
    np.testing.assert_allclose(visual(drawn, "oracle").get_ydata(), oracle)
    np.testing.assert_allclose(visual(drawn, "random").get_ydata(), right.mean())


def test_rejection_of_a_regression_by_mean_and_noise():
    rng = np.random.default_rng(2)
    mean, sd = rng.normal(size=(2, 4, 9)), rng.uniform(0.1, 3, (2, 4, 9))
    y = rng.normal(size=9)
    drawn = plots.plot_rejection(tree(y, y_mean=mean, y_sd=sd))
    spread = mean.var((0, 1)) + (sd**2).mean((0, 1))
    error, order = (mean.mean((0, 1)) - y) ** 2, spread.argsort()[::-1]
    expected = [np.sqrt(error[order[k:]].mean()) for k in range(9)]
    np.testing.assert_allclose(visual(drawn, "rejection").get_ydata(), expected)
    worst = np.sort(error)[::-1]
    oracle = [np.sqrt(worst[k:].mean()) for k in range(9)]
    np.testing.assert_allclose(visual(drawn, "oracle").get_ydata(), oracle)
    assert visual(drawn, "plot").get_ylabel() == "RMSE of the rows left"


def test_rejection_of_several_models(three_classes):
    p, y = three_classes
    models = {"all": tree(y, y_probability=p), "one draw": tree(y, y_probability=p[:1, :1])}
    drawn = plots.plot_rejection(models)
    for model, dt in models.items():
        alone = plots.plot_rejection(dt)
        for name in ("rejection", "oracle", "random"):
            line = visual(drawn, name, model=model)
            np.testing.assert_array_equal(line.get_xydata(), visual(alone, name).get_xydata())
    texts = [text.get_text() for text in visual(drawn, "legend").get_texts()]
    assert texts == ["oracle", "at random", "all", "one draw"]
    numbers = tree(y, y_mean=10 * p[..., 0])
    with pytest.raises(ValueError, match="classes and others numbers"):
        plots.plot_rejection({**models, "numbers": numbers})


# Most uncertain


def test_most_uncertain_images_and_guesses(three_classes):
    p, y = three_classes
    images = np.arange(40 * 4.0).reshape(40, 4)
    drawn = plots.plot_most_uncertain(tree(y, y_probability=p), images, 3)
    texts = plt.gcf().legends[0].get_texts()
    assert [text.get_text() for text in texts] == ["first guess is right", "wrong"]
    mean = p.mean((0, 1))
    rows = entropy(mean).argsort()[::-1][:3]
    assert drawn.viz["row"].values.tolist() == rows.tolist()
    for row in rows:
        shown = visual(drawn, "images", row=row).get_array()
        np.testing.assert_array_equal(shown, images[row].reshape(2, 2))
        first, second, _ = mean[row].argsort()[::-1]
        title = visual(drawn, "titles", row=row)
        assert title.get_text() == (
            f"{first}: {mean[row, first]:.0%}\n{second}: {mean[row, second]:.0%}"
        )
        assert title.get_color() == ("#0072B2" if first == y[row] else "#D55E00")
        assert visual(drawn, "xlabel", row=row).get_text().startswith(f"is {y[row]}")


def test_most_uncertain_without_outcomes_and_with_wrong_images(three_classes):
    dt = tree(y_probability=three_classes[0])
    drawn = plots.plot_most_uncertain(dt, np.zeros((40, 2, 3)), 1)
    row = drawn.viz["row"].item()
    assert visual(drawn, "images").get_array().shape == (2, 3)
    assert visual(drawn, "titles", row=row).get_color() == "black"
    with pytest.raises(ValueError, match="39 rows"):
        plots.plot_most_uncertain(dt, np.zeros((39, 4)))
    with pytest.raises(ValueError, match="write shape="):
        plots.plot_most_uncertain(dt, np.zeros((40, 5)))


# Surface


@pytest.fixture
def grid():
    return np.stack(np.meshgrid([0.0, 1, 2], [0.0, 2, 4, 5]), -1).reshape(-1, 2)


def test_surface_finds_inputs_and_data_in_the_tree(grid):
    p = np.random.default_rng(3).uniform(size=(2, 5, 12))
    dt = tree(y_probability=p).to_dict()
    points, y = np.array([[0.5, 1], [1, 3], [1.5, 2]]), [0, 1, 1]
    coords = {"feature": ["x1", "x2"]}
    dt["predictions_constant_data"] = Dataset({"inputs": (("row", "feature"), grid)}, coords)
    dt["constant_data"] = Dataset({"inputs": (("point", "feature"), points)}, coords)
    dt["observed_data"] = Dataset({"y": ("point", y)})
    drawn = plots.plot_predictive_surface(DataTree.from_dict(dt))
    for panel, values in (("mean", p.mean((0, 1))), ("sd", p.std((0, 1)))):
        np.testing.assert_allclose(visual(drawn, "surface", panel=panel).get_array(), values)
        scatter = visual(drawn, "points", panel=panel)
        np.testing.assert_allclose(scatter.get_offsets(), points)
        np.testing.assert_allclose(scatter.get_array(), y)
    assert visual(drawn, "plot", panel="sd").get_ylabel() == "x2"
    assert visual(drawn, "surface", panel="mean").get_clim() == (0, 1)


@pytest.mark.parametrize("category", [None, 2])
def test_surface_of_classes(three_classes, grid, category):
    p = three_classes[0][:, :, :12]
    mean, k = p.mean((0, 1)), category
    k = mean.argmax(1) if category is None else np.full(12, category)
    for spread in ("sd", "entropy"):
        drawn = plots.plot_predictive_surface(
            tree(y_probability=p), *grid.T, spread=spread, category=category
        )
        first = visual(drawn, "surface", panel="mean").get_array()
        np.testing.assert_allclose(first, mean[np.arange(12), k])
        second = visual(drawn, "surface", panel=spread).get_array()
        sd = p.std((0, 1))[np.arange(12), k]
        np.testing.assert_allclose(second, sd if spread == "sd" else entropy(mean))


def test_surface_of_a_regression_takes_the_mean(grid):
    mean = np.random.default_rng(4).normal(5, 2, (1, 3, 12))
    dt = tree(y_mean=mean, y_sd=mean**2)
    points = (*grid[:4].T, [1.0, 2, 3, 4])
    drawn = plots.plot_predictive_surface(dt, *grid.T, points=points)
    surface = visual(drawn, "surface", panel="mean")
    np.testing.assert_allclose(surface.get_array(), mean[0].mean(0))
    assert visual(drawn, "points", panel="mean").get_clim() == surface.get_clim()
    with pytest.raises(ValueError, match='spread="sd"'):
        plots.plot_predictive_surface(dt, *grid.T, spread="entropy")
    with pytest.raises(ValueError, match="Write x= and y="):
        plots.plot_predictive_surface(dt)
    with pytest.raises(ValueError, match=r"shape \(11,\)"):
        plots.plot_predictive_surface(dt, grid[1:, 0], grid[:, 1])


# Slices of the potential


@pytest.fixture(scope="module")
def transformed():
    """Model with transforms, one of which depends on another variable, and a posterior."""
    rng = np.random.default_rng(5)
    with pm.Model() as model:
        low = pm.Normal("low", 0, 1)
        scale = pm.HalfNormal("scale", 1)
        weights = pm.Dirichlet("weights", np.ones(3))
        place = pm.Uniform("place", low, low + 4)
        pm.Normal("slope", 0, 1, shape=(2, 2))
        pm.Normal("y", place + weights[0], scale, observed=np.array([0.5, 1, 2]))
    low = rng.normal(size=(2, 3))
    posterior = {
        "place": (("chain", "draw"), low + 4 * rng.uniform(0.1, 0.9, (2, 3))),
        "low": (("chain", "draw"), low),
        "scale": (("chain", "draw"), rng.uniform(0.5, 2, (2, 3))),
        "weights": (("chain", "draw", "k"), rng.dirichlet(np.ones(3), (2, 3))),
        "slope": (("chain", "draw", "a", "b"), rng.normal(size=(2, 3, 2, 2))),
    }
    return model, DataTree.from_dict({"posterior": Dataset(posterior)})


def position(idata, chain, draw):
    """Value variables of a draw, by the definitions of the transforms."""
    at = {k: x.values for k, x in idata["posterior"].isel(chain=chain, draw=draw).items()}
    share = (at["place"] - at["low"]) / 4
    logs = np.log(at["weights"])
    return {
        "low": at["low"],
        "scale_log__": np.log(at["scale"]),
        "weights_simplex__": logs[:-1] - logs.mean(),
        "place_interval__": np.log(share / (1 - share)),
        "slope": at["slope"],
    }


def test_draws_become_points_of_the_unconstrained_space(transformed):
    model, idata = transformed
    names = [v.name for v in model.value_vars]
    expected = [
        np.concatenate([np.ravel(position(idata, *draw)[name]) for name in names])
        for draw in [(0, 1), (1, -1)]
    ]
    np.testing.assert_allclose(unconstrained(idata, model, [(0, 1), (1, -1)]), expected)


def test_line_is_the_negative_log_density(transformed):
    model, idata = transformed
    drawn = plots.plot_slice(idata, model, [(0, 1), (1, 2)], points=5, beyond=0.5)
    a, b = position(idata, 0, 1), position(idata, 1, 2)
    logp = model.compile_logp()
    line = visual(drawn, "potential")
    np.testing.assert_allclose(line.get_xdata(), [-0.5, 0, 0.5, 1, 1.5])
    expected = [-logp({k: a[k] + t * (b[k] - a[k]) for k in a}) for t in line.get_xdata()]
    np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-6)
    dots = visual(drawn, "draws")
    np.testing.assert_allclose(dots.get_xydata(), [[0, expected[1]], [1, expected[3]]], rtol=1e-6)
    distance = np.sqrt(sum(((a[k] - b[k]) ** 2).sum() for k in a))
    assert f"{distance:.3g}" in visual(drawn, "plot").get_xlabel()


def drawn_with(monkeypatch):
    """Arguments that visuals will be drawn with, by name."""
    from pymc_sgmcmc.plots.canvas import Canvas

    seen, draw = {}, Canvas.draw

    def spy(self, name, *arguments, **options):
        seen[name] = arguments
        return draw(self, name, *arguments, **options)

    monkeypatch.setattr(Canvas, "draw", spy)
    return seen


def test_plane_has_the_draws_at_their_distances_and_their_potential(transformed, monkeypatch):
    model, idata = transformed
    draws = [(0, 0), (1, 1), (0, 2)]
    seen = drawn_with(monkeypatch)
    drawn = plots.plot_slice(idata, model, draws, points=6, beyond=0.3)
    at = unconstrained(idata, model, draws)
    places = visual(drawn, "draws").get_xydata()
    for i in range(3):
        for j in range(i):
            apart = np.linalg.norm(at[i] - at[j])
            assert np.linalg.norm(places[i] - places[j]) == pytest.approx(apart)
    np.testing.assert_allclose(places[0], 0)
    assert places[1, 1] == pytest.approx(0, abs=1e-12)
    assert places[1, 0] > 0
    assert places[2, 1] > 0

    x, y, u = seen["contours"]
    logp, zero = model.compile_logp(), position(idata, *draws[0])
    second, third = (position(idata, *d) for d in draws[1:])
    for i, j in [(0, 0), (2, 5), (4, 1)]:
        # As coordinates with respect to the draws themselves, not to orthogonal axes.
        s, t = np.linalg.solve(places[1:].T, [x[j], y[i]])
        point = {k: z + s * (second[k] - z) + t * (third[k] - z) for k, z in zero.items()}
        assert u[i, j] == pytest.approx(-logp(point), rel=1e-6)


def unlike_units():
    """Model on the potential ½ Σ (w/s)², with units of unlike sizes; and one draw of it."""
    with pm.Model() as model:
        pm.Normal("kernel", 0, [1, 2, 4], shape=(5, 2, 3))
        pm.Normal("bias", 0, 1, shape=3)
        pm.HalfNormal("noise", 1)
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(1, 1, 5, 2, 3)) * [0.1, 1, 10]
    draw = {
        "kernel": (("chain", "draw", "a", "b", "unit"), kernel),
        "bias": (("chain", "draw", "unit"), rng.normal(size=(1, 1, 3))),
        "noise": (("chain", "draw"), np.array([[0.3]])),
    }
    return model, DataTree.from_dict({"posterior": Dataset(draw)})


def test_random_directions_are_as_long_as_the_weights_into_a_unit():
    model, idata = unlike_units()
    (at,) = unconstrained(idata, model, [(0, 0)])
    rng = np.random.default_rng(1)
    one, other = (filter_normalized(model, at, rng) for _ in range(2))
    split = np.cumsum([5 * 2 * 3, 3])
    for direction in (one, other):
        for w, delta in zip(np.split(at, split), np.split(direction, split), strict=True):
            units = (-1, 3) if w.size > 3 else (-1, 1)
            lengths = (np.linalg.norm(x.reshape(units), axis=0) for x in (w, delta))
            np.testing.assert_allclose(*lengths)
    cosine = one[:30] @ other[:30] / (one[:30] @ one[:30])
    assert abs(cosine) < 0.9  # they are different, and not the weights themselves
    assert abs(one[:30] @ at[:30] / (at[:30] @ at[:30])) < 0.9


def test_plane_around_one_draw_is_the_potential_there(monkeypatch):
    """Of a quadratic: U = ½ |z|² in the units of each prior, and the noise with its Jacobian."""
    model, idata = unlike_units()
    seen = drawn_with(monkeypatch)
    drawn = plots.plot_slice(idata, model, [(0, 0)], points=5, beyond=0.8, random_seed=3)
    x, y, u = seen["contours"]
    np.testing.assert_allclose(x, np.linspace(-0.8, 0.8, 5))
    np.testing.assert_allclose(y, x)
    (at,) = unconstrained(idata, model, [(0, 0)])
    rng = np.random.default_rng(3)
    axes = [filter_normalized(model, at, rng) for _ in range(2)]
    sd = np.concatenate([np.tile([1, 2, 4], 10), np.ones(3)])
    constant = np.log(sd).sum() + 33 * np.log(2 * np.pi) / 2 - np.log(2 / np.pi) / 2
    for i, b in enumerate(y):
        for j, a in enumerate(x):
            q = at + a * axes[0] + b * axes[1]
            z, noise = q[:-1] / sd, np.exp(q[-1])
            quadratic = (z @ z + noise**2) / 2 - q[-1] + constant
            assert u[i, j] == pytest.approx(quadratic, rel=1e-6)
    np.testing.assert_array_equal(visual(drawn, "draws").get_xydata(), [[0, 0]])


def test_slice_says_what_is_wrong(transformed):
    model, idata = transformed
    fewer = idata["posterior"].to_dataset().drop_vars("slope")
    with pytest.raises(ValueError, match="'slope': sample with all free variables"):
        plots.plot_slice(DataTree.from_dict({"posterior": fewer}), model)
    with pytest.raises(ValueError, match="give one"):
        plots.plot_slice(idata, model, [(0, 0)] * 4)
    with pytest.raises(ValueError, match="the same"):
        plots.plot_slice(idata, model, [(0, 0), (0, 0)])
    with pytest.raises(ValueError, match="on one line"):
        plots.plot_slice(idata, model, [(0, 0), (0, 1), (0, 1)])
    with pm.Model() as batched:
        batch = pm.Minibatch(np.arange(10.0), batch_size=5)
        pm.Normal("y", pm.Normal("x"), 1, observed=batch, total_size=10)
    with pytest.raises(ValueError, match="Minibatch"):
        plots.plot_slice(idata, batched)


# All of them


def test_in_the_style_of_arviz(three_classes):
    """Its fonts are larger, and it takes half of the frames away."""
    import arviz

    p, y = three_classes
    with plt.rc_context():
        arviz.style.use("arviz-variat")
        running = visual(plots.plot_running_lppd(tree(log_likelihood=p[..., 0])), "plot")
        running.figure.canvas.draw()
        label, whole = running.yaxis.label.get_window_extent(), running.figure.bbox
        assert whole.y0 <= label.y0
        assert label.y1 <= whole.y1
        image = plots.plot_most_uncertain(tree(y_probability=p), np.zeros((40, 4)), 1)
        assert all(spine.get_visible() for spine in image.viz["plot"].item().spines.values())
        reliability = visual(plots.plot_reliability(tree(y, y_probability=p)), "plot")
        assert (
            reliability.xaxis.label.get_size() == reliability.xaxis.get_ticklabels()[0].get_size()
        )


def test_visuals_can_be_changed_left_out_and_drawn_on_other_panels():
    dt = tree(log_likelihood=np.zeros((2, 4, 3)))
    drawn = plots.plot_running_lppd(dt, visuals={"together": {"color": "red"}, "chains": False})
    assert visual(drawn, "together").get_color() == "red"
    assert "chains" not in drawn.viz
    before = visual(drawn, "plot")
    again = plots.plot_running_lppd(dt, plot_collection=drawn)
    assert again is drawn
    assert len(before.lines) == 4
    assert plots.plot_running_lppd(dt, figure_kwargs={"figsize": (3, 2)}).viz[
        "figure"
    ].item().get_size_inches().tolist() == [3, 2]
    with pytest.raises(ValueError, match="'chains', 'together'"):
        plots.plot_running_lppd(dt, visuals={"line": {}})
    with pytest.raises(ValueError, match='backend="matplotlib"'):
        plots.plot_running_lppd(dt, backend="bokeh")


@pytest.mark.parametrize("name", plots.__all__)
def test_docstring_is_complete(name):
    checks = {"GL03", "GL06", "GL07", "GL08", "PR01", "PR02", "PR04", "PR07", "RT01", "SS03"}
    errors = validate(f"pymc_sgmcmc.plots.{name}")["errors"]
    assert not [e for e in errors if e[0] in checks]
    assert "{common}" not in inspect.getdoc(getattr(plots, name))


def test_import_starts_neither_jax_nor_matplotlib():
    code = (
        "import sys, pymc; before = set(sys.modules); import pymc_sgmcmc;"
        "assert 'pymc_sgmcmc.plots' not in sys.modules; import pymc_sgmcmc.plots;"
        "new = {m.split('.')[0] for m in set(sys.modules) - before};"
        "assert not new & {'jax', 'matplotlib', 'arviz_plots'}, new;"
        "from pymc_sgmcmc import plots; plots.plot_slice"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_without_matplotlib(monkeypatch, three_classes):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    p, y = three_classes
    with pytest.raises(
        ImportError, match=r"Plots need matplotlib: pip install 'pymc-sgmcmc\[plots\]'"
    ):
        plots.plot_reliability(tree(y, y_probability=p))
