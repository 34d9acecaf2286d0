"""Faults, injected one by one: what survives them, and what is lost or silently wrong.

Small models with given step sizes, most cases on one compiled step: exceptions of several types at
every place of a run, Ctrl-C at any moment, schedules that end, rows and Deterministics that are not
finite, data replaced or changed in place, wide integers and narrow floats, edits of what `diagnose`
is given, and threads. A table by kind counts

    survived         as it should be: draws that are right, or a message that says what is wrong
    empty-handed     exceptions of `sample` without the draws that had been made
    draws lost       of each chain, that were made and are not in the output
    not finite       numbers of the output that are nan or infinite
    silently wrong   draws, settings or all-clears that are wrong, without a word

The exit status is 1 if one of the three but "draws lost" is not 0. About four minutes on two cores.

    python benchmarks/faults.py [--kinds exceptions edits] [--list]
"""

import argparse
import dataclasses
import logging
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import threadpoolctl
import xarray
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from rich.progress import Progress

import pymc_sgmcmc
from pymc_sgmcmc import ATMC, SGHMC, SGLD, SGNHT, diagnose, sample, sampling, session
from pymc_sgmcmc.engines.jax.engine import JaxEngine
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.output import Recorder
from pymc_sgmcmc.pymc_step.step import StochasticGradientStep
from pymc_sgmcmc.run import chains
from pymc_sgmcmc.run.phases import Run
from pymc_sgmcmc.store import memory

TUNE, DRAWS, STEPS = 6, 20, 5
PACKAGE = str(Path(pymc_sgmcmc.__file__).parent)


@dataclass
class Fault:
    """One that was injected, and what became of it."""

    name: str
    survived: bool = True
    empty_handed: bool = False
    lost: int = 0
    not_finite: int = 0
    wrong: bool = False
    said: str = ""

    @property
    def harmless(self) -> bool:
        """Whether nothing of what must not happen happened."""
        return not (self.empty_handed or self.not_finite or self.wrong)


def run(step: Any, draws: int = DRAWS, **kwargs: Any) -> Any:
    settings = {"tune": TUNE, "chains": 2, "random_seed": 1, "progressbar": False}
    return sample(draws, step=step, model=step.plan.potential.model, **(settings | kwargs))


def not_finite(idata: Any) -> int:
    groups = [idata[name] for name in ("posterior", "warmup_posterior") if name in idata]
    return sum(int((~np.isfinite(x.values)).sum()) for g in groups for x in g.data_vars.values())


def says(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:90]


def explained(error: BaseException) -> bool:
    """Whether an exception is one that this package or PyMC raises, not one that slipped."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = last.filename.startswith((PACKAGE, str(Path(pm.__file__).parent)))
    return ours and (last.line or "").startswith("raise")


# -- a run that does not come to its end --------------------------------------------------------


def simple_step(**kwargs: Any) -> Any:
    with pm.Model():
        x = pm.Normal("x", shape=3)
        pm.Deterministic("twice", 2 * x)
        return SGLD(step_size=0.1, steps_per_draw=STEPS, **({"engine": "jax"} | kwargs))


def whole_run(idata: Any) -> Any:
    """All draws of x, with those of the tuning if they were kept."""
    names = [name for name in ("warmup_posterior", "posterior") if name in idata]
    return np.concatenate([idata[name]["x"].values for name in names], axis=1)


def injured(
    name: str, step: Any, whole: Any, injure: ExitStack, draws: int = DRAWS, **kwargs: Any
) -> Fault:
    """Run with a fault that `injure` has put in place; hold the draws against a whole run's."""
    seen: list[Any] = []
    init = Run.__init__

    def watched(self: Any, *args: Any, **kwargs: Any) -> None:
        seen.append(self)
        init(self, *args, **kwargs)

    keep = not kwargs.get("discard_tuned_samples", True)
    with injure:
        injure.enter_context(mock.patch.object(Run, "__init__", watched))
        try:
            idata, error = run(step, draws, **kwargs), None
        except BaseException as caught:
            error = caught
            idata = getattr(error, "idata", None)
    made = getattr(seen[-1], "made", 0) - (0 if keep else TUNE) if seen else 0
    said = says(error) if error else ""
    if idata is None:
        # Ctrl-C before the first draw ends the call, and nothing is lost by it.
        return Fault(name, error is not None, made > 0, max(0, made), said=said)
    x = whole_run(idata)
    attributes = next(iter(idata.children.values())).attrs
    updates = (x.shape[1] + (0 if keep else TUNE)) * STEPS
    right = np.array_equal(x, whole[:, : x.shape[1]]) and attributes["updates"] == updates
    return Fault(name, right, False, made - x.shape[1], not_finite(idata), not right, said)


