"""A report is what its attributes say, through netCDF and zarr, and says what it can't read."""

import dataclasses
import string

import hypothesis.strategies as st
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from hypothesis import given, settings

from pymc_sgmcmc import ATMC, JAX, SGHMC, SGLD, Numba, WarmUp, sample
from pymc_sgmcmc.plan.settings import RunSettings
from pymc_sgmcmc.report.found import Found
from pymc_sgmcmc.report.record import NotMeasured, names_of
from pymc_sgmcmc.report.report import Report
from pymc_sgmcmc.report.several import joined, steps_of
from pymc_sgmcmc.settings import Settings, declared
from tests.samplers import SAMPLERS

QUICK = settings(derandomize=True, deadline=None, max_examples=30)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
WORDS = st.text(string.ascii_letters + "_", min_size=1, max_size=8)
OF_KIND = {
    "float": NUMBERS,
    "int": st.integers(0, 2**40),
    "int | str": st.integers(1, 2**40) | st.just("all rows"),
    "bool": st.booleans(),
    "str": WORDS,
    "tuple[str, ...]": st.lists(WORDS, max_size=3).map(tuple),
    "np.ndarray": st.lists(NUMBERS, min_size=1, max_size=4).map(np.array),
}


def records(cls):
    """Any record of a class, the fields that may be None among them."""
    fields = {}
    for field in dataclasses.fields(cls):
        kind = str(field.type)
        if kind == "Found":
            fields[field.name] = records(Found)
        elif kind == "Mapping[str, Any]":
            fields[field.name] = st.dictionaries(WORDS.map("also_{}".format), NUMBERS | WORDS)
        else:
            some = OF_KIND[kind.removesuffix(" | None")]
            fields[field.name] = some | st.none() if kind.endswith("None") else some
    return st.builds(cls, **fields)


def same(a, b):
    """Whether two records have the same fields, arrays among them."""
    for field in dataclasses.fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, Found):
            assert same(x, y)
        else:
            np.testing.assert_equal(y, x, err_msg=field.name)
    return True


@QUICK
@given(records(Report))
def test_a_report_is_what_its_attributes_say(report):
    assert same(report, Report.read(report.attributes()))


@settings(QUICK, max_examples=8)
@given(records(Report))
@pytest.mark.parametrize("store", ["netcdf", "zarr"])
def test_a_report_through_a_file(store, tmp_path_factory, report):
    path = tmp_path_factory.mktemp(store) / "draws"
    tree = xr.DataTree(xr.Dataset({"x": ("draw", [1.0])}, attrs=report.attributes()))
    if store == "netcdf":
        tree.to_netcdf(path, engine="h5netcdf")
        read = xr.open_datatree(path, engine="h5netcdf")
    else:
        pytest.importorskip("zarr")
        tree.to_zarr(path, consolidated=False)
        read = xr.open_datatree(path, engine="zarr", consolidated=False)
    with read:
        assert same(report, Report.read(read.attrs))


@QUICK
@given(st.lists(records(Report), min_size=2, max_size=3))
def test_reports_of_several_steps_come_apart_again(reports):
    numbers = ("step_size", "temperature", "target_bias", "tuning_updates")
    # What an array or a text of several can't tell apart is left out: texts with commas, arrays.
    plain = {"free_variables": ("x",), "found": Found(), "also": {}, "network": False}
    reports = [report.but(**plain) for report in reports]
    n = len(reports)
    statistics = {"potential_energy": np.zeros((2, 3, n))}
    steps = steps_of(statistics, joined(reports, 0, 0))
    assert len(steps) == n
    for (_, found), report in zip(steps, reports, strict=True):
        for name in numbers:
            assert getattr(found, name) == getattr(report, name), name


def test_arrays_of_modes_are_no_lists_of_steps():
    found = Found(mode_mass=np.array([-3.0, -13.0]), mode_of_chain=np.array([0, 1]))
    reports = [Report(sampler=name, temperature=1.0, step_size=0.1, found=found) for name in "ab"]
    statistics = {"potential_energy": np.zeros((2, 3, 2))}
    for _, report in steps_of(statistics, joined(reports, 0, 0)):
        np.testing.assert_array_equal(report.found.mode_mass, [-3, -13])
        np.testing.assert_array_equal(report.found.mode_of_chain, [0, 1])


