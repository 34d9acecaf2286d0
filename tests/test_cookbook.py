"""Every recipe of docs/cookbook.md runs, and finds what was simulated."""

import re
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.weekly, pytest.mark.filterwarnings("ignore")]

PAGE = (Path(__file__).parent.parent / "docs/cookbook.md").read_text()
IMPORTS, *RECIPES = re.split(r"^## ", PAGE, flags=re.M)


def code(text):
    """Cells of a part of the page, one after the other."""
    return "\n".join(re.findall(r"```\{code-cell\}\n(.*?)```", text, re.S))


def run(title, replaced="", by=""):
    """Names that a recipe leaves, with something in its code replaced."""
    (recipe,) = (recipe for recipe in RECIPES if recipe.startswith(title))
    names: dict = {}
    exec(code(IMPORTS), names)
    names["sample"] = quietly(names["sample"])
    text = code(recipe)
    assert replaced in text
    exec(text.replace(replaced, by), names)
    return names


def quietly(sample):
    return lambda *a, **kw: sample(*a, **kw, progressbar=False)


def z(names, variable, truth):
    """How far means are from the truth, in posterior standard deviations."""
    draws = names["idata"].posterior[variable]
    return (draws.mean(("chain", "draw")).values - truth) / draws.std(("chain", "draw")).values


def test_there_are_twelve():
    assert len(RECIPES) == 12


def test_mixed_effects():
    names = run("Mixed effects", "size=1_000_000", by="size=200_000")
    for variable, truth in {"intercept": names["level"], "slope": names["elasticity"]}.items():
        posterior = names["idata"].posterior[variable]
        by_number = posterior.sel(region=names["regions"])
        away = by_number.mean(("chain", "draw")).values - truth
        assert np.sqrt(np.mean(np.square(away / by_number.std(("chain", "draw")).values))) < 1.2
    assert names["diagnose"](names["idata"]).trustworthy


def test_poststratification():
    names = run("Polls")
    assert abs(float(names["share"].mean()) - names["in_truth"]) < 4 * float(names["share"].std())
    assert abs(names["yes"].mean() - names["in_truth"]) > 0.05  # what was asked is far off


@pytest.mark.parametrize(
    ("title", "truths"),
    [
        ("Survival", {"shape": 1.5, "intercept": 1.0, "slope": -0.5}),
        ("Counts", {"intercept": -1.5, "slope": 0.4, "alpha": 2.0}),
        ("Choices", {"taste": [-1.0, 0.6]}),
        ("Several outcomes", {"slope": 1.5, "a": 0.5, "b": -1.0}),
        ("Missing values", {"income_slope": 0.8, "age_slope": -0.5, "intercept": 1.0}),
        ("A class that is rare", {"intercept": -7.0, "slope": 1.2}),
    ],
)
def test_coefficients_are_found(title, truths):
    names = run(title)
    for variable, truth in truths.items():
        assert (np.abs(z(names, variable, truth)) < 4).all(), variable
    assert names["diagnose"](names["idata"]).trustworthy


def test_recommender():
    names = run("A recommender")
    error = np.sqrt(np.mean((names["mean"] - names["rating"][names["new"]]) ** 2))
    assert 0.48 < error < 0.54  # the noise is 0.5


def test_weights():
    names = run("Weights of rows")
    assert abs(float(names["idata"].posterior["mean"].mean()) - 2) < 0.05
    assert abs(names["y"].mean() - 2) > 0.5


def test_new_data():
    names = run("New data arriving")
    assert (np.abs(names["apart"]) < 0.3).all()


def test_embeddings():
    names = run("Embeddings")
    error = np.sqrt(np.mean((names["mean"] - names["y"][names["new"]]) ** 2))
    assert error < 1.2 * 0.3 / 1.3


def test_a_file_with_categories(tmp_path, monkeypatch):
    """The example of docs/data.md and README.md, on files of that kind."""
    import pandas as pd

    rng = np.random.default_rng(0)
    towns = np.array([f"town {i:02}" for i in range(30)])
    effect = 0.3 * rng.normal(size=30)

    def houses(n):
        town = rng.integers(30, size=n)
        size = np.exp(rng.normal(4.5, 0.4, n))
        price = np.exp(5 + effect[town] + 0.8 * np.log(size) + 0.2 * rng.normal(size=n))
        return pd.DataFrame({"price": price, "size": size, "region": towns[town]})

    monkeypatch.chdir(tmp_path)
    houses(20_000).to_csv("houses.csv")
    ahead = houses(500)
    ahead.drop(columns="price").to_csv("houses_to_come.csv")
    page = (Path(__file__).parent.parent / "docs/data.md").read_text()
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(block.replace("chains=4", "chains=4, random_seed=1, progressbar=False"), names)
    assert names["diagnose"](names["idata"]).trustworthy
    assert (np.abs(z(names, "slope", 0.8)) < 4).all()
    error = np.log(ahead.price) - names["log_price"].values
    assert abs(error.std() - 0.2) < 0.03
