"""Runs on rows that stay on disk are those on rows in memory, whatever the order of the file."""

import threading

import numpy as np
import pymc as pm
import pytest

from pymc_sgmcmc import ATMC, JAX, SGHMC, SGLD, WarmUp, sample
from pymc_sgmcmc.engines import read_ahead
from pymc_sgmcmc.streaming.stored import StoredRows

N, D, B = 3_000, 3, 50


@pytest.fixture(scope="module")
def rows():
    """Rows sorted by their outcome: their first hundred have the same."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)).astype("float32")
    y = (rng.random(N) < 1 / (1 + np.exp(-X @ [1, 0, -1]))).astype("int8")
    order = np.argsort(y, kind="stable")
    return X[order], y[order], rng.integers(0, 5, N).astype("int16")


@pytest.fixture
def files(rows, tmp_path):
    for name, x in zip(("X", "y", "g"), rows, strict=True):
        np.save(tmp_path / f"{name}.npy", x)
    return {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("X", "y", "g")}


def logistic(X, y, g):
    with pm.Model() as model:
        b, a = pm.Normal("b", 0, 2, shape=D), pm.Normal("a", shape=5)
        eta = pm.Data("X", X) @ b + a[pm.Data("g", g)]
        pm.Bernoulli("y", logit_p=eta, observed=y)
    return model


def template(rows, n=100):
    return logistic(*(x[:n] for x in rows))


def draws(model, sampler=ATMC, chains=2, tune=20, n=20, **settings):
    step = sampler(model=model, **({"batch_size": B} | settings))
    idata = sample(
        n, tune=tune, chains=chains, step=step, model=model, random_seed=1, progressbar=False
    )
    return idata["posterior"]["b"].values, idata


_WEEKLY = (pytest.mark.slow, pytest.mark.weekly)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ["numba", pytest.param("jax", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        pytest.param({"dtype": "float32", "warmup": WarmUp(control_variate=False)}, marks=_WEEKLY),
        pytest.param({"batch_size": N // 5}, marks=_WEEKLY),  # without replacement
        {"sampler": SGLD, "batches": "sweeps", "step_size": 0.01, "steps_per_draw": 130},
    ],
    ids=["default", "float32", "without replacement", "sweeps"],
)
def test_draws_are_those_of_rows_in_memory(rows, files, engine, settings, monkeypatch):
    in_memory, _ = draws(logistic(*rows), engine=engine, **settings)
    # Batches of 37 updates at a time: draws are cut where they come.
    monkeypatch.setattr(read_ahead, "_UPDATES", 37)
    on_disk, idata = draws(template(rows), engine=engine, data=files, **settings)
    np.testing.assert_array_equal(on_disk, in_memory)
    assert idata["posterior"].attrs["n_rows"] == N


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", ["jax", pytest.param("numba", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_sources_in_memory_are_taken_as_they_are(rows, engine):
    in_memory, _ = draws(logistic(*rows), engine=engine)
    X, y, g = rows
    step = ATMC(model=template(rows), batch_size=B, engine=engine, data={"X": X, "y": y, "g": g})
    assert step.plan.potential.stored is None
    assert step.plan.potential.row_arrays()[0] is X  # float32 in a run in float64
    idata = sample(
        20, tune=20, chains=2, step=step, model=step.plan.potential.model, random_seed=1,
        progressbar=False,
    )  # fmt: skip
    np.testing.assert_array_equal(idata["posterior"]["b"].values, in_memory)


@pytest.mark.parametrize("engine", ["jax", pytest.param("numba", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_draws_made_in_parts_have_the_same_statistics(rows, files, engine, monkeypatch):
    settings = dict(sampler=SGHMC, step_size=0.01, steps_per_draw=20, tune=0, n=8)
    _, whole = draws(template(rows), engine=engine, data=files, **settings)
    monkeypatch.setattr(read_ahead, "_UPDATES", 7)
    _, parts = draws(template(rows), engine=engine, data=files, **settings)
    for name, x in whole["sample_stats"].data_vars.items():
        np.testing.assert_allclose(parts["sample_stats"][name], x, rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_sources_are_read_where_rows_are_spread(rows, files):
    settings = dict(step_size=0.01, steps_per_draw=3, tune=0, n=4)
    spread, _ = draws(template(rows), engine=JAX(shard="rows"), data=files, **settings)
    whole, _ = draws(logistic(*rows), engine=JAX(shard="rows"), **settings)
    np.testing.assert_array_equal(spread, whole)


@pytest.mark.parametrize("engine", ["jax", "numba"])
def test_an_error_of_the_thread_keeps_the_draws(rows, files, engine, monkeypatch):
    reads, take = [], StoredRows.take

    def failing(self, name, numbers, out=None):
        if threading.current_thread() is not threading.main_thread():
            reads.append(name)
            if len(reads) > 12:
                raise OSError("the disk is gone")
        return take(self, name, numbers, out)

    monkeypatch.setattr(StoredRows, "take", failing)
    monkeypatch.setattr(read_ahead, "_UPDATES", 10)
    with pytest.raises(OSError, match="the disk is gone") as caught:
        draws(
            template(rows), engine=engine, data=files, step_size=0.01, steps_per_draw=5, tune=0,
            n=1_000,
        )  # fmt: skip
    assert 0 < caught.value.idata["posterior"].sizes["draw"] < 20


def test_a_file_that_changes_in_a_run(rows, files, tmp_path):
    step = ATMC(model=template(rows), batch_size=B, data=files, step_size=0.01, engine="numba")
    np.save(tmp_path / "y.npy", 1 - rows[1])
    with pytest.raises(ValueError, match=r"changed since this step was made: .*y.npy"):
        sample(5, tune=0, step=step, model=step.plan.potential.model, progressbar=False)


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"X": lambda X: X[:, :2]}, ValueError, r"'X' have the shape \(2,\) .* and \(3,\)"),
        ({"g": lambda g: g + 0.5}, TypeError, "'g' is float64 in its source and int"),
        ({"g": lambda g: g.astype("int64") + 2**40}, ValueError, "integers from 1099511627776 to"),
        ({"g": lambda g: g + 1}, ValueError, "index 5 is out of bounds"),
        ({"y": lambda y: y + 1}, Exception, r"'y' contributes -inf.*row [0-9,]+ of 'y'"),
        ({"extra": lambda _: np.zeros(N)}, ValueError, "data names 'extra'"),
        ({"X": lambda X: np.where(X > 2.9, np.nan, X)}, ValueError, "'X' is nan in row"),
    ],
    ids=["columns", "type", "range", "codes", "outcomes", "name", "nan"],
)
def test_what_does_not_fit_the_model(rows, arrays, error, message):
    given = dict(zip(("X", "y", "g"), rows, strict=True))
    data = given | {name: change(given.get(name)) for name, change in arrays.items()}
    with pytest.raises(error, match=message):
        ATMC(model=template(rows), batch_size=B, data=data)


def test_all_row_data_need_a_source(rows, files):
    with pytest.raises(
        ValueError, match="'g' has as many entries as the model has rows, and no source"
    ):
        ATMC(model=template(rows), batch_size=B, data={k: files[k] for k in ("X", "y")}, dtype=None)
    with pytest.raises(ValueError, match=r"give batch_size=\.\.\."):
        ATMC(model=template(rows), data=files)
