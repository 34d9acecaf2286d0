"""The steps of examples/symmetry.py, on what was planted."""

import sys

import numpy as np
from xarray import Dataset, DataTree

from tests.samplers import EXAMPLES

sys.path.append(str(EXAMPLES))

import symmetry as example

X = np.linspace(-2, 2, 40)


def planted(kinds, seed=0):
    """Draws of each chain around one of some networks, its units in any order, with any signs."""
    rng = np.random.default_rng(seed)
    networks = rng.normal(0, 2, size=(max(kinds) + 1, 3, 3))  # W1, b1, W2 of three units
    content = {"W1": [], "b1": [], "W2": []}
    for kind in kinds:
        turned = networks[kind][:, rng.permutation(3)] * rng.choice([-1, 1], 3)
        draws = turned + rng.normal(0, 0.005, size=(8, 3, 3))
        for k, name in enumerate(content):
            content[name].append(draws[:, k])
    dims = {"W1": ("input", "hidden"), "b1": ("hidden",), "W2": ("hidden",)}
    posterior = {k: (("chain", "draw", *dims[k]), np.array(v)) for k, v in content.items()}
    posterior["W1"] = posterior["W1"][0], posterior["W1"][1][:, :, None, :]
    shape = len(kinds), 8
    posterior |= {
        name: (("chain", "draw"), np.full(shape, x)) for name, x in (("b2", 0), ("sd", 0.1))
    }
    return DataTree.from_dict({"posterior": Dataset(posterior)})


def test_modes_are_functions_whatever_the_order_of_units():
    kinds = [2, 0, 0, 1, 0, 2, 0]
    found = example.modes(planted(kinds), X)
    assert found.tolist() == [1, 0, 0, 2, 0, 1, 0]


def test_discovery_counts_modes_and_those_seen_once():
    seen, chance = example.discovery(np.array([0, 0, 1, 2, 1]))
    assert seen.tolist() == [1, 1, 2, 3, 3]
    np.testing.assert_allclose(chance, [1, 0, 1 / 3, 2 / 4, 1 / 5])


def test_density_by_chains_is_that_of_their_mixture():
    rng = np.random.default_rng(0)
    density = rng.normal(size=(4, 5, 6))
    scores = example.by_chains(density, [1, 4], rng, repeats=400)
    together = np.log(np.exp(density).mean((0, 1))).mean()
    np.testing.assert_allclose(scores[:, 1], together)
    alone = np.log(np.exp(density).mean(1)).mean(1)
    assert set(scores[:, 0].round(9)) == set(alone.round(9))
    error = alone.std() / 20
    assert abs(scores[:, 0].mean() - alone.mean()) < 5 * error


def test_sets_are_standardised_and_split():
    for name, rows in (("sinusoidal", 150), ("heaps", 400)):
        train, test = example.load(name)
        assert (train.shape[1], test.shape[1]) == (rows * 4 // 5, rows // 5)
        both = np.concatenate([train, test], axis=1)
        np.testing.assert_allclose(both.mean(1), 0, atol=1e-12)
        np.testing.assert_allclose(both.std(1), 1)
