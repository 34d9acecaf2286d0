"""Models that are quick to run, one for each kind of warm-up, and what makes two runs the same."""

import numpy as np
import pymc as pm
import xarray as xr

from pymc_sgmcmc import ATMC, SGLD, nn

# Attributes that tell when and how fast it ran.
OF_THE_CLOCK = {"created_at", "sampling_time", "warmup_seconds"}
KINDS = ("given", "small", "network", "effects")


def model_and_step(kind, engine="jax", rows=120):
    """Model, and a step whose warm-up is of a kind; "given" has none.

    "network" and "effects" need `choice._SMALL` to be less than their few parameters.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 3))
    y = X @ [1, -1, 0.5] + rng.normal(size=rows)
    with pm.Model(coords={"feature": ["a", "bb", "c"], "group": range(12)}) as model:
        data = pm.Data("X", X, dims=("row", "feature"))
        if kind == "network":
            # No two steps of the tuning alike, and a scale that is measured anew in four rounds.
            hidden = nn.mlp(data, hidden=(4,))
            nn.regression(hidden, pm.Data("outcome", y))
        elif kind == "effects":
            effect = pm.Normal("effect", dims="group")
            pm.Normal("y", effect[np.arange(rows) % 12], observed=y)
        else:
            slope = pm.Normal("slope", dims="feature")
            sd = pm.HalfNormal("sd")
            pm.Deterministic("positive", slope[0] > 0)
            pm.Normal("y", data @ slope, sd, observed=y, dims="row")
        settings = {"batch_size": 20, "engine": engine}
        if kind == "given":
            step = SGLD(step_size=0.02, steps_per_draw=5, **settings)
        else:
            step = ATMC(steps_per_draw=6, **settings)
    return model, step


def assert_same(idata, other):
    """Same groups, names, dims, coords, types, numbers to the last bit, attributes."""
    assert list(idata.children) == list(other.children)
    for group in idata.children:
        one, two = idata[group].to_dataset(), other[group].to_dataset()
        assert list(one.variables) == list(two.variables)
        xr.testing.assert_identical(one.drop_attrs(), two.drop_attrs())
        for name in one.variables:
            assert one[name].dtype == two[name].dtype
        assert set(one.attrs) == set(two.attrs)
        for name in one.attrs.keys() - OF_THE_CLOCK:
            np.testing.assert_array_equal(one.attrs[name], two.attrs[name], err_msg=name)
