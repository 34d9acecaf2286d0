"""Plots of draws in few coordinates: the numbers that they draw, and their colours."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from xarray import DataArray

from pymc_sgmcmc.diagnostics import diffusion_map, principal_components
from pymc_sgmcmc.plots import plot_diffusion_map, plot_principal_components
from tests.diagnostics.trees import tree

PLOTS = {plot_diffusion_map: diffusion_map, plot_principal_components: principal_components}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def draws():
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, 60, 4)) * [3, 2, 1, 1]
    energy = rng.normal(size=(3, 60))
    scale = rng.normal(size=(3, 60))
    return tree(
        posterior={"w": (("entry",), w), "scale": ((), scale)},
        sample_stats={"potential_energy": ((), energy)},
    )


@pytest.mark.parametrize("plot", PLOTS)
def test_dots_are_the_coordinates_by_chain(draws, plot):
    drawn = plot(draws, "w", components=(3, 1), standardize=False)
    found = PLOTS[plot](draws, "w", n_components=3, standardize=False)["coordinate"]
    for chain in range(3):
        dots = drawn.get_viz("draws", sel={"chain": chain}).get_offsets()
        np.testing.assert_allclose(dots, found.sel(chain=chain, component=[3, 1]))
    assert {text.get_text() for text in drawn.get_viz("legend").get_texts()} == {
        f"chain {k}" for k in range(3)
    }


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("kind", ["potential_energy", "scale", "array", "transposed"])
def test_dots_have_the_colour_of_their_own_draw(draws, plot, kind):
    w = draws["posterior"]["w"][..., 0]
    color = {"array": w.values, "transposed": w.transpose("draw", "chain")}.get(kind, kind)
    expected = {
        "potential_energy": draws["sample_stats"]["potential_energy"],
        "scale": draws["posterior"]["scale"],
    }.get(kind, w)
    drawn = plot(draws, "w", color=color)
    dots = drawn.get_viz("draws")
    at = PLOTS[plot](draws, "w")["coordinate"].values.reshape(-1, 2)
    colour_at = dict(zip(map(tuple, at.round(9)), expected.values.ravel(), strict=True))
    found = [colour_at[tuple(place)] for place in np.asarray(dots.get_offsets()).round(9)]
    np.testing.assert_allclose(dots.get_array(), found)
    assert (np.diff(found) >= 0).all()  # the highest are drawn last
    label = drawn.get_viz("colorbar").ax.get_ylabel()
    assert label == {"array": "", "transposed": "w"}.get(kind, kind)


def test_axes_say_what_the_coordinates_are_worth(draws):
    share = principal_components(draws)["share"].values
    axes = plot_principal_components(draws).get_viz("plot")
    assert axes.get_xlabel() == f"component 1  ({share[0]:.0%} of the variance)"
    rate = diffusion_map(draws)["rate"].values
    axes = plot_diffusion_map(draws).get_viz("plot")
    assert axes.get_ylabel() == f"diffusion coordinate 2  (rate {rate[1]:.2g})"


@pytest.mark.parametrize("plot", PLOTS)
def test_errors_say_what_to_write(draws, plot):
    with pytest.raises(ValueError, match="color='w' is not one number for each draw"):
        plot(draws, color="w")
    with pytest.raises(ValueError, match="3 chains of 60 draws: give an array"):
        plot(draws, color=DataArray(np.zeros((3, 5)), dims=("chain", "draw")))
    for wrong in ((1, 1), (0, 1), 3, (1, 2, 3)):
        with pytest.raises(ValueError, match="components must be two numbers"):
            plot(draws, components=wrong)
