"""Draws are predicted with the model that they were drawn from, or it is told that they are not."""

import arviz as az
import numpy as np
import pymc as pm
import pytest

from pymc_sgmcmc import ATMC, nn, predict, sample

STORES = ["a", "b", "c", "d"]
rng = np.random.default_rng(0)
CODES = rng.integers(4, size=200)


def effects(stores=STORES):
    with pm.Model(coords={"store": stores}) as model:
        effect = pm.Normal("effect", 0, 1, dims="store")
        code = pm.Data("code", CODES % len(stores))
        pm.Normal("y", effect[code], 1, observed=CODES - 1.5)
    return model


def network(hidden=(5, 5), **settings):
    X = np.random.default_rng(1).normal(size=(100, 3))
    with pm.Model() as model:
        nn.regression(nn.mlp(pm.Data("X", X), hidden, **settings), X[:, 0])
    return model


def drawn(model):
    return sample(
        5, tune=5, chains=2, step=ATMC(batch_size=20, step_size=0.01, model=model), model=model,
        random_seed=1, progressbar=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def of_effects():
    return drawn(effects())


@pytest.mark.parametrize(
    ("stores", "message"),
    [
        (["a", "c", "d"], r"4 entries along 'store', and the model has 3: 'b' is not in the model"),
        (["a", "b", "c", "e"], r"'d' at \[3\] along 'store', where the model has 'e'"),
        (["b", "a", "c", "d"], r"'a' at \[0\] along 'store', where the model has 'b'"),
    ],
)
def test_categories_that_moved_are_refused(of_effects, stores, message):
    with pytest.raises(ValueError, match=message):
        predict(of_effects, {"code": [1]}, model=effects(stores))


def test_the_same_categories_are_taken_from_a_file(of_effects, tmp_path):
    of_effects.to_netcdf(tmp_path / "draws.nc")
    again = az.from_netcdf(tmp_path / "draws.nc")
    new = [predict(x, {"code": [1]}, model=effects()) for x in (of_effects, again)]
    values = [x["predictions"]["y_mean"].values for x in new]
    np.testing.assert_array_equal(*values)


@pytest.mark.slow
def test_another_network_is_refused_or_warned_of():
    idata = drawn(network())
    rows = {"X": np.zeros((2, 3))}
    predict(idata, rows, model=network())
    with pytest.raises(ValueError, match=r"'hidden_1_weights_raw' have 5 entries .* model has 4"):
        predict(idata, rows, model=network((4, 5)))
    with pytest.warns(UserWarning, match="The draws have 'hidden_2_.* which the model does not"):
        predict(idata, rows, model=network((5,)))
