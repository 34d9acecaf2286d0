"""Batches in sweeps: which rows an update takes, by both engines, however a run is cut."""

from functools import cache

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings

from pymc_sgmcmc import ATMC, SGHMC, SGLD, SGNHT
from tests.test_laws_of_runs import cuts_of

N, B, CHAINS = 23, 5, 3
PARTS = N // B
DRAWS, STEPS = 12, 3

engines = pytest.mark.parametrize("name", ["jax", "numba"])


@cache
def engine_of(name, walled=False, rows=N):
    """Rows whose potentials at 0 are powers of two, of a posterior that may end at 1."""
    values = np.sqrt(2.0 * 2.0 ** np.arange(rows))
    with pm.Model() as model:
        x = pm.Flat("x")
        pm.Normal("y", x, 1 if not walled else 1e3, observed=values)
        if walled:
            pm.Potential("wall", pt.switch(x > 1, np.nan, 0.0))
    step = {"batch_size": B, "batches": "sweeps", "step_size": 0.5, "dtype": "float64"}
    return SGHMC(**step, engine=name, model=model).compiled.engine()


def start(engine):
    seeds = np.arange(2 * CHAINS, dtype=np.uint32).reshape(CHAINS, 2)
    return engine.init(np.zeros((CHAINS, 1)), seeds)


@engines
@pytest.mark.parametrize("rows", [N, 2 * B, B + 1])
@pytest.mark.slow
def test_every_row_of_a_sweep_is_used_twice(name, rows):
    engine, parts, sweeps = engine_of(name, rows=rows), rows // B, 4
    h = np.full((2 * parts * sweeps, 1), 1e-10)  # chains stay where they are
    potential = engine.run(start(engine), h, 1e-10, {})[0].statistics["potential_energy"]
    codes = np.rint(potential * B / rows - B * np.log(2 * np.pi) / 2).astype(int)
    used = codes[..., None] >> np.arange(rows) & 1
    assert (used.sum(-1) == B).all()
    of_sweeps = used.reshape(CHAINS, sweeps, 2 * parts, rows)
    there, back = np.split(of_sweeps, 2, axis=2)
    np.testing.assert_array_equal(there, back[:, :, ::-1])
    in_sweep = there.sum(2)
    assert set(np.unique(in_sweep)) <= {0, 1}  # in one part of a sweep, or left out
    assert (in_sweep.sum(-1) == parts * B).all()
    # Sweeps and chains have partitions of their own, and rows of their own that are left out.
    assert len({p.tobytes() for p in there.reshape(-1, parts, rows)}) > sweeps
    assert len({p.tobytes() for p in in_sweep.reshape(-1, rows)}) > 1 or rows % B == 0


@engines
@settings(derandomize=True, deadline=None, max_examples=10, database=None)
@given(pieces=cuts_of(DRAWS))
def test_pieces_are_the_whole(name, pieces):
    """Through rejected updates as well: a sweep goes on."""
    engine = engine_of(name, walled=True)
    h = np.full((DRAWS, STEPS), 1.0) * np.linspace(1, 0.5, DRAWS)[:, None]
    whole, end = engine.run(start(engine), h, 1.0, {}, DRAWS)
    assert whole.statistics["rejected"].sum() > 0
    state, made, parts = start(engine), 0, []
    for n in pieces:
        draws, state = engine.run(state, h[made : made + n], 1.0, {}, DRAWS)
        made += n
        parts.append(draws)
    np.testing.assert_array_equal(np.concatenate([p.positions for p in parts], 1), whole.positions)
    for k, x in whole.statistics.items():
        np.testing.assert_array_equal(np.concatenate([p.statistics[k] for p in parts], 1), x, k)
    for k, x in end.items():
        np.testing.assert_array_equal(state[k], x, k)


@pytest.mark.parametrize(
    ("sampler", "arguments", "message"),
    [
        (SGHMC, {}, r"every update takes all rows\. Give batch_size=\.\.\., or leave batches out"),
        (SGLD, {"batch_size": N}, "every update takes all rows"),
        (ATMC, {"batch_size": B}, "thermostat.*variances too small.*Use SGHMC or SGLD"),
        (SGNHT, {"batch_size": B}, "thermostat.*Use SGHMC or SGLD, or leave batches out"),
        (
            SGHMC,
            {"batch_size": B, "batches": "epochs"},
            '"balanced", "sweeps" or "blocks", got \'epochs',
        ),
    ],
    ids=str,
)
def test_where_sweeps_make_no_sense(sampler, arguments, message):
    with pm.Model():
        x = pm.Normal("x")
        pm.Normal("y", x, 1, observed=np.arange(float(N)))
        with pytest.raises(ValueError, match=message):
            sampler(**({"batches": "sweeps"} | arguments))
