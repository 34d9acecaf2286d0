"""The engines: what a run gives does not depend on how it is made."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

import jax
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import threadpoolctl

from pymc_sgmcmc import ATMC, JAX, SGHMC, SGLD, SGNHT, sample, schedules
from pymc_sgmcmc.dynamics import SGNHTDynamics
from pymc_sgmcmc.dynamics.base import OF_DRAWS, OF_STATES
from pymc_sgmcmc.engines import threads
from pymc_sgmcmc.engines.base import UPDATE_STATISTICS
from pymc_sgmcmc.engines.blas import one_blas_thread
from pymc_sgmcmc.engines.jax import derivatives
from pymc_sgmcmc.engines.jax import engine as of_jax
from pymc_sgmcmc.engines.jax.derivatives import JaxDerivatives
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.run.phases import Run
from tests.samplers import SAMPLERS

N, B, H, S = 200, 20, 0.02, 5
WIDE = ("rows", "uint64", "uint32", "difference", "square", "constant", "table", "total")


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3))
    with pm.Model() as model:
        b = pm.Normal("b", shape=3)
        s = pm.HalfNormal("s")
        pm.Normal("y", X @ b, s, observed=X @ [1, -1, 0] + rng.normal(size=N))
    return model


@pytest.fixture(scope="module", params=["jax", "numba"])
def backend(request):
    return request.param


def make_engine(model, backend, sampler=ATMC, **kwargs):
    settings = {"batch_size": B, "step_size": H, "steps_per_draw": S, "model": model}
    return sampler(**(settings | kwargs), engine=backend).compiled.engine()


@pytest.fixture(scope="module")
def engine(model, backend):
    return make_engine(model, backend)


@pytest.fixture(scope="module")
def full(model, backend):
    return make_engine(model, backend, batch_size=None)


@pytest.fixture(scope="module")
def engines(model, backend, engine):
    others = {s: make_engine(model, backend, s) for s in SAMPLERS if s is not ATMC}
    return {ATMC: engine, **others}


def start(engine, chains=3, seed=0):
    rng = np.random.default_rng(seed)
    positions = rng.normal(0, 0.1, (chains, engine.size))
    return engine.init(positions, rng.integers(2**32, size=(chains, 2), dtype=np.uint32))


def run(engine, state, pieces, step_sizes=None):
    """Draws and statistics of a run made of pieces of so many draws."""
    draws, made = [], 0
    for n in pieces:
        h = np.full((n, S), H) if step_sizes is None else step_sizes[made : made + n]
        piece, state = engine.run(state, h, H, {})
        draws.append(piece)
        made += n
    positions = np.concatenate([d.positions for d in draws], axis=1)
    names = draws[0].statistics
    statistics = {k: np.concatenate([d.statistics[k] for d in draws], axis=1) for k in names}
    return positions, statistics, state


def assert_equal(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


# -- one run, however it is made ---------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_pieces_are_the_whole(engines, sampler):
    engine = engines[sampler]
    factors = schedules.PolynomialDecay(offset=10)(np.arange(30 * S)).reshape(30, S)
    whole = run(engine, start(engine), [30], H * factors)
    for pieces in ([10, 20], [1] * 30, [29, 1]):
        assert_equal(run(engine, start(engine), pieces, H * factors), whole)


def test_a_state_can_be_saved_and_restored(engine, model, backend, tmp_path):
    whole = run(engine, start(engine), [20])
    first, _, state = run(engine, start(engine), [8])
    np.savez(tmp_path / "state.npz", **state)
    with np.load(tmp_path / "state.npz") as file:
        restored = dict(file)
    # Another engine, as another process would have.
    last, _, end = run(make_engine(model, backend), restored, [12])
    assert_equal((np.concatenate([first, last], axis=1), end), (whole[0], whole[2]))


def test_what_a_run_gives(engine):
    assert engine.size == 4
    positions, statistics, state = run(engine, start(engine), [7])
    assert positions.shape == (3, 7, 4)
    assert type(positions) is np.ndarray
    assert positions.dtype == np.float64
    assert set(statistics) == {
        "kinetic_temperature",
        "gradient_noise",
        "potential_energy",
        "gradient_norm",
        "configurational_temperature",
        "step_size",
        "rejected",
    }
    for x in statistics.values():
        assert type(x) is np.ndarray
        assert x.shape == (3, 7)
    assert (state["update"] == 7 * S).all()
    assert (np.diff(positions, axis=1) != 0).all()


def test_statistics_sum_up_the_updates_of_a_draw(engine):
    single = np.linspace(H / 2, H, 6 * S).reshape(6 * S, 1)
    positions, draws, _ = run(engine, start(engine), [6], single.reshape(6, S))
    every, updates, _ = run(engine, start(engine), [6 * S], single)
    np.testing.assert_allclose(every[:, S - 1 :: S], positions, rtol=1e-12)
    by_draw = {k: x.reshape(3, 6, S) for k, x in updates.items()}
    for name in ("kinetic_temperature", "gradient_noise", "potential_energy"):
        np.testing.assert_allclose(draws[name], by_draw[name].mean(-1), rtol=1e-9)
    mean_square = (by_draw["gradient_norm"] ** 2).mean(-1)
    np.testing.assert_allclose(draws["gradient_norm"], np.sqrt(mean_square))
    np.testing.assert_allclose(draws["step_size"], by_draw["step_size"][..., -1])
    assert (draws["rejected"] == 0).all()


def test_seeds(engine):
    positions, _, _ = run(engine, start(engine), [5])
    assert_equal(run(engine, start(engine), [5])[0], positions)
    state = start(engine)
    state["key"] = state["key"] + 1
    assert (run(engine, state, [5])[0] != positions).all()
    # Chains from one place with seeds of their own part at once, and with one seed never.
    state = start(engine)
    for name, x in state.items():
        if name != "key":
            state[name] = np.repeat(x[:1], 3, axis=0)
    positions, _, _ = run(engine, state, [5])
    assert (positions[0] != positions[1]).all()
    state["key"] = np.repeat(state["key"][:1], 3, axis=0)
    positions, _, _ = run(engine, state, [5])
    np.testing.assert_allclose(positions[0], positions[1], rtol=1e-9)


def test_a_chain_does_not_depend_on_those_beside_it(engine):
    # Up to rounding: a matrix product may sum in another order for another number of chains.
    many, _, _ = run(engine, start(engine, 4), [20])
    state = {k: x[:2] for k, x in start(engine, 4).items()}
    few, _, _ = run(engine, state, [20])
    np.testing.assert_allclose(few, many[:2], rtol=1e-8, atol=1e-10)


# -- compilation -------------------------------------------------------------------------------


def programs(engine):
    return sum(name == "run" for name, _ in engine._compiled)


@pytest.mark.slow
def test_jax_compiles_nothing_twice(model):
    step = SGLD(batch_size=B, step_size=H, steps_per_draw=S, model=model, engine="jax")
    kwargs = {"step": step, "model": model, "random_seed": 1, "progressbar": False}
    sample(37, tune=10, chains=3, **kwargs)
    engine = step.compiled.engine()
    compiled = programs(engine)
    sample(5, tune=0, chains=3, **kwargs)
    rows = step.plan.potential.row_values()
    engine.load([x + 1 for x in rows])
    run(engine, start(engine), [10, 10, 3, 1])
    assert programs(engine) == compiled
    run(engine, start(engine, 5), [1])  # another number of chains is another program
    assert programs(engine) == compiled + 1


def test_numba_compiles_nothing_twice(model):
    engine = make_engine(model, "numba")
    run(engine, start(engine), [3])
    engine.load([x + 1 for x in engine.rows])
    run(engine, start(engine, 5), [1, 10])
    assert len(engine._run_chain.signatures) == 1
    # Nor does another process: what was compiled waits on the disk.
    again = make_engine(model, "numba")
    run(again, start(again), [1])
    assert sum(again._run_chain.stats.cache_hits.values()) == 1


def test_capacity_bounds_memory(engine):
    assert engine.capacity(1) >= engine.capacity(1000) >= engine.capacity(10**9) == 1
    n = engine.capacity(3) + 1
    with pytest.raises(ValueError, match=f"At most {n - 1} draws of 3 chains"):
        engine.run(start(engine), np.full((n, S), H), H, {})


# -- gradients and batches ---------------------------------------------------------------------


def test_evaluate(engine, full, model):
    positions = np.random.default_rng(0).normal(0, 0.3, (4, 4))
    value, gradient = full.evaluate(positions, {}, np.array([1, 2], np.uint32))
    logp, dlogp = (f(mode="FAST_COMPILE") for f in (model.compile_logp, model.compile_dlogp))
    for i, q in enumerate(positions):
        point = {"b": q[:3], "s_log__": q[3]}
        np.testing.assert_allclose(value[i], -logp(point))
        np.testing.assert_allclose(gradient[i], -dlogp(point))
    # A batch differs from all rows, one chain's from another's, and the mean of many is right.
    same = np.repeat(positions[:1], 1000, axis=0)
    values, gradients = engine.evaluate(same, {}, np.array([1, 2], np.uint32))
    assert len(np.unique(values)) == 1000
    for estimates, exact in ((values, value[0]), (gradients, gradient[0])):
        error = estimates.std(0) / np.sqrt(1000)
        assert (np.abs(estimates.mean(0) - exact) < 4 * error).all()


@pytest.fixture(scope="module")
def counting():
    """A model whose gradient is N/B times how often each row is in the batch."""
    with pm.Model() as counting:
        b = pm.Normal("b", 0, 1e6, shape=N + 1)
        pm.Normal("y", pm.Data("X", np.eye(N, N + 1)) @ b, 1, observed=-np.ones(N))
    return counting


@pytest.mark.parametrize(("size", "replacement"), [(19, True), (20, False), (150, False)])
def test_rows_of_a_batch(counting, backend, size, replacement):
    engine = make_engine(counting, backend, batch_size=size)
    _, gradients = engine.evaluate(np.zeros((1000, N + 1)), {}, np.array([1, 2], np.uint32))
    counts = gradients[:, :N] * size / N
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-6)
    counts = np.rint(counts)
    assert (counts.sum(1) == size).all()
    assert counts.max() > 1 if replacement else counts.max() == 1
    expected = 1000 * size / N  # each row equally often
    assert np.abs(counts.sum(0) - expected).max() < 5 * np.sqrt(expected)


def test_all_rows(full, model, backend):
    # B = N is no batch: no gather, no noise.
    every = make_engine(model, backend, batch_size=N)
    assert every.batch_size is full.batch_size is None
    assert_equal(run(every, start(every), [3])[0], run(full, start(full), [3])[0])


# -- precision ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_float32(model, backend, engine):
    single = make_engine(model, backend, dtype="float32")
    flag = jax.config.jax_enable_x64
    positions, statistics, state = run(single, start(single), [20])
    assert jax.config.jax_enable_x64 == flag
    assert positions.dtype == np.float32
    assert {x.dtype for x in statistics.values()} == {np.dtype("float32")}
    assert state["position"].dtype == np.float32
    assert np.isfinite(positions).all()
    assert_equal(run(single, start(single), [4, 16]), (positions, statistics, state))
    # Both precisions in one process, in turn.
    assert run(engine, start(engine), [2])[0].dtype == np.float64
    assert_equal(run(single, start(single), [20])[0], positions)


def test_float32_positions_of_a_float64_model(model, backend):
    settings = {"batch_size": B, "step_size": H, "steps_per_draw": S, "model": model}
    step = ATMC(**settings, dtype="float32", engine=backend)
    kwargs = {"tune": 100, "chains": 4, "model": model, "random_seed": 1, "progressbar": False}
    single = sample(400, step=step, **kwargs).posterior
    assert {x.dtype for x in single.data_vars.values()} == {np.dtype("float64")}
    assert single.attrs["dtype"] == "float32"
    step = ATMC(**settings, engine=backend)
    double = sample(400, step=step, **kwargs).posterior
    for name in ("b", "s"):
        a, b = (x[name].mean(("chain", "draw")).values for x in (single, double))
        np.testing.assert_allclose(a, b, atol=0.05)
    # What is in 32 bits there is not rounded again on its way.
    assert (single["b"] == single["b"].astype(np.float32)).all()


@pytest.mark.filterwarnings("ignore:.*requested dtype")
def test_matmul_precision(model):
    with pytest.raises(ValueError, match=r'must be "bfloat16", .* or None, got \'half\''):
        JAX(matmul_precision="half")
    with pm.Model() as wide:
        w = pm.Normal("w", shape=(3, 5))
        pm.Normal("y", np.ones((N, 3)) @ w, 1, observed=np.ones((N, 5)))
    for precision, name in (("bfloat16", "DEFAULT"), ("float32", "HIGHEST"), (None, "DEFAULT")):
        engine = make_engine(wide, JAX(matmul_precision=precision), SGLD, dtype="float32")
        with engine.precision():
            rows = [jax.numpy.asarray(x[:B]) for x in engine._host_rows]
            text = jax.jit(engine._gradient).lower(np.zeros(15, np.float32), *rows).as_text()
        assert "dot_general" in text
        assert f"precision = [{name}, {name}]" in text


# -- laws --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [SGLD, SGHMC])
@pytest.mark.slow
def test_temperature_zero_finds_the_mode(model, backend, sampler):
    settings = {"step_size": 0.03, "temperature": 0, "steps_per_draw": 200, "engine": backend}
    step = sampler(**settings, model=model)
    idata = sample(1, tune=20, chains=3, step=step, model=model, random_seed=1, progressbar=False)
    assert (idata.sample_stats["gradient_norm"] < 1e-6).all()
    np.testing.assert_allclose(idata.posterior["b"][0], idata.posterior["b"][1], atol=1e-8)
    assert idata.posterior.attrs["temperature"] == 0


@pytest.mark.parametrize("temperature", [0.25, 4.0])
@pytest.mark.slow
def test_temperature(backend, temperature):
    with pm.Model() as model:
        pm.Normal("x", shape=20)
        step = ATMC(step_size=0.2, temperature=temperature, steps_per_draw=20, engine=backend)
    kwargs = {"tune": 100, "chains": 4, "random_seed": 1, "progressbar": False}
    x = sample(400, step=step, model=model, **kwargs).posterior["x"]
    assert abs(x.std() / np.sqrt(temperature) - 1) < 0.04


@pytest.mark.slow
def test_cycles_keep_the_thermostat_right(backend):
    # One draw at the end of each cycle. Gradient noise of a variance V that is known, and large:
    # a thermostat that forgets it in the small steps, or overshoots, gets the variance wrong.
    y = np.random.default_rng(0).normal(0, 1, 100)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10, shape=20)
        pm.Normal("y", mu, 1, observed=np.tile(y[:, None], 20))
        settings = {"batch_size": 10, "step_size": 0.03, "steps_per_draw": 100}
        step = ATMC(**settings, schedule="cyclical", engine=backend)
    kwargs = {"tune": 100, "chains": 4, "random_seed": 1, "progressbar": False}
    idata = sample(300, step=step, model=model, **kwargs)
    assert abs(idata.posterior["mu"].mean() - y.mean()) < 0.01
    assert 0.09 < idata.posterior["mu"].std() < 0.11
    noise = 100**2 / 10 * y.var(ddof=1) * (1 - 10 / 100)
    assert abs(idata.sample_stats["gradient_noise"].mean() / noise - 1) < 0.1
    last = step.plan.schedule(np.array(99)) * 0.03
    np.testing.assert_allclose(idata.sample_stats["step_size"], last)


def test_rejections_are_counted_and_leave_the_state_finite(backend):
    with pm.Model() as model:
        x = pm.Normal("x", initval=0.5)
        pm.Potential("allowed", pt.switch(x < 0, np.nan, 0))
    engine = make_engine(model, backend, SGHMC, batch_size=None, step_size=0.2)
    state = engine.init(np.full((2, 1), 0.5), np.array([[1, 2], [3, 4]], np.uint32))
    positions, statistics, end = run(engine, state, [100], np.full((100, S), 0.2))
    assert (positions >= 0).all()
    assert 0 < statistics["rejected"].mean() < S
    assert all(np.isfinite(x).all() for x in (*statistics.values(), *end.values()))
    assert (end["rejected_in_a_row"] < 20).all()


@dataclass(frozen=True, kw_only=True)
class ThermostatFirst(SGNHTDynamics):
    """The same law with the auxiliaries in another order."""

    auxiliaries: ClassVar = ("thermostat", "momentum", "friction")


@pytest.mark.parametrize(
    "dynamics_class",
    [*(s.dynamics_class for s in SAMPLERS), ThermostatFirst],
    ids=lambda x: x.__name__,
)
def test_a_rejected_update_draws_the_momentum_afresh_and_keeps_the_rest(backend, dynamics_class):
    with pm.Model() as model:
        x = pm.Normal("x", shape=3)
        pm.Potential("half", pt.switch(x.sum() < 0, np.nan, 0.0))
        compiled = SGLD(model=model, step_size=0.1, engine=backend).compiled
    engine = compiled.engine(dynamics=dynamics_class())
    state = engine.init(-np.ones((2, 3)), np.array([[1, 2], [3, 4]], np.uint32))
    known = {name: np.full((2, 3), 10.0 + i) for i, name in enumerate(engine.auxiliaries)}
    _, end = engine.run(state | known, np.full((1, 5), 0.1), 0.1, {})
    for name, before in known.items():
        after = np.asarray(end[name])
        if name == "momentum":
            assert np.abs(after).max() < 6  # N(0, 1)
            assert len(np.unique(after)) == 6
        else:
            np.testing.assert_array_equal(after, before, err_msg=name)
    np.testing.assert_array_equal(end["position"], -np.ones((2, 3)))


def test_an_update_is_rejected_for_its_gradient_alone(backend):
    """Where the potential is finite and its gradient is not, no draw is left for the potential."""
    with pm.Model() as model:
        x = pm.Normal("x", shape=3)
        pm.Potential("edge", pt.sqrt(pt.maximum(x.sum(), 0)))
        compiled = SGNHT(model=model, step_size=0.1, engine=backend).compiled
    engine = compiled.engine()
    state = engine.init(-np.ones((2, 3)), np.array([[1, 2], [3, 4]], np.uint32))
    known = {name: np.full((2, 3), 10.0 + i) for i, name in enumerate(engine.auxiliaries)}
    draws, end = engine.run(state | known, np.full((2, 5), 0.1), 0.1, {})
    assert np.abs(np.asarray(end["momentum"])).max() < 6  # N(0, 1)
    np.testing.assert_array_equal(end["thermostat"], known["thermostat"])
    np.testing.assert_array_equal(end["position"], -np.ones((2, 3)))
    np.testing.assert_array_equal(draws.statistics["rejected"], np.full((2, 2), 5))
    np.testing.assert_array_equal(end["rejected_in_a_row"], [10, 10])


@pytest.mark.parametrize("names", [{"auxiliaries": ("key",)}, {"statistics": ("rejected",)}])
def test_names_that_engines_use_are_refused(names):
    (name,), *_ = names.values()
    with pytest.raises(TypeError, match=rf"has {name!r}: engines use .*Rename it"):
        type("Named", (SGNHTDynamics,), names)


@pytest.mark.parametrize("names", ["momentum", ("momentum", "momentum")])
def test_names_that_are_no_names_are_refused(names):
    with pytest.raises(TypeError, match=r"Named.auxiliaries must be a tuple of names"):
        type("Named", (SGNHTDynamics,), {"auxiliaries": names})


def test_a_dynamics_that_does_not_keep_the_contract_is_told(model):
    class Starting(SGNHTDynamics):
        auxiliaries = ("momentum", "memory")

    x = pt.vector("x")
    with pytest.raises(NotImplementedError, match="auxiliary 'memory' and does not say where it"):
        Starting().init(x, x)

    class Silent(SGNHTDynamics):
        statistics = ("gradient_noise",)

    compiled = SGLD(model=model, step_size=0.1).compiled
    with pytest.raises(ValueError, match=r"Silent.statistics names \['gradient_noise'\], and its"):
        compiled.engine(dynamics=Silent())


def test_the_momentum_is_drawn_for_the_position_that_a_chain_returns_to(backend):
    class Placed(SGNHTDynamics):
        def init(self, position, noise):
            return super().init(position, noise) | {"momentum": position}

    with pm.Model() as model:
        x = pm.Normal("x", shape=3)
        pm.Potential("half", pt.switch(x.sum() < 0, np.nan, 0.0))
        compiled = SGLD(model=model, step_size=0.1, engine=backend).compiled
    engine = compiled.engine(dynamics=Placed())
    state = engine.init(np.full((2, 3), 2.0), np.array([[1, 2], [3, 4]], np.uint32))
    state["position"] = np.full((2, 3), -1.0)
    _, end = engine.run(state, np.zeros((1, 1)), 0.1, {})
    np.testing.assert_array_equal(end["momentum"], np.full((2, 3), 2.0))


def test_shapes_of_rows_are_known_without_a_look_at_them(model, monkeypatch):
    potential = SGLD(model=model, batch_size=B, step_size=0.1).plan.potential
    types = [(x.dtype.name, (B, *x.shape[1:])) for x in potential.row_values()]
    monkeypatch.setattr(type(potential.rows), "values", pytest.fail)
    assert [(x.type.dtype, x.type.shape) for x in potential.inputs()[2]] == types


def test_names_that_engines_use_are_known(engine):
    state = start(engine, 2)
    assert set(state) - set(engine.auxiliaries) == OF_STATES
    draws, _ = engine.run(state, np.full((1, 2), H), H)
    assert set(draws.statistics) - set(OF_DRAWS) == set(engine.statistics) - set(UPDATE_STATISTICS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_state_is_in_the_precision_of_its_engine(backend, dtype):
    with pm.Model():
        pm.Normal("x", shape=2)
        pm.Normal("y", pm.Normal("m"), 1, observed=np.zeros(50))
        step = SGNHT(batch_size=5, dtype=dtype, engine=backend)
        rngs = [np.random.default_rng(i) for i in range(2)]
        points = [step.plan.potential.model.initial_point(0)] * 2
        run = Run(step.compiled, points, rngs, 4, 1).start()
    for _ in range(5):
        run.advance(1)
    kinds = {k: np.asarray(x).dtype.name for k, x in run.chains.state.items()}
    assert {k for k, name in kinds.items() if name not in (dtype, "uint32")} == set()


def test_rows_are_loaded_anew_only_if_they_changed(backend, monkeypatch):
    X = np.random.default_rng(0).normal(size=(50, 2))
    with pm.Model() as model:
        pm.Normal("y", pm.Data("X", X) @ pm.Normal("b", shape=2), 1, observed=np.zeros(50))
        step = SGLD(batch_size=5, step_size=0.01, steps_per_draw=1, engine=backend)
    engine, loads = step.compiled.engine(), []
    monkeypatch.setattr(engine, "load", loads.append)
    step.compiled.refresh()
    assert loads == []
    # In place, as well as by pm.set_data: both are other rows.
    model["X"].get_value(borrow=True)[3] = 7.0
    step.compiled.refresh()
    pm.set_data({"X": 2 * X}, model=model)
    step.compiled.refresh()
    assert len(loads) == 2
    assert any(np.array_equal(2 * X, x) for x in loads[-1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_that_were_released_are_there_again(backend, dtype):
    X = np.random.default_rng(0).normal(size=(50, 2))
    with pm.Model():
        pm.Normal("y", pm.Data("X", X) @ pm.Normal("b", shape=2), 1, observed=np.zeros(50))
        step = SGLD(batch_size=5, step_size=0.01, steps_per_draw=2, engine=backend, dtype=dtype)
        settings = {"tune": 0, "chains": 2, "step": step, "random_seed": 1, "progressbar": False}
        first, again = sample(5, **settings), sample(5, **settings)
    np.testing.assert_array_equal(first.posterior.b, again.posterior.b)


def integers(kind):
    """Rows, and what a model makes of them, of which some number needs more than 32 bits."""
    rng = np.random.default_rng(0)
    t = rng.integers(60_000, 100_000, 400)
    nanoseconds = (1.6e18 + 1e17 * rng.random(400)).astype("int64")
    code = pytensor.shared(t % 7)
    return {
        "rows": lambda: pytensor.shared(nanoseconds) / 1e18,
        "uint64": lambda: pytensor.shared(nanoseconds.astype("uint64")) / 1e18,
        "uint32": lambda: (pytensor.shared((t + 4 * 10**9).astype("uint32")) + 1) / 1e10,
        "difference": lambda: (pytensor.shared(nanoseconds) - int(1.6e18)) / 1e17,
        "square": lambda: pytensor.shared(t) ** 2 / 1e10,
        "constant": lambda: (pytensor.shared(t) - 5 * 10**9) / 1e10,
        "table": lambda: pytensor.shared(nanoseconds[:7])[code] / 1e18,
        "total": lambda: pt.cumsum(pytensor.shared(1000 * t)) / 1e10,
        "codes": lambda: pytensor.shared(np.linspace(0.5, 2, 7))[code],
    }[kind]()


@pytest.mark.parametrize(("kind", "wide"), [*((k, True) for k in WIDE), ("codes", False)])
def test_integers_that_need_64_bits_are_not_wrapped_in_float32(kind, wide):
    with pm.Model() as model:
        b = pm.Normal("b", 0, 10)
        pm.Normal("y", b * integers(kind), 1, observed=np.zeros(400))
    expected = -model.compile_logp()({"b": 2.0})
    step = SGLD(model=model, step_size=1e-4, dtype="float32", engine="jax")
    engine = step.compiled.engine()
    assert engine._64_bits == wide
    found, gradient = engine.evaluate(np.array([[2.0]]), {}, np.array([1, 2], np.uint32))
    assert found[0] == pytest.approx(expected, rel=1e-5)
    assert found.dtype == gradient.dtype == np.float32
    made = JaxDerivatives(step.plan.potential, step.plan.potential.row_values())
    assert made.gradient(np.array([[2.0]]), {})[0] == pytest.approx(expected, rel=1e-5)


def test_a_run_in_float32_with_integers_of_64_bits():
    with pm.Model():
        b = pm.Normal("b", 0, 10)
        t = integers("difference")
        pm.Normal("y", b * t, 1, observed=2 * t.eval())
        kwargs = {"random_seed": 1, "progressbar": False, "chains": 2}
        step = SGHMC(step_size=0.01, steps_per_draw=20, dtype="float32", engine="jax")
        idata = sample(200, tune=50, step=step, **kwargs)
    assert float(idata.posterior.b.mean()) == pytest.approx(2, abs=0.1)
    assert idata.sample_stats["rejected"].sum() == 0


@pytest.mark.slow
def test_points_are_fewer_at_once_where_they_fill_the_memory(monkeypatch):
    """The same derivatives, point by point."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 40)), rng.normal(size=300)
    with pm.Model() as model:
        w = pm.Normal("w", shape=40)
        pm.Normal("y", pm.math.tanh(pm.Data("X", X) @ w), 1, observed=y)
    potential = StochasticPotential(model, batch_size=50)
    points, directions = rng.normal(size=(2, 5, 40))
    found = []
    for most in (2**30, 1):
        monkeypatch.setattr(derivatives, "_BYTES", most)
        made = JaxDerivatives(potential, potential.row_arrays())
        found.append(made.products(points, directions, {}))
        assert (made._compiled["pairs"][1] > 1) == (most > 1)
    np.testing.assert_allclose(*found, rtol=1e-8)


