"""Batches of neighbours: which rows an update takes, by both engines, and what law comes of it."""

from functools import cache

import numpy as np
import pymc as pm
import pytest

from pymc_sgmcmc import ATMC, JAX, SGHMC, SGLD, sample

N, B, CHAINS = 23, 5, 3

engines = pytest.mark.parametrize("name", ["jax", "numba"])


@cache
def engine_of(name):
    """Rows whose potentials at 0 are powers of two."""
    values = np.sqrt(2.0 * 2.0 ** np.arange(N))
    with pm.Model() as model:
        x = pm.Flat("x")
        pm.Normal("y", x, 1, observed=values)
    engine = JAX(shard="rows") if name == "rows" else name
    step = {"batch_size": B, "batches": "blocks", "step_size": 0.5, "dtype": "float64"}
    return SGHMC(**step, engine=engine, model=model).compiled.engine()


def used_rows(potential):
    """Which rows batches had, by the potential at 0, ``(..., N)``."""
    codes = np.rint(potential * B / N - B * np.log(2 * np.pi) / 2).astype(int)
    return codes[..., None] >> np.arange(N) & 1


@pytest.mark.parametrize("name", ["jax", "numba", "rows"])
def test_a_batch_are_neighbours_from_anywhere(name):
    engine, updates = engine_of(name), 4_000
    seeds = np.arange(2 * CHAINS, dtype=np.uint32).reshape(CHAINS, 2)
    state = engine.init(np.zeros((CHAINS, 1)), seeds)
    blocks = []
    for _ in range(updates // 200):  # chains stay where they are
        made, state = engine.run(state, np.full((200, 1), 1e-10), 1e-10, {})
        blocks.append(used_rows(made.statistics["potential_energy"]))
    used = np.concatenate(blocks, axis=1)
    # One row whose neighbour before it is not in the batch: it begins there.
    begins = used & ~np.roll(used, 1, axis=-1) & 1
    assert (used.sum(-1) == B).all()
    assert (begins.sum(-1) == 1).all()
    counts = begins.sum((0, 1))
    expected = CHAINS * updates / N
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - (N - 1)) < 5 * np.sqrt(2 * (N - 1))
    first = begins.argmax(-1)
    for one, other in ((first[0], first[1]), (first[:, 1:], first[:, :-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(one.size)


@engines
def test_evaluation_takes_neighbours_too(name):
    positions = np.zeros((50, 1))
    values, _ = engine_of(name).evaluate(positions, {}, np.array([1, 2], np.uint32))
    used = used_rows(values)
    assert ((used & ~np.roll(used, 1, axis=-1) & 1).sum(-1) == 1).all()
    assert len(np.unique(used, axis=0)) > 10


def regression(order):
    rng = np.random.default_rng(0)
    x = rng.normal(size=1_000)
    y = x + rng.normal(size=1_000)
    numbers = {"random": rng.permutation(1_000), "sorted": np.argsort(y)}[order]
    x, y = x[numbers], y[numbers]
    with pm.Model() as model:
        b = pm.Normal("b", 0, 10)
        pm.Normal("y", b * pm.Data("x", x), 1, observed=y)
    variance = 1 / (x @ x + 0.01)
    return model, variance * (x @ y), variance


@pytest.mark.slow
@engines
@pytest.mark.parametrize("order", ["random", "sorted"])
def test_the_posterior_is_exact_in_any_order(name, order):
    """A sorted file only makes batches noisier, and the step that the warm-up finds smaller."""
    model, mean, variance = regression(order)
    with model:
        step = ATMC(batch_size=50, batches="blocks", engine=name)
        idata = sample(1_000, tune=500, step=step, random_seed=1, progressbar=False)
    b = idata.posterior["b"].values
    of_chains = b.mean(1)
    error = max(of_chains.std(ddof=1) / 2, np.sqrt(variance / b.size))
    assert abs(b.mean() - mean) < 5 * error
    # target_bias is .02.
    assert b.var() == pytest.approx(variance, rel=0.15)


@pytest.mark.parametrize("name", ["jax", pytest.param("numba", marks=pytest.mark.slow)])
def test_rows_on_disk_are_those_in_memory(name, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 500)).astype("float32")
    draws = []
    for source in ("memory", "disk"):
        n = 500 if source == "memory" else 60
        with pm.Model() as model:
            b = pm.Normal("b", 0, 1)
            pm.Normal("y", b * pm.Data("x", x[:n]), 1, observed=pm.Data("outcome", y[:n]))
        np.save(tmp_path / "x.npy", x)
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        data = None if source == "memory" else {"x": mapped, "outcome": y}
        step = SGLD(
            model=model, batch_size=20, batches="blocks", data=data, step_size=0.01, engine=name,
            steps_per_draw=7,
        )  # fmt: skip
        idata = sample(20, tune=0, step=step, model=model, random_seed=1, progressbar=False)
        draws.append(idata.posterior["b"].values)
    np.testing.assert_array_equal(*draws)


def test_where_blocks_make_no_sense():
    with regression("random")[0], pytest.raises(ValueError, match="every update takes all rows"):
        SGLD(batches="blocks", step_size=0.1)