# -- what a run records ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    with pm.Model() as model:
        slopes = pm.Normal("slopes", 0, 1, shape=2)
        pm.Normal("y", pm.Data("X", X) @ slopes, 1, observed=X.sum(1))
    return model


def run(model, step, chains=2):
    return sample(
        20, tune=20, chains=chains, step=step, model=model, random_seed=1, progressbar=False
    )


def test_a_run_records_what_it_found(model):
    step = ATMC(batch_size=20, model=model)
    idata = run(model, step)
    report = Report.read(idata.posterior.attrs)
    assert (report.sampler, report.temperature) == ("ATMC", 1.0)
    assert 0.0 < report.friction < 0.3  # what was found
    assert report.found.softest_curvature == 1.0  # whitened, that of every direction
    assert (report.batch_size, report.n_rows, report.in_batches) == (20, 200, True)
    assert (report.step_size_given, report.network, report.backend) == (False, False, "jax")
    assert report.free_variables == ("slopes",)
    assert report.target_bias == 0.02
    np.testing.assert_allclose(idata.sample_stats["step_size"], report.step_size)
    assert report.found.expected_bias == pytest.approx(0.02, rel=0.01)
    assert report.found.modes == report.found.modes_found == 1
    np.testing.assert_array_equal(report.found.mode_of_chain, [0, 0])
    assert report.found.descent_at_rest is None  # there was no descent
    assert report.updates == report.tuning_updates + 20 * report.steps_per_draw
    assert report.warmup_updates == report.tuning_updates + report.found.search_updates


@pytest.mark.parametrize(("given", "told"), [({}, 0.9), ({"momentum_decay": 0.97}, 0.97)])
def test_a_friction_is_told_where_none_was_found(model, given, told):
    """Nobody looks for one beside a step size that was given: there the usual one runs."""
    step = ATMC(batch_size=20, step_size=0.01, model=model, **given)
    assert step.run_report().momentum_decay == told
    report = Report.read(run(model, step).posterior.attrs)
    assert report.momentum_decay == told
    assert report.friction == pytest.approx(-np.log(told))


OTHER = {
    "batch_size": 25,
    "batches": "sweeps",
    "data": ["X", "y"],
    "step_size": 0.01,
    "steps_per_draw": 3,
    "schedule": "polynomial",
    "dtype": "float32",
    "clip_gradient": 1e6,
    "preconditioner": "diagonal",
    "control_variate": True,
    "target_bias": 0.05,
    "start": "jitter",
    "shard": "chains",
    "matmul_precision": "float32",
    "temperature": 0.5,
    "momentum_decay": 0.8,
    "speed_limit": 4.0,
    "ensemble": 0.5,
}
RECORDED = {"data": "X, y", "schedule": "PolynomialDecay(offset=1000.0, power=0.55)"}
"""What stands in the attributes where it is not the value itself."""


def of(cls):
    return {field.name: OTHER[field.name] for field in declared(cls)}


def test_every_setting_is_recorded_and_read_by_what_it_is_for(model, monkeypatch):
    """A setting that is declared and forgotten fails here."""
    read = set()
    look = object.__getattribute__

    def noting(settings, name):
        import sys

        reader = sys._getframe(1).f_globals["__name__"]
        if reader.split(".")[-1] not in ("reporting", "settings", "dataclasses", "test_report"):
            read.add((type(settings), name))
        return look(settings, name)

    engine, warmup = JAX(**of(JAX)), WarmUp(**of(WarmUp))
    rest = {f.name for f in declared(RunSettings)} - {"warmup", "engine"}
    rest = {name: OTHER[name] for name in rest}
    dynamics = of(SGHMC.dynamics_class)
    step = SGHMC(**rest, **dynamics, engine=engine, warmup=warmup, model=model)
    monkeypatch.setattr(Settings, "__getattribute__", noting, raising=False)
    again = SGHMC(**rest, **dynamics, engine=engine, warmup=warmup, model=model)
    idata = run(model, again, chains=4)
    free = SGHMC(model=model, steps_per_draw=2)
    run(model, free)
    monkeypatch.undo()
    attributes = idata.posterior.attrs
    for name, value in OTHER.items():
        assert attributes[name] == RECORDED.get(name, value), name
    of_engine = {(JAX, field.name) for field in declared(JAX)}  # handed over as they are
    for cls in (RunSettings, WarmUp, SGHMC.dynamics_class):
        for field in declared(cls):
            assert (cls, field.name) in read | of_engine, f"nothing reads {field.name}"
    assert Report.read(attributes).but(updates=1).sampler == step.run_report().sampler


