"""Positions and points are the same numbers, whatever the shapes of the variables."""

import numpy as np
import pymc as pm
from hypothesis import given, settings
from hypothesis import strategies as st

from pymc_sgmcmc.model.potential import StochasticPotential

shapes = st.lists(
    st.lists(st.integers(0, 3), max_size=3).map(tuple), min_size=1, max_size=4
).filter(lambda found: any(np.prod(shape) > 0 for shape in found))
leads = st.lists(st.integers(1, 3), max_size=2).map(tuple)


@settings(derandomize=True, deadline=None, max_examples=12, database=None)
@given(shapes=shapes, lead=leads, dtype=st.sampled_from(["float32", "float64"]))
def test_unravel_undoes_ravel_and_ravel_unravel(shapes, lead, dtype):
    with pm.Model() as model:
        for i, shape in enumerate(shapes):
            (pm.Normal if i % 2 else pm.HalfNormal)(f"v{i}", shape=shape)
    potential = StochasticPotential(model, dtype=dtype)
    names = [v.name for v in model.value_vars]
    assert [(b.name, b.shape) for b in potential.layout] == list(zip(names, shapes, strict=True))
    assert potential.size == sum(int(np.prod(shape)) for shape in shapes)

    positions = np.random.default_rng(0).normal(size=(*lead, potential.size)).astype(dtype)
    point = potential.unravel(positions)
    assert {k: x.shape for k, x in point.items()} == {
        k: (*lead, *shape) for k, shape in zip(names, shapes, strict=True)
    }
    assert {x.dtype.name for x in point.values()} == {v.type.dtype for v in model.value_vars}
    for place in np.ndindex(*lead):
        one = {k: x[place] for k, x in point.items()}
        again = potential.ravel(one)
        assert again.dtype == dtype
        np.testing.assert_array_equal(again, positions[place])
