"""Regressions with thousands of effects: their data, simulated, and their models in PyMC."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from benchmarks.effects import collapsed
from benchmarks.effects.crossed import Crossed
from benchmarks.effects.moments import Moments


@dataclass(frozen=True)
class Case:
    """A model with its data, and what is known of its posterior.

    Attributes
    ----------
    model : pymc.Model
    effects, hyper : tuple of str
        Names of the effects and of all other variables to judge.
    truth : dict of str to ndarray
        The effects that the data were simulated from.
    batch_size : int
        Of our runs.
    exact : callable or None
        Computes the moments of the posterior, where there is a way.
    easier : callable or None
        Gives the same model in other coordinates, for a reference that mixes.
    crossed : Crossed or None
        Takes draws of it back.
    """

    model: pm.Model
    effects: tuple[str, ...]
    hyper: tuple[str, ...]
    truth: dict[str, np.ndarray]
    batch_size: int
    exact: Callable[[], Moments] | None = None
    easier: Callable[[], pm.Model] | None = None
    crossed: Crossed | None = None


def gaussian(groups: int) -> Case:
    """Centred varying intercepts, a normal likelihood, 100 rows a group; the answer is exact."""
    rng = np.random.default_rng(1)
    rows = 100 * groups
    g = rng.integers(groups, size=rows)
    a = rng.normal(1.0, 0.5, groups)
    y = rng.normal(a[g], 1.0)
    with pm.Model(coords={"group": range(groups)}) as model:
        mu, sigma, tau = pm.Normal("mu", 0, 5), pm.HalfNormal("sigma", 2), pm.HalfNormal("tau", 2)
        effect = pm.Normal("a", mu, tau, dims="group")
        pm.Normal("y", effect[g], sigma, observed=y)
    hyper = ("mu", "sigma", "tau")
    return Case(
        model,
        ("a",),
        hyper,
        {"a": a},
        max(1000, groups // 2),
        lambda: collapsed.moments(g, y, groups),
    )


def logit(groups: int) -> Case:
    """Centred varying intercepts and one slope, a Bernoulli likelihood, 100 rows a group."""
    rng = np.random.default_rng(2)
    rows = 100 * groups
    g, x = rng.integers(groups, size=rows), rng.normal(size=rows)
    a = rng.normal(-0.5, 0.8, groups)
    y = (rng.random(rows) < 1 / (1 + np.exp(-a[g] - 0.7 * x))).astype(int)
    with pm.Model(coords={"group": range(groups)}) as model:
        mu, tau, slope = pm.Normal("mu", 0, 2), pm.HalfNormal("tau", 1), pm.Normal("slope", 0, 1)
        effect = pm.Normal("a", mu, tau, dims="group")
        pm.Bernoulli("y", logit_p=effect[g] + slope * x, observed=y)
    return Case(model, ("a",), ("mu", "tau", "slope"), {"a": a}, 1000)


def poisson(levels: int) -> Case:
    """Two crossed factors, five levels of the one for three of the other, and an exposure."""
    rng = np.random.default_rng(3)
    rows, n_first = 250 * levels, levels * 5 // 8
    n_second = levels - n_first
    first, second = rng.integers(n_first, size=rows), rng.integers(n_second, size=rows)
    a, b = rng.normal(0, 0.5, n_first), rng.normal(0, 0.3, n_second)
    exposure = rng.uniform(0.5, 4, rows)
    y = rng.poisson(exposure * np.exp(0.3 + a[first] + b[second]))
    crossed = Crossed(2, {"a": "sd_a", "b": "sd_b"})

    def build(apart: bool) -> pm.Model:
        with pm.Model(coords={"first": range(n_first), "second": range(n_second)}) as model:
            pm.HalfNormal("sd_a", 1)
            pm.HalfNormal("sd_b", 1)
            b0, (of_first, of_second) = crossed.write(model, ("first", "second"), apart)
            rate = pm.math.exp(b0 + of_first[first] + of_second[second] + np.log(exposure))
            pm.Poisson("y", rate, observed=y)
        return model

    truth, hyper = {"a": a, "b": b}, ("b0", "sd_a", "sd_b")
    easier = partial(build, apart=True)
    return Case(build(False), tuple(truth), hyper, truth, 1000, easier=easier, crossed=crossed)


def negative_binomial(levels: int) -> Case:
    """Sales of items in stores: crossed intercepts, a price slope for each item.

    There are 1,250 rows a level, but items are sold very unequally: some have a handful.
    """
    rng = np.random.default_rng(23)
    rows, stores = 1250 * levels, levels * 3 // 8
    items = levels - stores
    st = rng.integers(stores, size=rows)
    it = rng.choice(items, rows, p=rng.dirichlet(np.ones(items) * 0.8))
    price = rng.normal(size=rows)
    promo = rng.random(rows) < 0.1
    days = rng.integers(1, 8, rows)
    a_s, a_i = rng.normal(0, 0.4, stores), rng.normal(0, 0.8, items)
    b_i = rng.normal(-0.7, 0.3, items)
    mu = days * np.exp(-0.5 + a_s[st] + a_i[it] + b_i[it] * price + 0.3 * promo)
    y = rng.negative_binomial(2, 2 / (2 + mu))
    crossed = Crossed(2, {"store_eff": "sd_store", "item_eff": "sd_item"})

    def build(apart: bool) -> pm.Model:
        with pm.Model(coords={"store": range(stores), "item": range(items)}) as model:
            pm.HalfNormal("sd_store", 1)
            pm.HalfNormal("sd_item", 1)
            sb, mb = pm.HalfNormal("sd_slope", 1), pm.Normal("mu_slope", 0, 1)
            b0, (store, item) = crossed.write(model, ("store", "item"), apart)
            slope = pm.Normal("slope", mb, sb, dims="item")
            g, alpha = pm.Normal("promo", 0, 1), pm.HalfNormal("alpha", 3)
            linear = b0 + store[st] + item[it] + slope[it] * price + g * promo + np.log(days)
            pm.NegativeBinomial("y", mu=pm.math.exp(linear), alpha=alpha, observed=y)
        return model

    hyper = ("b0", "sd_store", "sd_item", "sd_slope", "mu_slope", "promo", "alpha")
    truth = {"store_eff": a_s, "item_eff": a_i, "slope": b_i}
    easier = partial(build, apart=True)
    return Case(build(False), tuple(truth), hyper, truth, 500, easier=easier, crossed=crossed)


def choice(people: int) -> Case:
    """Random-coefficient logit: 25 choices of each person among four, tastes not centred."""
    rng = np.random.default_rng(16)
    times, alternatives = 25, 4
    rows = people * times
    person = np.repeat(np.arange(people), times)
    X = rng.normal(size=(rows, alternatives, 2))
    half = np.linalg.cholesky([[0.5, 0.2], [0.2, 0.3]])
    standard = rng.normal(size=(people, 2))
    tastes = np.array([-1.0, 0.7]) + standard @ half.T
    utility = np.array([0, 0.5, -0.3, 0.2]) + np.einsum("nak,nk->na", X, tastes[person])
    y = (utility + rng.gumbel(size=(rows, alternatives))).argmax(1)
    coords = {"alt": range(alternatives - 1), "person": range(people), "k": range(2)}
    with pm.Model(coords=coords) as model:
        alpha, mu = pm.Normal("alpha", 0, 2, dims="alt"), pm.Normal("mu", 0, 1, dims="k")
        sd_dist = pm.Exponential.dist(1, shape=2)
        chol, _, _ = pm.LKJCholeskyCov("chol", n=2, eta=2, sd_dist=sd_dist)
        z = pm.Normal("z", 0, 1, dims=("person", "k"))
        beta = mu + pt.dot(z, chol.T)
        price, quality = pm.Data("price", X[:, :, 0]), pm.Data("q", X[:, :, 1])
        who = pm.Data("pid", person)
        utilities = [
            (alpha[j - 1] if j else 0) + beta[who, 0] * price[:, j] + beta[who, 1] * quality[:, j]
            for j in range(alternatives)
        ]
        pm.Categorical("y", p=pm.math.softmax(pm.math.stack(utilities).T, axis=1), observed=y)
    return Case(model, ("z",), ("alpha", "mu", "chol_stds"), {"z": standard}, 512)


# Each makes a case of so many levels of all its factors.
CASES: dict[str, Callable[[int], Case]] = {
    "gaussian": gaussian,
    "logit": logit,
    "poisson": poisson,
    "negative_binomial": negative_binomial,
    "choice": choice,
}
