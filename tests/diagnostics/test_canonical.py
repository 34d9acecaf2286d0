"""Removing symmetries changes no prediction, and finds planted permutations and signs."""

import itertools

import arviz_stats
import numpy as np
import pytest
from scipy.stats import special_ortho_group
from xarray import Dataset

from pymc_sgmcmc.diagnostics import canonicalize, layer_summary, symmetry_count
from pymc_sgmcmc.diagnostics.clusters import _assign, separating_normal
from pymc_sgmcmc.diagnostics.network import find_network, values
from tests.diagnostics.trees import network, outputs, scramble, tree

X = np.random.default_rng(9).normal(size=(7, 3))
ODD = {"tanh": True, "relu": False}


@pytest.mark.parametrize("reference", ["draw", "clusters"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", [(4,), (4, 3), (3, 4, 3)])
def test_predictions_do_not_change_and_weights_do(hidden, activation, reference):
    idata, layers = network(hidden, noise=1.0, raw=True)
    idata = scramble(idata, layers, ODD[activation])
    done = canonicalize(idata, layers, activation=activation, reference=reference)
    before, after = (outputs(x, layers, X, activation) for x in (idata, done))
    np.testing.assert_allclose(after, before, rtol=1e-12, atol=1e-12)
    posterior, old = done["posterior"], idata["posterior"]
    assert not np.allclose(posterior["W0"], old["W0"])
    # What W = W_raw * scale was still is.
    np.testing.assert_allclose(posterior["W0"], posterior["W0_raw"] * posterior["scale"])
    assert (posterior["scale"] > 0).all()
    for k in range(len(hidden)):
        place = done["symmetries"][f"place_hidden_{k}"].values
        assert (np.sort(place) == np.arange(hidden[k])).all()


@pytest.mark.parametrize("reference", ["draw", "clusters"])
@pytest.mark.parametrize("by_chain", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", [(5,), (5, 4), (4, 5, 3)])
def test_planted_permutations_and_signs_are_found(hidden, activation, by_chain, reference):
    odd = ODD[activation]
    idata, layers = network(hidden, draws=(3, 8), noise=0.02, raw=True)
    mixed = scramble(idata, layers, odd, by_chain)
    np.testing.assert_allclose(
        outputs(mixed, layers, X, activation), outputs(idata, layers, X, activation)
    )
    found = canonicalize(mixed, layers, activation=activation, reference=reference)["posterior"]
    # One arrangement for all draws: what is left is the noise.
    assert max(float(mixed["posterior"][w].std(("chain", "draw")).max()) for w, _ in layers) > 0.5
    for name in (name for pair in layers for name in pair):
        assert float(found[name].std(("chain", "draw")).max()) < 0.05
    scales = (np.sort(x["scale"]) for x in (found, idata["posterior"]))
    np.testing.assert_array_equal(*scales)


def test_the_reference_draw_stays_and_all_others_come_to_it():
    idata, layers = network((4, 3), draws=(2, 6))
    mixed = scramble(idata, layers)
    for reference in (1, 3), "draw":
        done = canonicalize(mixed, layers, reference=reference)
        chain, draw = (0, 5) if reference == "draw" else reference
        for name in (name for pair in layers for name in pair):
            kept = mixed["posterior"][name].values[chain, draw]
            same = np.broadcast_to(kept, done["posterior"][name].shape)
            np.testing.assert_array_equal(done["posterior"][name], same)
        assert done["posterior"].attrs["canonical_reference"] == f"chain {chain}, draw {draw}"


def test_the_reference_is_the_best_draw():
    idata, layers = network((3,), draws=(2, 6), noise=1.0)
    energy = np.ones((2, 6))
    energy[1, 2], energy[0, 0] = -3, np.nan
    for name, sign in (("potential_energy", 1), ("lp", -1)):
        idata["sample_stats"] = tree(sample_stats={name: ((), sign * energy)})["sample_stats"]
        done = canonicalize(idata, layers)
        assert done["posterior"].attrs["canonical_reference"] == "chain 1, draw 2"
        assert (done["symmetries"]["place_hidden_0"][1, 2] == np.arange(3)).all()


def test_places_and_signs_lead_back():
    idata, layers = network((4, 3), noise=0.5)
    idata = scramble(idata, layers)
    done = canonicalize(idata, layers)
    assert (done["symmetries"]["sign_hidden_0"] < 0).any()
    back = done["posterior"].to_dataset().copy(deep=True)
    for chain, draw in np.ndindex(2, 5):
        for k in range(2):
            place = done["symmetries"][f"place_hidden_{k}"].values[chain, draw]
            sign = done["symmetries"][f"sign_hidden_{k}"][chain, draw]
            for x in back.data_vars.values():
                if f"hidden_{k}" in x.dims:
                    one = (x[chain, draw] * sign).isel({f"hidden_{k}": np.argsort(place)})
                    x[chain, draw] = one.transpose(*x.dims[2:])
    for name in back:
        np.testing.assert_array_equal(back[name], idata["posterior"][name])


@pytest.mark.parametrize("reference", ["draw", "clusters"])
@pytest.mark.parametrize("hidden", [(5,), (4, 3)])
def test_twice_is_once(hidden, reference):
    idata, layers = network(hidden, draws=(2, 20), noise=0.05)
    once = canonicalize(scramble(idata, layers), layers, reference=reference)
    twice = canonicalize(once, layers, reference=reference)
    assert once["posterior"].to_dataset().identical(twice["posterior"].to_dataset())
    assert (once["symmetries"]["sign_hidden_0"] < 0).any()
    assert (twice["symmetries"]["sign_hidden_0"] > 0).all()


def test_copies_of_one_network_become_one_without_clear_clusters():
    # Draws as different as strangers: still each orbit has one representative.
    idata, layers = network((6, 5), noise=2.0)
    mixed = scramble(idata, layers)
    # Keep the reference, to which both are aligned, as it is.
    for name in idata["posterior"].data_vars:
        mixed["posterior"][name][0, -1] = idata["posterior"][name][0, -1]
    a, b = (canonicalize(x, layers)["posterior"].to_dataset() for x in (idata, mixed))
    assert not mixed["posterior"].to_dataset().equals(idata["posterior"].to_dataset())
    assert a.equals(b)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_one_hidden_layer_is_aligned_as_well_as_can_be(activation):
    idata, layers = network((3,), noise=2.0)
    done = canonicalize(idata, layers, activation=activation)["posterior"]

    def distance(draw, places, signs):
        total = 0.0
        for name, axis in (("W0", 1), ("b0", 0), ("W1", 0), ("b1", None)):
            x, r = (done[name].values[c] for c in (draw, (0, 4)))
            if axis is not None:
                shape = [-1 if i == axis else 1 for i in range(x.ndim)]
                x = x.take(places, axis) * np.reshape(signs, shape)
            total += ((x - r) ** 2).sum()
        return total

    flips = list(itertools.product([1, -1], repeat=3)) if activation == "tanh" else [(1, 1, 1)]
    for draw in np.ndindex(2, 5):
        all_of_them = [
            distance(draw, list(p), s) for p in itertools.permutations(range(3)) for s in flips
        ]
        assert len(all_of_them) == symmetry_count(3, activation)
        assert distance(draw, [0, 1, 2], (1, 1, 1)) == pytest.approx(min(all_of_them))


def test_no_change_of_one_of_several_layers_would_bring_a_draw_nearer():
    idata, layers = network((4, 4), draws=(2, 20), noise=2.0)
    done = canonicalize(idata, layers, activation="relu")["posterior"]
    for k in range(2):
        unit = f"hidden_{k}"
        distances = [
            sum(
                ((x - done[name].values[0, -1]) ** 2).reshape(2, 20, -1).sum(-1)
                for name in done.data_vars
                for x in [done[name].isel({unit: list(places)}, missing_dims="ignore").values]
            )
            for places in itertools.permutations(range(4))
        ]
        np.testing.assert_allclose(distances[0], np.min(distances, axis=0))


def test_units_are_compared_in_double_precision():
    idata, layers = network((4,))
    posterior = idata["posterior"].to_dataset().astype("float32")
    arrays = {name: values(x) for name, x in posterior.data_vars.items()}
    units = find_network(posterior, layers).units(arrays, 0, known=0)
    assert units.dtype == "float64"
    assert units.shape == (10, 4, 1 + 3 + 2)


def test_chains_and_draws_can_be_the_last_dimensions():
    idata, layers = network((4, 3), noise=0.3)
    expected = canonicalize(idata, layers)["posterior"]
    other = renamed(idata)
    other["posterior"].dataset = idata["posterior"].to_dataset().transpose(..., "draw", "chain")
    done = canonicalize(other, layers)["posterior"]
    assert done["W1"].dims == ("hidden_0", "hidden_1", "draw", "chain")
    assert (
        done.to_dataset()
        .transpose(*expected["W1"].dims, ...)
        .broadcast_equals(expected.to_dataset().transpose(*expected["W1"].dims, ...))
    )


@pytest.mark.parametrize("reference", ["draw", "clusters"])
def test_rhat_of_weights_falls(reference):
    idata, layers = network((4,), draws=(4, 25), noise=0.1)
    mixed = scramble(idata, layers, by_chain=True)
    done = canonicalize(mixed, layers, reference=reference)
    before, after = (arviz_stats.rhat(x["posterior"].to_dataset())["W0"] for x in (mixed, done))
    assert before.max() > 2
    assert after.max() < 1.2
    before, after = (layer_summary(x, layers) for x in (mixed, done))
    assert (before["between"][0] > 5 * before["within"][0]).all()
    assert (after["between"][0] < after["within"][0]).all()
    np.testing.assert_allclose(before["norm_rhat"], after["norm_rhat"], rtol=0.01)


def test_several_outputs_single_outputs_and_no_bias():
    idata, _ = network((4, 3), n_out=2, noise=0.05)
    posterior = idata["posterior"].to_dataset()
    posterior["V"] = posterior["W2"][..., 0] * 0.7 + 1
    idata["posterior"] = tree(posterior={"x": ((), np.zeros((2, 5)))})["posterior"]
    idata["posterior"].dataset = posterior
    layers = [("W0", None), ("W1", "b1"), [("W2", "b2"), ("V", None)]]
    mixed = scramble(idata, [("W0", "b0"), ("W1", "b1"), ("W2", "b2")])
    done = canonicalize(mixed, layers)
    for head in ("W2", "V"):
        before, after = (outputs(x, [*layers[:2], (head, None)], X) for x in (mixed, done))
        np.testing.assert_allclose(after, before, atol=1e-12)
    assert float(done["posterior"]["V"].std(("chain", "draw")).max()) < 0.2
    # A bias that is not named, but has the units' dimension, goes along with their order only.
    assert np.allclose(
        np.sort(abs(done["posterior"]["b0"])), np.sort(abs(mixed["posterior"]["b0"]))
    )


def test_dims_that_nobody_named_and_other_groups_and_attributes():
    idata, layers = network((4,), noise=0.05)
    mixed = scramble(idata, layers)
    posterior = mixed["posterior"].to_dataset()
    unnamed = Dataset(
        {
            n: (("chain", "draw", *(f"{n}_dim_{i}" for i in range(x.ndim - 2))), x.values)
            for n, x in posterior.data_vars.items()
        },
        coords={"chain": [3, 5], "draw": np.arange(5)},
        attrs={"temperature": 1.0},
    ).astype("float32")
    mixed["posterior"] = tree(posterior={"x": ((), np.zeros((2, 5)))})["posterior"]
    mixed["posterior"].dataset = unnamed
    mixed["constant_data"] = tree(posterior={"x": ((), np.zeros((2, 5)))})["posterior"]
    kept = unnamed.copy(deep=True)
    done = canonicalize(mixed, layers, reference=(5, 2))
    assert mixed["posterior"].to_dataset().identical(kept)  # the input is left alone
    assert done["posterior"]["W0"].dtype == "float32"
    assert float(done["posterior"]["W0"].std(("chain", "draw")).max()) < 0.15
    assert done["posterior"].attrs["temperature"] == 1.0
    assert "constant_data" in done.children
    assert done["symmetries"]["place_W0_dim_1"].shape == (2, 5, 4)
    assert list(done["symmetries"]["chain"]) == [3, 5]


def test_clusters_use_their_seed_and_stop_before_they_fill_the_memory(monkeypatch):
    idata, layers = network((4,), noise=1.0)
    a, b = (canonicalize(idata, layers, reference="clusters", random_seed=3) for _ in range(2))
    assert a["posterior"].to_dataset().identical(b["posterior"].to_dataset())
    monkeypatch.setattr("pymc_sgmcmc.diagnostics.clusters._MOST_EDGES", 50)
    with pytest.raises(ValueError, match=r"slice\(None, None, 3\)"):
        canonicalize(idata, layers, reference="clusters")


def test_the_hyperplane_separates_two_opposite_clouds():
    rng = np.random.default_rng(0)
    Q = special_ortho_group(4, seed=1).rvs()
    points = (rng.normal(size=(300, 4)) * [0.1, 1, 1, 1] + [2, 0, 0, 0]) @ Q
    sign = rng.choice([-1, 1], 300)
    side = np.sign(points * sign[:, None] @ separating_normal(points * sign[:, None], rng)) * sign
    assert abs(side.sum()) == 300


def test_labels_go_to_the_clearest_vote_first():
    share = np.array([[[0.9, 0.1, 0.0], [0.8, 0.15, 0.05], [0.2, 0.2, 0.6]]])
    assert _assign(share).tolist() == [[0, 1, 2]]
    share = np.array([[[0.7, 0.3, 0.0], [0.8, 0.15, 0.05], [0.9, 0.02, 0.08]]])
    assert _assign(share).tolist() == [[1, 2, 0]]


@pytest.mark.parametrize(
    ("hidden", "activation", "count"),
    [(3, "tanh", 48), ([2, 3], "tanh", 2 * 4 * 6 * 8), ([3], "relu", 6), ([2, 3], "erf", 384)],
)
def test_symmetry_count(hidden, activation, count):
    assert symmetry_count(hidden, activation) == count


def test_symmetry_count_is_exact():
    assert symmetry_count(64) == symmetry_count(64, "relu") * 2**64
    assert symmetry_count(64) % 61 == 0
    for hidden in ([], [3, 0]):
        with pytest.raises(ValueError, match="hidden must be"):
            symmetry_count(hidden)
    with pytest.raises(ValueError, match="'Tanh' is not known"):
        symmetry_count(3, "Tanh")


def renamed(idata, **names):
    posterior = idata["posterior"].to_dataset().rename(names)
    result = idata.copy()
    result["posterior"] = tree(posterior={"x": ((), np.zeros((2, 5)))})["posterior"]
    result["posterior"].dataset = posterior
    return result


def test_errors():
    idata, layers = network((3, 3), n_in=3)
    (W0, b0), (W1, _), (W2, b2) = layers
    for wrong in ("W0", [layers[0]], ["W0", "W1"], [layers[0], (W1, 3)], [[layers[0]], layers[1]]):
        with pytest.raises(ValueError, match="layers must be the"):
            canonicalize(idata, wrong)
    with pytest.raises(ValueError, match=r"'Q', which are missing.*'W0'"):
        canonicalize(idata, [("Q", b0), *layers[1:]])
    with pytest.raises(ValueError, match="twice"):
        canonicalize(idata, [layers[0], layers[0], layers[1]])
    with pytest.raises(ValueError, match=r"'b0' must have dims \(chain, draw, in, out\)"):
        canonicalize(idata, [(b0, W0), *layers[1:]])
    idata["posterior"]["s"] = idata["posterior"]["b2"][..., 0]
    with pytest.raises(ValueError, match=r"'s' must have dims \(chain, draw, in, ...\)"):
        canonicalize(idata, [*layers[:2], ("s", None)])
    with pytest.raises(ValueError, match="'W1' leads to 3 units, but 'b2' has 2"):
        canonicalize(idata, [layers[0], (W1, b2), (W2, None)])
    with pytest.raises(ValueError, match='reference must be "draw" or "clusters", or a'):
        canonicalize(idata, layers, reference="best")
    with pytest.raises(ValueError, match=r"\(9, 0\) is no \(chain, draw\)"):
        canonicalize(idata, layers, reference=(9, 0))
    with pytest.raises(ValueError, match="'swoosh' is not known"):
        canonicalize(idata, layers, activation="swoosh")
    with pytest.raises(ValueError, match="no group 'prior'"):
        canonicalize(idata, layers, group="prior")
    broken = idata.copy(deep=True)
    broken["posterior"]["W1"][0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="'W1' has values that are not finite"):
        canonicalize(broken, layers)


def test_layers_that_share_a_dimension_are_refused():
    idata, layers = network((3, 3), n_in=3)
    posterior = idata["posterior"].to_dataset()
    shared = {"b1": posterior["b1"].rename(hidden_1="hidden_0")}
    other = renamed(idata)
    other["posterior"].dataset = posterior.assign(shared)
    with pytest.raises(ValueError, match="'hidden_0' is of more than one layer"):
        canonicalize(other, layers)
    shared = {"b2": posterior["b2"].isel(output=[0, 1, 1]).rename(output="hidden_1")}
    other = renamed(idata)
    other["posterior"].dataset = posterior.drop_vars("b2").assign(shared)
    shared = {"W2": posterior["W2"].isel(output=[0, 1, 1]).rename(output="hidden_0")}
    other["posterior"].dataset = posterior.drop_vars(["W2", "b2"]).assign(shared)
    with pytest.raises(ValueError, match="'hidden_0' is of more than one layer"):
        canonicalize(other, [*layers[:2], ("W2", None)])
