"""Summaries of predictions, made in blocks, are those of all draws of all rows."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr

from pymc_sgmcmc import predict
from pymc_sgmcmc.prediction import in_blocks

N, LEVELS = 103, (0.1, 0.5)


@pytest.fixture(scope="module")
def model():
    with pm.Model(coords={"column": ["a", "b"]}) as model:
        X = pm.Data("X", np.zeros((5, 2)), dims=("row", "column"))
        b = pm.Normal("b", dims="column")
        pm.Normal("y", X @ b, 0.5, observed=pm.Data("y_data", np.zeros(5)), dims="row")
    return model


@pytest.fixture(scope="module")
def posterior():
    b = np.random.default_rng(0).normal(size=(2, 20, 2))
    return xr.DataTree.from_dict(
        {"/posterior": xr.Dataset({"b": (("chain", "draw", "column"), b)})}
    )


@pytest.fixture
def rows(tmp_path):
    rng = np.random.default_rng(1)
    found = {"X": rng.normal(size=(N, 2)).astype("float32"), "y": rng.normal(size=N)}
    for name, x in found.items():
        np.save(tmp_path / f"{name}.npy", x)
    return {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in found}


@pytest.mark.parametrize("where", ["memory", "zarr"])
def test_summaries_are_those_of_all_draws(model, posterior, rows, where, tmp_path, monkeypatch):
    to = None
    if where == "zarr":
        pytest.importorskip("zarr")
        to = tmp_path / "summaries.zarr"
    whole = predict(posterior, {k: np.array(x) for k, x in rows.items()}, model=model)
    monkeypatch.setattr(in_blocks, "_AT_ONCE", 40 * 25)  # blocks of 25 rows
    found = predict(posterior, rows, model=model, quantiles=LEVELS, to=to)
    for name in ("y_mean", "y_sd"):
        x = whole["predictions"][name]
        for got, expected in (
            (found["mean"][name], x.mean(("chain", "draw"))),
            (found["sd"][name], x.std(("chain", "draw"))),
            (found["quantiles"][name], x.quantile(LEVELS, ("chain", "draw"))),
        ):
            assert got.sizes["row"] == N
            np.testing.assert_allclose(
                got.values, expected.transpose(*got.dims).values, rtol=1e-4, atol=1e-6
            )
    likelihood = np.exp(whole["log_likelihood"]["y"].astype(float)).mean(("chain", "draw"))
    np.testing.assert_allclose(found["log_predictive"]["y"], np.log(likelihood), rtol=1e-4)
    np.testing.assert_array_equal(found["quantiles"]["quantile"], LEVELS)


def test_what_summaries_can_not_be(model, posterior, rows, tmp_path):
    with pytest.raises(ValueError, match=r"'y', draws of outcomes"):
        predict(posterior, rows, model=model, quantiles=LEVELS, var_names=["y"])
    with pytest.raises(ValueError, match="quantiles must be greater than 0 and less than 1"):
        predict(posterior, rows, model=model, quantiles=[5])
    with pytest.raises(ValueError, match=r"to is where summaries go.*quantiles="):
        predict(posterior, rows, model=model, to="x.zarr")
    with pytest.raises(TypeError, match=r"source of rows on disk.*quantiles="):
        predict(posterior, {"X": ("rows.parquet", ["a", "b"])}, model=model)
    with pytest.raises(FileExistsError, match="exists: remove it"):
        predict(posterior, rows, model=model, quantiles=LEVELS, to=tmp_path)