def test_blas_has_its_threads_again_after_runs_at_once():
    def threads():
        pools = threadpoolctl.threadpool_info()
        return [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]

    before = threads()
    first, second = ExitStack(), ExitStack()
    first.enter_context(one_blas_thread())
    second.enter_context(one_blas_thread())
    first.close()  # the first to come is the first to leave, as no stack would have it
    assert set(threads()) == {1}
    second.close()
    assert threads() == before


def test_every_chain_has_rows_of_its_own(engine):
    """At one place that none leaves, only its rows tell a chain's potential from another's."""
    state = start(engine, 4)
    state["position"] = np.repeat(np.asarray(state["position"])[:1], 4, axis=0)
    draws, _ = engine.run(state, np.zeros((6, 1)), H)
    potentials = draws.statistics["potential_energy"]
    assert len(np.unique(potentials)) == potentials.size


@pytest.mark.parametrize("sampler", [SGLD, SGHMC])
def test_engines_agree_where_nothing_is_random(model, sampler):
    found = {}
    for backend in ("jax", "numba"):
        engine = make_engine(model, backend, sampler, batch_size=None, temperature=0)
        state = start(engine) | {"origin": np.full((3, 4), 0.7)}
        found[backend] = run(engine, state, [10])[:2]
    (positions, statistics), (same_positions, same_statistics) = found.values()
    np.testing.assert_allclose(positions, same_positions, rtol=1e-9)
    assert set(statistics) == set(same_statistics)
    for name, x in statistics.items():
        np.testing.assert_allclose(x, same_statistics[name], rtol=1e-7, err_msg=name)
    assert (np.abs(statistics["configurational_temperature"]) > 0.1).all()


@pytest.mark.parametrize("few", [1, 2, 3])
def test_threads_share_the_chains(model, monkeypatch, few):
    engine = make_engine(model, "jax")
    runs = []
    for at_once in (5, few):
        monkeypatch.setattr(of_jax, "chains_of_a_thread", lambda *_, n=at_once: n)
        draws, state = engine.run(start(engine, 5), np.full((3, S), H), H, {})
        runs.append((draws.positions, draws.statistics, jax.tree.map(np.asarray, state)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-9), *runs)


def test_chains_of_a_thread(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 4)
    assert threads.chains_of_a_thread(8, 100_000) == 1
    assert threads.chains_of_a_thread(8, 10) == 2
    assert threads.chains_of_a_thread(1, 10) == 1
    assert threads.chains_of_a_thread(400, 10) == 100
    # As few as make no fewer programs.
    assert threads.chains_of_a_thread(9, 10) == 3
    assert 1 < threads.chains_of_a_thread(400, 1000) < 100
