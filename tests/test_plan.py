"""A plan, what is compiled for it, and the phases of its runs."""

import numpy as np
import pymc as pm
import pytest

from pymc_sgmcmc import ATMC, JAX, SGLD, Numba, WarmUp
from pymc_sgmcmc.dynamics import SGHMCDynamics
from pymc_sgmcmc.engines.jax import engine
from pymc_sgmcmc.engines.jax.functions import translate
from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.plan.tuning import Place, Tuning
from pymc_sgmcmc.pymc_step import population
from pymc_sgmcmc.run.phases import Run
from pymc_sgmcmc.warmup import choice

D = 3


@pytest.fixture(scope="module")
def model():
    with pm.Model() as model:
        pm.Normal("x", 0, 0.1, shape=D)
    return model


def tuning(factor, anchor=None):
    place = Place(Coordinates(np.zeros(D), factor), np.zeros(D), 0.0, anchor)
    return Tuning(0.1, 10, 5, (place,), np.zeros(2, int))


def test_an_engine_is_compiled_once_for_each_thing_that_it_depends_on(model):
    compiled = SGLD(model=model, step_size=0.1, engine="jax").compiled
    diagonal, dense = tuning(np.ones(D)), tuning(np.eye(D))
    asked = [
        {},
        {"tuning": diagonal},
        {"tuning": dense},
        {"tuning": tuning(np.eye(D), (0.0, np.zeros(D)))},
        {"dynamics": SGHMCDynamics()},
        {"dynamics": SGHMCDynamics(momentum_decay=0.5)},
        {"settings": JAX(matmul_precision="float32")},
        {"settings": Numba()},
    ]
    engines = [compiled.engine(**kwargs) for kwargs in asked]
    assert len(set(map(id, engines))) == len(asked)
    assert [compiled.engine(**kwargs) for kwargs in asked] == engines
    # Where the chains are is no matter of the engine, but of its arguments.
    assert compiled.engine(tuning=tuning(2 * np.eye(D))) is engines[2]


def test_gradients_are_clipped_where_chains_move_and_not_where_the_warm_up_looks(model):
    def norm(step, of=None):
        engine = step.compiled.engine(tuning=of)
        positions, parameters = np.ones((1, D)), of.parameters() if of else {}
        _, gradient = engine.evaluate(positions, {}, np.array([1, 2], np.uint32), parameters)
        return np.linalg.norm(gradient)

    found = ATMC(model=model, clip_gradient=1.0)
    assert norm(found) == pytest.approx(100 * D**0.5)
    assert norm(found, tuning(np.ones(D))) == pytest.approx(1)
    assert norm(ATMC(model=model, clip_gradient=1.0, step_size=0.1)) == pytest.approx(1)


def test_a_potential_is_translated_once_for_all_coordinates(model, monkeypatch):
    translated = []

    def counting(program):
        translated.append(program)
        return translate(program)

    monkeypatch.setattr(engine, "translate", counting)
    compiled = ATMC(model=model).compiled
    anchor = 0.0, np.zeros(D)
    made = [compiled.engine(JAX(), x) for x in (None, tuning(np.eye(D)), tuning(np.eye(D), anchor))]
    assert len({id(one) for one in made}) == 3
    assert len(translated) == 1


def test_each_phase_has_its_updates_and_blocks_end_with_it(model):
    step = ATMC(model=model, engine="jax")
    rngs = [np.random.default_rng(i) for i in range(2)]
    run = Run(step.compiled, [model.initial_point(0)] * 2, rngs, tune=7, draws=5).start()
    found, ends = run.tuning, []
    assert found.tuning_steps_per_draw < found.steps_per_draw
    while run.made < 12:
        before = run.updates, run.made
        run.advance(12 - run.made)
        ends.append(run.made)
        steps = run.tuning.steps_per_draw if before[1] >= 7 else run.steps
        assert run.updates - before[0] == steps * (run.made - before[1])
        if before[1] < 3:
            assert run.steps == found.tuning_steps_per_draw
    # Half-way through the tuning, and at its end.
    assert {3, 7, 12} <= set(ends)
    assert run.steps == run.tuning.steps_per_draw
    after_half = 4 * run.tuning.tuning_steps_per_draw
    assert run.tuning_updates == 3 * found.tuning_steps_per_draw + after_half
    assert run.updates == run.tuning_updates + 5 * run.tuning.steps_per_draw


def test_what_was_settled_stays(model):
    step = ATMC(model=model, engine="jax")
    rngs = [np.random.default_rng(0)]
    run = Run(step.compiled, [model.initial_point(0)], rngs, tune=4, draws=4).start()
    seen = []
    while run.made < 8:
        run.advance(1)
        seen.append(run.tuning)
    assert seen[0] is not seen[1]
    assert all(later is seen[1] for later in seen[2:])
    # Updates are counted on, wherever the chains begin again: none shares its noise with another.
    assert np.asarray(run.chains.state["update"]).tolist() == [run.updates]


@pytest.mark.parametrize("engine", ["jax", "numba"])
@pytest.mark.slow
def test_thermostats_begin_where_they_settle(engine):
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("m", 0, 1, shape=2).sum(), 1, observed=np.arange(100.0) / 50)
        step = ATMC(batch_size=10, warmup=WarmUp(control_variate=False), engine=engine)
    run = Run(step.compiled, [model.initial_point(0)], [np.random.default_rng(0)], tune=4).start()
    (place,) = run.tuning.places
    assert place.noise.max() > 0.1
    settled = step.plan.dynamics.settled(run.tuning.step_size, place.noise)["thermostat"]
    np.testing.assert_allclose(run.chains.state["thermostat"], settled[None])


def test_where_the_first_engine_lacks_an_op_the_next_one_warms_up(model, monkeypatch):
    def lacking(compiled, others, rng, starts, engine):
        if engine == JAX():
            raise NotImplementedError
        return engine

    monkeypatch.setattr(choice, "_warm_up", lacking)
    assert choice.warm_up(ATMC(model=model).compiled, {}, None, None) == Numba()
    with pytest.raises(NotImplementedError):
        choice.warm_up(ATMC(model=model, engine="jax").compiled, {}, None, None)


def test_draws_after_tuning_are_judged(model, monkeypatch):
    seen = []
    monkeypatch.setattr(population, "signs_of_step", lambda *judged: seen.append(judged) or [])
    step = SGLD(step_size=0.01, steps_per_draw=2, model=model, engine="jax")
    kwargs = {"random_seed": 1, "progressbar": False, "compute_convergence_checks": False}
    with model:
        idata = pm.sample(7, tune=4, chains=3, step=step, **kwargs)
    ((statistics, report),) = seen
    for name, x in statistics.items():
        np.testing.assert_array_equal(x, idata.sample_stats[name], err_msg=name)
    for name, value in report.attributes().items():
        assert idata.posterior.attrs[name] == value, name


def test_making_a_run_does_nothing_yet(model, monkeypatch):
    step = ATMC(model=model)
    monkeypatch.setattr(type(step.compiled), "engine", pytest.fail)
    run = Run(step.compiled, [model.initial_point(0)], [np.random.default_rng(0)], tune=4)
    assert (run.made, run.updates) == (0, 0)
