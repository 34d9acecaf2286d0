"""Runs cut anywhere, through rejected updates, by both engines; schedules cut anywhere."""

import functools

import hypothesis.strategies as st
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings

from pymc_sgmcmc import SGNHT
from pymc_sgmcmc.schedules import CyclicalCosine, PolynomialDecay, constant, factors

DRAWS, STEPS, CHAINS = 12, 3, 4
few = settings(derandomize=True, deadline=None, max_examples=15, database=None)


def cuts_of(n):
    """Any way to cut a number into pieces."""
    places = st.sets(st.integers(1, n - 1)).map(sorted)
    return places.map(lambda inner: [int(x) for x in np.diff([0, *inner, n])])


@functools.cache
def bounded(name):
    """Engine of a posterior that ends where the sum is 1, and a run of it."""
    with pm.Model() as model:
        x = pm.Normal("x", shape=2)
        pm.Potential("wall", pt.switch(x.sum() > 1, np.nan, 0.0))
        engine = SGNHT(model=model, step_size=0.5, engine=name).compiled.engine()
    seeds = np.arange(2 * CHAINS, dtype=np.uint32).reshape(CHAINS, 2)
    start = engine.init(np.zeros((CHAINS, 2)), seeds)
    return engine, start, advanced(engine, start, DRAWS)


def advanced(engine, state, draws, steps=STEPS):
    return engine.run(state, np.full((draws, steps), 0.5), 0.5, {}, DRAWS)


@pytest.mark.parametrize("name", ["jax", "numba"])
@few
@given(pieces=cuts_of(DRAWS))
def test_pieces_are_the_whole_through_rejections(name, pieces):
    engine, state, (whole, end) = bounded(name)
    assert whole.statistics["rejected"].sum() > CHAINS
    parts = []
    for n in pieces:
        draws, state = advanced(engine, state, n)
        parts.append(draws)
    for k, x in whole.statistics.items():
        np.testing.assert_array_equal(np.concatenate([p.statistics[k] for p in parts], 1), x, k)
    np.testing.assert_array_equal(np.concatenate([p.positions for p in parts], 1), whole.positions)
    for k, x in end.items():
        np.testing.assert_array_equal(state[k], x, k)


@pytest.mark.parametrize("name", ["jax", "numba"])
def test_both_engines_return_by_the_same_rules(name):
    """What each update of a draw of one may leave behind."""
    engine, state, _ = bounded(name)
    for _ in range(60):
        before = {k: np.asarray(x) for k, x in state.items()}
        draws, state = advanced(engine, state, 1, steps=1)
        after = {k: np.asarray(x) for k, x in state.items()}
        rejected = draws.statistics["rejected"][:, 0]
        assert (after["update"] == before["update"] + 1).all()
        assert (draws.positions[:, 0].sum(1) <= 1).all()
        for chain in range(CHAINS):
            at, was = ({k: x[chain] for k, x in d.items()} for d in (after, before))
            # A draw is kept where its potential is finite: so no update begins where it is not.
            moved = not np.array_equal(was["position"], was["finite_position"])
            returned = np.array_equal(at["position"], at["finite_position"])
            if rejected[chain]:
                assert returned
                np.testing.assert_array_equal(at["finite_position"], was["position"])
                restarts = 0 if moved else was["rejected_in_a_row"]
                assert at["rejected_in_a_row"] == restarts + 1
                assert not np.array_equal(at["momentum"], was["momentum"])
            else:
                np.testing.assert_array_equal(at["finite_position"], was["position"])
                assert at["rejected_in_a_row"] == (0 if moved else was["rejected_in_a_row"])


SCHEDULES = st.one_of(
    st.just(constant),
    st.builds(PolynomialDecay, offset=st.floats(1, 1e5), power=st.floats(0, 1)),
    st.builds(CyclicalCosine, cycle_length=st.integers(1, 50)),
)


@settings(few, max_examples=60)
@given(SCHEDULES, st.integers(0, 10**6), cuts_of(20))
def test_a_schedule_in_pieces(schedule, start, pieces):
    whole = factors(schedule, start, 20)
    assert ((whole >= 0) & (whole <= 1)).all()
    begin = start + np.cumsum([0, *pieces[:-1]])
    parts = [factors(schedule, int(first), n) for first, n in zip(begin, pieces, strict=True)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