@pytest.mark.parametrize(
    ("engine", "recorded"),
    [
        (JAX(matmul_precision="bfloat16"), {"backend": "jax", "matmul_precision": "bfloat16"}),
        (Numba(), {"backend": "numba"}),
        ("auto", {"backend": "jax", "shard": "chains"}),
    ],
)
def test_the_engine_that_ran_is_recorded(model, engine, recorded):
    step = SGLD(step_size=0.01, steps_per_draw=2, engine=engine, model=model)
    attributes = run(model, step).posterior.attrs
    found = {k: attributes.get(k) for k in ("backend", "shard", "matmul_precision")}
    assert recorded.items() <= found.items()
    if engine == Numba():
        assert found["shard"] is None


def test_what_was_set_to_none_is_recorded(model):
    step = ATMC(speed_limit=None, warmup=WarmUp(preconditioner=None), model=model)
    attributes = step.run_report().attributes()
    assert attributes["speed_limit"] == attributes["preconditioner"] == "none"
    assert "clip_gradient" not in attributes
    assert "step_size" not in attributes  # it is to be found


# -- what can't be read ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "name", "words", "failed"),
    [
        ({}, "step_size", "the attributes have no 'step_size'", False),
        ({"step_size": "large"}, "step_size", "'step_size' is no number: 'large'", True),
        ({"step_size": np.nan}, "step_size", "'step_size' is nan", True),
        ({"step_size": [1.0, 2.0]}, "step_size", "'step_size' is no number", True),
        ({"clip_gradient": np.inf}, "clip_gradient", "'clip_gradient' is inf", True),
        ({"momentum_decay": 2.0}, "friction", "is 2, not within 0 and 1", True),
        ({}, "friction", "have no 'momentum_decay'", False),
    ],
)
def test_what_is_missing_or_unreadable_is_said_when_it_is_asked_for(
    attributes, name, words, failed
):
    report = Report.read(attributes)
    with pytest.raises(NotMeasured, match=words) as error:
        getattr(report, name)
    assert error.value.failed == failed


def test_what_may_be_missing():
    report = Report.read({"step_size_given": "perhaps", "batch_size": "all rows"})
    assert not report.step_size_given
    assert not report.network
    assert not report.in_batches
    assert report.clip_gradient is None
    assert report.found.expected_bias is None
    assert report.free_variables == ()


def test_a_field_that_there_is_not():
    with pytest.raises(TypeError, match="Found has no mode_count"):
        Found().but(mode_count=3)


def test_settings_have_names_of_their_own():
    """Where a report has a field of that name, it is what `report_of` puts there of the setting."""
    filled = {"batch_size", "step_size", "steps_per_draw", "dtype", "clip_gradient", "target_bias"}
    filled |= {"temperature", "momentum_decay", "control_variate", "batches"}
    every = declared(RunSettings, WarmUp, JAX, Numba, *(s.dynamics_class for s in SAMPLERS))
    assert {field.name for field in every} & names_of(Report) == filled


def test_no_name_stands_for_two_fields():
    nested = [f.name for f in dataclasses.fields(Found)] + [
        f.name for f in dataclasses.fields(Report) if f.name not in ("found", "also")
    ]
    assert len(set(nested)) == len(nested)
    assert set(nested) | {"also"} == names_of(Report)