def failing(owner: Any, name: str, error: type, call: int) -> ExitStack:
    """Have a function raise an error in one of its calls, counted from 1."""
    function, calls = getattr(owner, name), []

    def fails(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        if len(calls) == call:
            raise error("injected")
        return function(*args, **kwargs)

    stack = ExitStack()
    stack.enter_context(mock.patch.object(owner, name, fails))
    return stack


def exceptions() -> Iterator[Fault]:
    """Every type of exception at every place, once the first draws have been made."""
    places = {
        "engine.run": (JaxEngine, "run"),
        "advance": (Run, "advance"),
        "schedule": (chains.schedules, "factors"),
        "append": (StochasticPotential, "unravel"),
        "Recorder": (Recorder, "__call__"),
        "progress": (session, "_describe"),
        "end of progress": (Progress, "stop"),
        "attributes": (StochasticGradientStep, "run_report"),
        "to_datatree": (memory, "to_datatree"),
        "signs_of_trouble": (sampling, "signs_of_trouble"),
    }
    errors = (ValueError, KeyError, ArithmeticError, MemoryError, OSError, KeyboardInterrupt)
    errors += (jax.errors.JaxRuntimeError, SystemExit)
    step = simple_step()
    for keep in (False, True):
        whole = whole_run(run(step, discard_tuned_samples=not keep))
        for place, (owner, name) in places.items():
            counter = mock.Mock(side_effect=getattr(owner, name))
            with mock.patch.object(owner, name, lambda *a, f=counter, **k: f(*a, **k)):
                run(step, discard_tuned_samples=not keep)
            call = -(-3 * counter.call_count // 4)
            for error in errors:
                label = f"{error.__name__} in {place}{', tuning kept' * keep}"
                injury = failing(owner, name, error, call)
                yield injured(label, step, whole, injury, discard_tuned_samples=not keep)


def interrupts() -> Iterator[Fault]:
    """Ctrl-C at any moment, and once more soon after."""
    left = 0

    def press(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyboardInterrupt

    step, draws = simple_step(), 1_000
    started = time.perf_counter()
    whole = whole_run(run(step, draws))
    seconds = time.perf_counter() - started
    before = signal.signal(signal.SIGALRM, press)
    for i in range(12):
        for left in (1, 2):
            name = f"at {i + 0.5}/12 of a run{', and again' * (left == 2)}"
            signal.setitimer(signal.ITIMER_REAL, seconds * (i + 0.5) / 12, 0.002)
            try:
                yield injured(name, step, whole, ExitStack(), draws)
            except KeyboardInterrupt:  # sample had returned
                pass
            signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def schedule_ends() -> Iterator[Fault]:
    def raises(t: Any) -> Any:
        if np.max(t) >= end:
            raise RuntimeError("no step size")
        return np.ones(np.shape(t))

    for backend in ("jax", "numba"):
        step = simple_step(engine=backend)
        whole = whole_run(run(step))
        for end in ((TUNE + 1) * STEPS, (TUNE + DRAWS // 2) * STEPS + 2):
            for bad in (np.nan, np.inf, -1.0, raises):
                schedule = (
                    bad if callable(bad) else lambda t, b=bad, e=end: np.where(t >= e, b, 1.0)
                )
                step.compiled.plan = dataclasses.replace(step.plan, schedule=schedule)
                name = f"{getattr(bad, '__name__', bad)} at update {end}, {backend}"
                yield injured(name, step, whole, ExitStack())


class Fragile(Op):
    """Identity that raises an error for large numbers."""

    def __init__(self, error: type) -> None:
        self.error = error

    def make_node(self, x: Any) -> Any:  # noqa: D102
        return Apply(self, [pt.as_tensor(x)], [pt.dvector()])

    def perform(self, node: Any, inputs: Any, outputs: Any) -> None:  # noqa: D102
        if abs(inputs[0]).max() > 0.5:
            raise self.error("injected")
        outputs[0][0] = inputs[0].copy()


def deterministics() -> Iterator[Fault]:
    """A Deterministic that fails, has no fixed shape, overflows or is too large."""
    plain = simple_step()
    whole = whole_run(run(plain))
    graphs: dict[str, Callable[[Any], Any]] = {
        **{
            f"raises {error.__name__}": lambda x, e=error: Fragile(e)(x)
            for error in (ValueError, MemoryError, ArithmeticError, KeyboardInterrupt)
        },
        "of no fixed shape": lambda x: pt.nonzero(x > 0)[0],
        "too large for any memory": lambda x: pt.zeros((2**20, 3)) + x,
    }
    for name, graph in graphs.items():
        with pm.Model():
            pm.Deterministic("d", graph(pm.Normal("x", shape=3)))
            step = SGLD(step_size=0.1, steps_per_draw=STEPS, engine="jax")
        if "too large" in name:
            injury = ExitStack()
            injury.enter_context(mock.patch.object(sampling.np, "empty", no_room_for_large))
        else:
            injury = ExitStack()
        yield injured(name, step, whole, injury)


def no_room_for_large(shape: Any, dtype: Any = float, _empty: Any = np.empty) -> Any:
    if np.prod(shape, dtype=float) > 1e7:
        raise MemoryError("injected")
    return _empty(shape, dtype)


# -- models and data ---------------------------------------------------------------------------

N = 200
RNG = np.random.default_rng(0)
X = RNG.normal(size=N)
Y = 2 * X + RNG.normal(size=N)


def regression(x: Any = X, y: Any = Y, wrap: Any = pm.Data, **kwargs: Any) -> Any:
    settings = {"batch_size": 20, "step_size": 0.007, "steps_per_draw": 100, "engine": "jax"}
    with pm.Model():
        slope = pm.Normal("slope", 0, 10)
        columns = wrap("x", x), wrap("y", y)
        pm.Normal("obs", slope * columns[0], 1, observed=columns[1])
        return ATMC(**(settings | kwargs))


def is_right(idata: Any, model: Any) -> bool:
    """Whether the slope has the posterior of the model as it is, up to the error of few draws."""
    logp = model.compile_logp()
    left, middle, right = (logp({"slope": x}) for x in (-1.0, 0.0, 1.0))
    curvature = 2 * middle - left - right
    mean, sd = (right - left) / 2 / curvature, 1 / np.sqrt(curvature)
    draws = idata.posterior["slope"]
    return bool(abs(draws.mean() - mean) < sd and 0.5 * sd < draws.std() < 2 * sd)


def judged(name: str, make: Callable[[], Any], right: Callable[[Any], bool]) -> Fault:
    """Draws must be right, or not to be trusted, or refused in words."""
    try:
        idata = make()
    except Exception as error:
        return Fault(name, explained(error), said=says(error))
    told = ", ".join(finding.check for finding in diagnose(idata).findings if finding.problem)
    fine = right(idata) or bool(told)
    return Fault(name, fine, not_finite=not_finite(idata), wrong=not fine, said=told)


def plain(name: str, values: Any) -> Any:
    """An array of the model that is no pm.Data."""
    return values


def rows_not_finite() -> Iterator[Fault]:
    for bad in (np.nan, np.inf, -np.inf):
        for wrap in (plain, pm.Data):
            for batch_size in (20, None):
                for which in "xy":
                    arrays = {"x": X.copy(), "y": Y.copy()}
                    arrays[which][7] = bad
                    make = partial(regression, **arrays, wrap=wrap, batch_size=batch_size)
                    name = f"{bad} in {which}, {wrap.__name__}, batch_size={batch_size}"
                    yield judged(name, lambda m=make: run(m(), 400), lambda idata: False)


def data_replaced() -> Iterator[Fault]:
    """`pm.set_data` between two runs of a step."""
    step = regression()
    model = step.plan.potential.model
    run(step)
    one_bad = {bad: np.where(np.arange(N) == 7, bad, X) for bad in (np.nan, np.inf, -np.inf)}
    replacements: dict[str, tuple[Any, Any]] = {
        "other values": (X, -Y),
        "three times the rows": (np.tile(X, 3), np.tile(Y, 3)),
        "a tenth of the rows, as many as a batch": (X[:20], Y[:20]),
        "fewer rows than a batch": (X[:5], Y[:5]),
        "no rows": (X[:0], Y[:0]),
        "x longer than y": (np.tile(X, 2), Y),
        "y longer than x": (X, np.tile(Y, 2)),
        **{f"{bad} in x": (x, Y) for bad, x in one_bad.items()},
        **{f"{bad} in y": (X, x) for bad, x in one_bad.items()},
        "back again": (X, Y),
    }

    def replaced(step: Any, arrays: dict[str, Any]) -> Any:
        with step.plan.potential.model:
            pm.set_data(arrays)
        return run(step, 400, tune=100)

    for name, (x, y) in replacements.items():
        make = partial(replaced, step, {"x": x, "y": y})
        yield judged(name, make, partial(is_right, model=model))
    rows = RNG.exponential(size=5_000)
    for backend in ("jax", "numba"):
        with pm.Model():
            rate = pm.Normal("log_rate")
            pm.Exponential("obs", pm.math.exp(rate), observed=pm.Data("y", rows))
            step = ATMC(batch_size=20, step_size=5e-4, steps_per_draw=100, engine=backend)
        run(step)
        bad = {"y": np.where(np.arange(len(rows)) == 7, -1, rows)}
        name = f"y = -1 of an Exponential, {backend}"
        yield judged(name, partial(replaced, step, bad), lambda idata: False)


def changed_in_place() -> Iterator[Fault]:
    """Arrays that a model holds, changed between two runs of a step."""
    for backend in ("jax", "numba"):
        for wrap in (pm.Data, plain):
            x = X.copy()
            step = regression(x, wrap=wrap, engine=backend)
            model = step.plan.potential.model
            run(step)
            held = model["x"].get_value(borrow=True) if "x" in model else x
            held *= -1
            name = f"rows, {wrap.__name__}, {backend}"
            yield judged(name, partial(run, step, 400, tune=100), partial(is_right, model=model))
        for wrap in (pm.Data, plain):
            sd = np.array([1.0])
            with pm.Model() as model:
                pm.Normal("x", 0, pt.as_tensor(wrap("sd", sd))[0])
                step = SGLD(step_size=0.3, steps_per_draw=20, engine=backend)
            run(step)
            held = model["sd"].get_value(borrow=True) if "sd" in model else sd
            held[:] = 0.1
            now = np.exp(-model.compile_logp()({"x": 0.0})) / np.sqrt(2 * np.pi)
            yield judged(
                f"the scale of a prior, {wrap.__name__}, {backend}",
                partial(run, step, 200, tune=100),
                lambda idata, sd=now: bool(0.7 < idata.posterior["x"].std() / sd < 1.4),
            )


def half_spaces() -> Iterator[Fault]:
    """Parameters that the model can't have, on one side of a wall."""
    every = [(s, "jax", bad) for s in (SGLD, SGHMC, SGNHT, ATMC) for bad in (np.nan, np.inf)]
    every += [(SGLD, "numba", np.nan), (ATMC, "numba", -np.inf)]
    for sampler, backend, bad in every:
        with pm.Model():
            x = pm.Normal("x", initval=0.5)
            pm.Potential("wall", pt.switch(x < -0.5, -bad, 0))
            step = sampler(step_size=0.1, steps_per_draw=10, engine=backend)
        idata = run(step, 300)
        x, bad_numbers = idata.posterior["x"], not_finite(idata)
        right = bool((x >= -0.5).all() and 0.2 < x.mean() < 0.8)
        counted = bool(idata.sample_stats["rejected"].sum() > 0)
        name = f"{-bad} for {sampler.__name__} on {backend}"
        yield Fault(name, right and counted, False, 0, bad_numbers, not (right and counted))


def integers() -> Iterator[Fault]:
    """Potential of integer rows, beside the model's own."""

    def compare(name: str, rows: Any, scale: float, **kwargs: Any) -> Fault:
        y = 2 * (rows.get_value() if hasattr(rows, "get_value") else rows) / scale
        with pm.Model() as model:
            slope = pm.Normal("slope", 0, 10)
            pm.Normal("y", slope * (rows / scale), 0.1, observed=y.astype(float))
        try:
            step = SGLD(step_size=0.1, model=model, **kwargs)
            engine = step.compiled.engine()
            ours, _ = engine.evaluate(np.array([[1.5]]), {}, np.array([1, 2], np.uint32))
        except Exception as error:
            return Fault(name, explained(error), said=says(error))
        right = np.isclose(ours[0], -model.compile_logp()({"slope": 1.5}), rtol=1e-3)
        return Fault(name, bool(right), wrong=not right)

    small = RNG.integers(0, 100, 50)
    for kind in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"):
        x = small.astype(kind)
        yield compare(f"{kind}, float32", x, 50.0, dtype="float32", engine="jax")
    large = {
        "int64": (1.6e18 + 1e17 * RNG.random(50)).astype("int64"),
        "uint32": (2**31 + 1e9 * RNG.random(50)).astype("uint32"),
        "uint64": (1e19 * RNG.random(50)).astype("uint64"),
    }
    for kind, x in large.items():
        for dtype in ("float32", "float64"):
            for backend in ("jax", "numba") if kind == "int64" else ("jax",):
                for form, wrapped in {"array": x, "shared variable": pytensor.shared(x)}.items():
                    name = f"large {kind} of an {form}, {dtype}, {backend}"
                    yield compare(name, wrapped, float(x.max()), dtype=dtype, engine=backend)


def narrow_floats() -> Iterator[Fault]:
    """Posteriors that float32 can't resolve."""
    for centre in (1e5, 1e6, 1e8):
        y = centre + RNG.normal(size=5_000)

        def make(y: Any = y, centre: float = centre) -> Any:
            with pm.Model():
                pm.Normal("y", pm.Normal("mu", centre, 100), 1, observed=y)
                step = ATMC(step_size=0.003, steps_per_draw=30, dtype="float32", engine="jax")
            return run(step, 500, tune=200)

        def right(idata: Any) -> bool:
            mu = idata.posterior["mu"].values
            return len(np.unique(mu)) > 50 and 0.8 < mu.std() * np.sqrt(5_000) < 1.2

        yield judged(f"mean {centre:g}, standard deviation 0.014", make, right)


# -- edits, threads, attributes -----------------------------------------------------------------


def edits() -> Iterator[Fault]:
    """Edits of a run that is given to `diagnose`: a finding, or a message of this package."""
    with pm.Model():
        x = pm.Normal("x", shape=3)
        pm.Deterministic("e", pm.math.exp(x))
        idata = sample(200, tune=100, step=ATMC(engine="jax"), random_seed=1, progressbar=False)

    def edited(name: str, edit: Callable[[Any], Any], unmeasured: bool = False) -> Fault:
        tree = idata.copy(deep=True)
        tree = edit(tree) or tree
        try:
            trusted = diagnose(tree).trustworthy
        except Exception as error:
            return Fault(name, explained(error), said=says(error))
        return Fault(name, not (unmeasured and trusted), wrong=unmeasured and trusted)

    def posterior(change: Callable[[Any], Any]) -> Callable[[Any], None]:
        def edit(tree: Any) -> None:
            tree["posterior"].dataset = change(tree["posterior"].to_dataset())

        return edit

    def put(value: float) -> Callable[[Any], Any]:
        here = xarray.DataArray(np.arange(200) == 7, dims="draw")
        return lambda dataset: dataset.assign(x=dataset["x"].where(~here, value))

    for name, edit in {
        "all nan": posterior(lambda d: d * np.nan),
        "all infinite": posterior(lambda d: d * np.inf),
        "constant": posterior(lambda d: d * 0),
        "a nan": posterior(put(np.nan)),
        "an infinity": posterior(put(np.inf)),
        "one draw": lambda tree: tree.isel(draw=slice(1)),
        "no draws": lambda tree: tree.isel(draw=slice(0)),
    }.items():
        yield edited(f"posterior: {name}", edit, unmeasured=True)
    for group in list(idata.children):
        yield edited(f"no {group}", lambda tree, g=group: tree.drop_nodes(g))
    for group in ("posterior", "sample_stats"):
        for name in idata[group].data_vars:
            yield edited(
                f"no {name} in {group}",
                lambda tree, g=group, n=name: setattr(
                    tree[g], "dataset", tree[g].to_dataset().drop_vars(n)
                ),
            )
    for name in idata.sample_stats.data_vars:

        def spoil(tree: Any, name: Any = name) -> None:
            tree["sample_stats"][name] = tree["sample_stats"][name] * np.nan

        yield edited(f"statistic {name} is nan", spoil)
    measured = ("expected_bias", "target_bias", "curvature_ratio")
    for name in idata.posterior.attrs:
        for value in ("deleted", "word", np.nan, 1e300, [1.0, 2.0]):

            def change(tree: Any, name: str = name, value: Any = value) -> None:
                for group in ("posterior", "sample_stats"):
                    tree[group].attrs.pop(name)
                    if value != "deleted":
                        tree[group].attrs[name] = value

            unmeasured = name in measured and value is np.nan
            yield edited(f"attribute {name}: {value}", change, unmeasured)
    for name, argument in {"no name": "no", "a text": "x", "a number": 3}.items():
        fault = Fault(f"var_names: {name}")
        try:
            diagnose(idata, var_names=[argument] if name == "no name" else argument)
        except Exception as error:
            fault.survived, fault.said = explained(error), says(error)
        yield fault


def threads() -> Iterator[Fault]:
    """Four runs at once, of one step or of one each: the draws of runs one after the other."""
    for backend in ("jax", "numba"):
        for shared in (False, True):
            steps = [simple_step(engine=backend)] * 4
            if not shared:
                steps = [simple_step(engine=backend) for _ in steps]
                for step in steps:
                    run(step)  # compiles
            seeds = range(4)
            alone = [run(s, random_seed=i) for i, s in zip(seeds, steps, strict=True)]
            blas = [x["num_threads"] for x in threadpoolctl.threadpool_info()]
            with ThreadPoolExecutor(4) as pool:
                together = list(pool.map(lambda i, s: run(s, random_seed=i), seeds, steps))
            left = [x["num_threads"] for x in threadpoolctl.threadpool_info()][: len(blas)]
            for i, (a, b) in enumerate(zip(alone, together, strict=True)):
                same = np.array_equal(a.posterior["x"], b.posterior["x"])
                name = f"thread {i}, {'one step' if shared else 'a step each'}, {backend}"
                yield Fault(name, same, not_finite=not_finite(b), wrong=not same)
            name = f"BLAS threads afterwards, {'one step' if shared else 'a step each'}, {backend}"
            yield Fault(name, blas == left, said="" if blas == left else f"{blas}, then {left}")


def what_ran() -> Iterator[Fault]:
    """Attributes of the output, where several steps were made for a model."""
    with pm.Model() as model:
        x, y = pm.Normal("x"), pm.Normal("y")
        steps = [SGHMC([x], step_size=0.1, steps_per_draw=2), pm.Metropolis([y])]
        SGLD([x], step_size=0.9)
        pair = [SGHMC([x], step_size=0.1, steps_per_draw=2), SGLD([y], step_size=0.3)]
    settings = {"tune": 5, "chains": 2, "random_seed": 1, "progressbar": False}
    settings |= {"compute_convergence_checks": False, "quiet": True}
    for name, step, kwargs in (
        ("another made beside, two processes", steps, {"cores": 2, "mp_ctx": "forkserver"}),
        ("another made beside, one process", steps, {"cores": 1}),
        ("two of ours", pair, {"cores": 1}),
    ):
        with model:
            idata = pm.sample(20, step=step, **(settings | kwargs))
        recorded = idata.sample_stats["step_size"].values.reshape(40, -1)[-1]
        said = np.ravel(idata.posterior.attrs["step_size"])
        same = np.array_equal(recorded, said)
        fault = Fault(name, same, wrong=not same, said=f"{said} of {recorded}")
        try:
            diagnose(idata)
        except Exception as error:
            fault.survived, fault.said = explained(error), says(error)
        yield fault


KINDS = (
    what_ran,  # first: its processes start while this one is young
    exceptions,
    interrupts,
    schedule_ends,
    deterministics,
    rows_not_finite,
    data_replaced,
    changed_in_place,
    half_spaces,
    integers,
    narrow_floats,
    edits,
    threads,
)


def main() -> None:
    names = [kind.__name__ for kind in KINDS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=names, default=names)
    parser.add_argument("--list", action="store_true", help="every fault, not only harmful ones")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None  # JAX's callback of the garbage collector drops a Ctrl-C
    chains._BLOCK_SECONDS = 0.0  # blocks of one draw: faults have their place among the draws
    columns = "injected", "survived", "empty-handed", "draws lost", "not finite", "silently wrong"
    print(f"{'':18}" + "".join(f"{c:>15}" for c in columns) + f"{'seconds':>9}")
    harmful, total = [], np.zeros(len(columns), int)
    for kind in KINDS:
        if kind.__name__ not in options.kinds:
            continue
        started, faults = time.perf_counter(), list(kind())
        counts = [
            len(faults),
            sum(f.survived for f in faults),
            sum(f.empty_handed for f in faults),
            sum(f.lost for f in faults),
            sum(f.not_finite for f in faults),
            sum(f.wrong for f in faults),
        ]
        total += counts
        seconds = time.perf_counter() - started
        words = "".join(f"{n:15,}" for n in counts)
        print(f"{kind.__name__:18}{words}{seconds:9.0f}", flush=True)
        for fault in faults:
            if options.list or not (fault.survived and fault.harmless):
                mark = "·" if fault.survived and fault.harmless else "✗"
                print(f"    {mark} {fault.name}" + f"  ({fault.said})" * bool(fault.said))
        harmful += [fault for fault in faults if not fault.harmless]
    print(f"{'all':18}" + "".join(f"{n:15,}" for n in total))
    sys.exit(bool(harmful))


if __name__ == "__main__":
    main()
