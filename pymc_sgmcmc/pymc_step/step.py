"""How a step advances its chains in `pm.sample`: all of them together, or one by one."""

from __future__ import annotations

import difflib
import functools
import inspect
import logging
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, NoReturn, TypedDict

import numpy as np
from numpy.random import Generator
from pymc.model import Model, modelcontext
from pymc.sampling.population import _sample_population
from pymc.step_methods.arraystep import PopulationArrayStepShared
from pymc.step_methods.compound import BlockedStep, StepMethodState
from pymc.step_methods.state import dataclass_state
from pymc.util import get_random_generator

from pymc_sgmcmc.dynamics import Dynamics, schedules
from pymc_sgmcmc.engines.base import UPDATE_STATISTICS, Draws
from pymc_sgmcmc.engines.choice import check_backend, check_matmul_precision, check_shard
from pymc_sgmcmc.model.potential import sampled_value_vars
from pymc_sgmcmc.output import warn_of_large_output
from pymc_sgmcmc.plan.tuning_arguments import check_tuning_arguments, resolve_tuning_arguments
from pymc_sgmcmc.pymc_step.attributes import Reported, attributes_of
from pymc_sgmcmc.report.signs import log_trouble
from pymc_sgmcmc.run.chains import Chains, Point, Sampler, refuse_forked_jax
from pymc_sgmcmc.run.starts import check_start
from pymc_sgmcmc.warn import warn_user

_log, _to_users = logging.getLogger(__name__), logging.getLogger("pymc")

_DEFAULTS = {
    "steps_per_draw": "auto",
    "preconditioner": "auto",
    "control_variate": "auto",
    "target_bias": 0.02,
    "temperature": 1.0,
    "backend": "auto",
    "shard": "chains",
    "start": "auto",
}


# What arguments are called elsewhere, and here.
_ELSEWHERE = {
    "step_size; usually none is needed, the warm-up finds one": (
        "learning_rate lr epsilon eps eta h dt stepsize step_scale step_width init_step_size"
    ),
    "batch_size": "minibatch_size mini_batch_size batch minibatch bs",
    "steps_per_draw": (
        "n_steps num_steps steps thin thinning every_nth n_leapfrog num_leapfrog_steps "
        "num_integration_steps path_length"
    ),
    "momentum_decay": "friction momentum alpha mdecay decay",
    "temperature; T = 1/β": "beta inverse_temperature inv_temperature",
    "preconditioner": "mass_matrix inverse_mass_matrix metric scaling precondition",
    "clip_gradient": "grad_clip gradient_clip clip clip_norm max_grad_norm clip_grad_norm",
    "target_bias": "target_accept delta tolerance",
    "control_variate": "control_variates svrg variance_reduction",
    "dtype": "precision floatX",
    "backend": "engine compiler compile_kwargs nuts_sampler",
    "data": "row_data minibatch_tensors minibatches",
    "start": "init initvals initial_point",
}
_OF_SAMPLE = (
    "tune draws chains cores random_seed seed progressbar burn_in burnin n_burn warmup num_warmup "
    "num_samples n_samples num_chains n_iter iterations epochs n_epochs callback"
).split()


class Options(TypedDict, total=False):
    """Arguments that all step methods take; see the docstring of each."""

    batch_size: int | None
    data: Sequence[str] | None
    step_size: float | None
    steps_per_draw: int | Literal["auto"]
    preconditioner: Any
    control_variate: bool | Literal["auto"]
    target_bias: float
    schedule: str | schedules.Schedule | None
    temperature: float
    dtype: str | None
    backend: Literal["auto", "jax", "numba"]
    shard: Literal["chains", "rows"]
    matmul_precision: Literal["bfloat16", "tensorfloat32", "float32"] | None
    start: Literal["auto", "jitter", "prior"]
    clip_gradient: float | None
    model: Model | None
    rng: Any
    blocked: bool


_COMMON_PARAMETERS = """\
vars : list of Variable, optional
    Variables to sample; all continuous ones of the model when None.
batch_size : int, optional
    Rows B in a minibatch; None takes all rows (or those of the model's own ``pm.Minibatch``).
data : list of str, optional
    Names of the row data, the arrays with one entry per row. When None, those that feed an
    observed variable and have its length (the greatest length, if observed variables differ;
    the terms of shorter ones are evaluated in full).
step_size : float, optional
    h, the root-mean-square displacement of one preconditioned parameter in one update. When None,
    the warm-up finds it, from the largest curvature and the gradient noise where the chains are.
    When given, there is no preconditioner and no warm-up unless the next two arguments ask for
    them: the chains take this step in the unconstrained space, from where they start. With s the
    smallest posterior standard deviation there, min(0.2, 0.3 √(B/N)) s is a good one; for SGHMC,
    which absorbs no noise, min(0.2, 0.06 √(B/N)) s.
steps_per_draw : int or "auto"
    Updates between two draws. "auto" makes successive draws about independent where that takes at
    most 250, and takes a quarter to a third as many in tuning; it is 100 where the scale of the
    posterior is not known (a given step size, a schedule, a network).
preconditioner : {"auto", "dense", "diagonal"}, array or None
    Coordinates θ = μ + L z in which the chains move. "dense": the posterior is about N(0, I) in
    them, by the curvature around its mode on a sample of the rows; "diagonal": each parameter
    has its own scale. "auto" is dense up to 1,000 parameters and diagonal, from the Fisher
    information, above. An array is L Lᵀ: a covariance ``(d, d)`` or variances ``(d,)`` of the
    unconstrained parameters, in the order of the model's value variables.
control_variate : bool or "auto"
    Whether to take gradients relative to those at the mode, g̃(θ) − g̃(θ*) + ∇U(θ*): as unbiased,
    and far less noisy where the posterior has one mode and is concentrated around it. "auto"
    measures whether it is.
target_bias : float, default 0.02
    Relative error of a posterior variance that the step size found may leave.
schedule : {"constant", "polynomial", "cyclical"} or callable, optional
    Factor of the step size as a function of the number of the update, counted from the first
    tuning update. "cyclical" has one cycle in every draw. An optax schedule with
    ``init_value=1`` serves; see `pymc_sgmcmc.schedules`.
temperature : float, default 1
    T of the sampled law, proportional to exp(-U/T); 1 is the posterior.
dtype : {"float32", "float64"}, optional
    Precision of the updates; ``pytensor.config.floatX`` when None. "float32" is faster and
    enough for networks.
backend : {"auto", "jax", "numba"}
    What compiles the updates. "jax" runs all chains as one program, on the accelerator if there is
    one; "numba" runs each chain on a core of its own. "auto" is JAX where it has an accelerator,
    where Numba's faster updates would save less than 10 seconds, which its compilation costs,
    where a model of more than 50,000 parameters has fewer chains than cores, and where Numba can't
    compile the model; Numba otherwise, also where JAX is not installed. The attribute ``backend``
    of the output tells. Each does its own warm-up; that of "auto" is JAX's where JAX can do it.
shard : {"chains", "rows"}
    What several devices of JAX share. "chains": each device holds all rows and runs some of the
    chains, as many as divide evenly. "rows": each device holds some of the rows, and its share of
    every batch, for data that outgrow one.
matmul_precision : {"bfloat16", "tensorfloat32", "float32"}, optional
    In which accelerators multiply float32 matrices, while positions stay float32; JAX's default
    for the device when None ("tensorfloat32" on recent GPUs). Processors do not care.
start : {"auto", "jitter", "prior"}
    Where chains start that are given no points: at U(−1, 1) jitter around the model's initial
    point in the unconstrained space, or at a draw from the prior each (variables with an
    ``initval`` of their own start there). "auto" takes the prior for a network: more than 1,000
    parameters, or a posterior that is far from normal.
clip_gradient : float, optional
    Largest norm of the gradient in the sampler's coordinates, in which that of a normal posterior
    is about √d; longer ones are shortened. The law is then no longer the posterior's, and
    `diagnose` says so.
model : pm.Model, optional
    The model of the ``with`` context when None.
rng : None, int or numpy.random.Generator
    Only for a use without `pm.sample`, which gives every chain its own."""


def _hint(name: str, known: Sequence[str]) -> str:
    """What an unknown argument is called here, or where it belongs."""
    for here, elsewhere in _ELSEWHERE.items():
        if name.lower() in elsewhere.lower().split() and here.split(";")[0] in known:
            return f" Here it is {here}."
    if name.lower() in _OF_SAMPLE:
        return " It belongs to pm.sample, with PyMC's name: draws, tune, chains, random_seed, ..."
    close = difflib.get_close_matches(name, known, 1, 0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def _signature(step: type) -> inspect.Signature:
    """Signature with the common arguments spelled out, for `help` and for editors."""
    _, variables, *own = inspect.signature(step.__init__).parameters.values()  # type: ignore[misc]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS.get(name))
        for name in Options.__annotations__
        if name != "blocked"
    ]
    every = [variables, *common, *own[:-1]]
    return inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in every])


class StochasticGradientStep(BlockedStep):
    """Base of the step methods: settings in, draws out; the updates are made elsewhere.

    Where a step owns all variables of its model, it is one of a population for PyMC, which then
    keeps the chains in one process and in lock step; chain 0 advances all of them in one compiled
    call. Where it doesn't, every chain advances alone from the point it is given.
    """

    name = "stochastic_gradient"
    default_blocked = True
    dynamics_class: ClassVar[type[Dynamics]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "dynamics_class" in cls.__dict__:
            floats = (*cls.dynamics_class.statistics, *UPDATE_STATISTICS, "step_size")
            cls.stats_dtypes_shapes = {
                **{name: (np.float64, []) for name in floats},
                "rejected": (np.int64, []),
            }
            cls.__doc__ = inspect.cleandoc(cls.__doc__ or "").format(common=_COMMON_PARAMETERS)
            cls.__signature__ = _signature(cls)

    def __new__(cls, vars: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Choose how chains advance, by whether the step owns all variables of the model."""
        if kwargs.get("blocked", True) is False:
            raise ValueError(
                "blocked=False would update each variable on its own, against the gradient of "
                f"all. Leave it out: {cls.__name__}(...)."
            )
        kwargs["model"] = model = modelcontext(kwargs.get("model"))
        chosen = sampled_value_vars(model, vars)
        step: Any = cls
        kind = PopulationStep if len(chosen) == len(model.value_vars) else LoneStep
        return super().__new__(_variant(step, kind), list(chosen), *args, **kwargs)

    def _setup(self, vars: Any, dynamics: dict[str, Any], options: Options) -> None:
        """Check the arguments and build the potential; nothing is compiled for speed yet."""
        known = ["vars", *(k for k in Options.__annotations__ if k != "blocked"), *dynamics]
        for name in set(options) - set(Options.__annotations__):
            raise TypeError(
                f"{type(self).__name__} takes no argument {name!r}.{_hint(name, known)} It takes "
                f"{', '.join(known)}."
            )
        model = modelcontext(options.get("model"))
        backend = check_backend(options.get("backend", "auto"))
        self.sampler = Sampler(
            model=model,
            dynamics=self.dynamics_class(**dynamics, temperature=options.get("temperature", 1.0)),
            potential_arguments={
                "vars": None if vars is None else list(sampled_value_vars(model, vars)),
                **{k: options.get(k) for k in ("batch_size", "data", "dtype")},
            },
            backend=backend,
            shard=check_shard(options.get("shard", "chains"), backend),
            matmul_precision=check_matmul_precision(options.get("matmul_precision")),
            start=check_start(options.get("start", "auto")),
            **resolve_tuning_arguments(options),
        )
        check_tuning_arguments(self.sampler)
        self.vars = list(self.sampler.potential.value_vars)
        self.rng = get_random_generator(options.get("rng"))
        self.tune = True
        statistics = {name: dtype for name, (dtype, _) in self.stats_dtypes_shapes.items()}
        self._reported = Reported(statistics, self.attributes())
        self.stats_dtypes = [self._reported]

    def attributes(self, chains: Chains | None = None) -> dict[str, Any]:
        """What this step runs, as it stands in the attributes of the output."""
        return attributes_of(self.sampler, type(self).__name__, chains)

    def _result(self, point: Point, draws: Draws, chain: int, draw: int) -> tuple[Any, Any]:
        """Point and statistics of one draw, as PyMC's trace takes them."""
        values = self.sampler.potential.unravel(draws.positions[chain, draw])
        stats = {
            name: dtype(draws.statistics[name][chain, draw])
            for name, (dtype, _) in self.stats_dtypes_shapes.items()
        }
        self._reported.latest = stats
        return {**point, **values}, [stats]


@dataclass_state
class LoneStepState(StepMethodState):
    """State of a step that advances its own chain."""

    chain_state: dict[str, np.ndarray] | None = None


class LoneStep(StochasticGradientStep):
    """A step that owns some of the variables: its chain advances from the point it is given."""

    _state_class = LoneStepState
    _chains: Chains | None = None

    @property
    def chain_state(self) -> dict[str, np.ndarray] | None:
        """Momentum, thermostat, key and counters of the chain."""
        if self._chains is None:
            return None
        return {name: np.asarray(x) for name, x in self._chains.state.items()}

    @chain_state.setter
    def chain_state(self, state: dict[str, np.ndarray] | None) -> None:
        if state is None:
            self._chains = None
        elif self._chains is not None:
            self._chains.state = dict(state)
            self._chains.updates = int(state["update"][0])

    def setup_chain(self, rng: Any, tune: int, draws: int) -> None:
        """Forget the chain before, and refuse a process in which JAX can't run."""
        super().setup_chain(rng, tune, draws)
        if self.sampler.needs_jax:
            refuse_forked_jax()
        self._chains, self._tune, self._total = None, tune, tune + draws

    def step(self, point: Point) -> tuple[Any, Any]:
        """Advance this chain by one draw."""
        if self._chains is None:
            kept = self._total - self._tune
            self._chains = Chains(self.sampler, [point], [self.rng], self._tune, kept, block=1)
        else:
            self._chains.move(point)
        draws = self._chains.advance(1)
        if self._chains.made in (1, self._tune, self._total):
            self._reported.found = self.attributes(self._chains)
        return self._result(point, draws, 0, 0)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _restore, (type(self).__mro__[1], {**self.__dict__, "_chains": None})


def warn_of_trouble(statistics: dict[str, np.ndarray], attributes: dict[str, Any]) -> None:
    """Log what speaks against draws that were made; that this fails must not lose them."""
    try:
        log_trouble(statistics, attributes)
    except KeyboardInterrupt:
        pass
    except Exception as error:
        _log.warning("The draws could not be judged: %s: %s", type(error).__name__, error)


def _log_phase(phase: str) -> None:
    """Tell the users of `pm.sample`, who would see nothing else for a while."""
    if phase == "Searching":
        phase = "Searching for the posterior's modes and scale"
    if phase != "Compiling":  # told when it is known with what
        _to_users.info("%s…", phase)


@contextmanager
def _points_to_sample() -> Iterator[None]:
    """Have exceptions say which door keeps the draws: PyMC's population sampling drops them."""
    try:
        yield
    except BaseException as error:
        error.add_note(
            "pm.sample keeps no draws of a run that fails or is interrupted; "
            "pymc_sgmcmc.sample(step=...) does, and gives the same ones."
        )
        raise


def _warn_of_callback() -> None:
    """Warn if `pm.sample` was given a callback, which PyMC drops silently in population sampling.

    No argument tells the step; the frame of PyMC's function does.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not _sample_population.__code__:
        frame = frame.f_back
    if frame is not None and frame.f_locals.get("kwargs", {}).get("callback") is not None:
        warn_user(
            "pm.sample never calls callback= with a step of all variables: PyMC leaves it out "
            "where chains advance together. pymc_sgmcmc.sample shows progress and statistics, and "
            "Ctrl-C there returns the draws.",
        )


class Population:
    """The chains of one `pm.sample` call, advanced by chain 0 and read by all."""

    def __init__(self, points: list[Point]) -> None:
        self.points = points
        self.rngs: list[Generator] = []
        self.tune, self.total = 0, 0
        self.made = 0
        self.chains: Chains | None = None
        self._block: Draws | None = None
        self._statistics: list[dict[str, np.ndarray]] = []

    def start(self, sampler: Sampler) -> None:
        """Start the chains, which a warm-up may take long for: the log says what is done."""
        kept = self.total - self.tune
        chains = Chains(sampler, self.points, self.rngs, self.tune, kept, phase=_log_phase)
        if "warmup_seconds" in chains.tuning.report:
            _to_users.info(
                "Warm-up done in %.0f s: step size %.2g, %d updates a draw.",
                chains.tuning.report["warmup_seconds"],
                chains.tuning.step_size,
                chains.tuning.steps_per_draw,
            )
        name = {"jax": "JAX", "numba": "Numba"}[chains.backend]
        _to_users.info("Sampling with %s, which compiles a new model first.", name)
        self.chains = chains

    def draw(self, sampler: Sampler, number: int) -> tuple[Draws, int]:
        """Block that holds draw `number`, and its place there; made when first asked for."""
        assert self.chains is not None
        while number >= self.made:
            with _points_to_sample():
                self._block = self.chains.advance(self.total - self.made)
            self.made += self._block.positions.shape[1]
            self._statistics.append(self._block.statistics)
            if self.made == self.total:
                warn_of_trouble(self._after_tuning(), attributes_of(sampler, "", self.chains))
        assert self._block is not None
        return self._block, number - self.made + self._block.positions.shape[1]

    def _after_tuning(self) -> dict[str, np.ndarray]:
        names = self._statistics[0]
        whole = {k: np.concatenate([s[k] for s in self._statistics], axis=1) for k in names}
        return {k: x[:, self.tune :] for k, x in whole.items()}


class PopulationStep(StochasticGradientStep, PopulationArrayStepShared):
    """A step that owns all variables: PyMC keeps its chains together, chain 0 advances all."""

    _state_class = StepMethodState

    def astep(self, q0: Any) -> NoReturn:
        """Never called: `step` moves points, not ravelled vectors."""
        raise NotImplementedError

    def __copy__(self) -> PopulationStep:
        """One chain's step: the settings and what was compiled are shared."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._template = self
        return other

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Refuse to be sent to another process; PyMC then keeps all chains in this one."""
        raise pickle.PicklingError("All chains of this step advance in one compiled call.")

    def setup_chain(self, rng: Any, tune: int, draws: int) -> None:
        """Take this chain's generator and the number of draws to come."""
        super().setup_chain(rng, tune, draws)
        if self.sampler.needs_jax:
            refuse_forked_jax()
        self._tune, self._total = tune, tune + draws

    def link_population(self, population: list[Point], chain_index: int) -> None:
        """Join the population of this `pm.sample` call."""
        template = self._template
        if chain_index == 0:
            warn_of_large_output(self.sampler.model, self._total * len(population))
            template._population = Population(population)
            _warn_of_callback()
        self._population = template._population
        self._population.rngs.append(self.rng)
        self._population.tune, self._population.total = self._tune, self._total
        self._chain, self._number, self._last = chain_index, 0, population[chain_index]
        if chain_index == len(population) - 1:
            del template._population  # its draws go when the chains do
            self._population.start(self.sampler)
            _silence_population_messages(True)

    def step(self, point: Point) -> tuple[Any, Any]:
        """Give this chain's next draw; with it, chain 0 makes those of all chains."""
        if self._number == 0:
            _silence_population_messages(False)
        if point is not self._last:
            raise ValueError(
                f"Another step moves variables that {type(self).__name__} samples, which is made "
                f"to sample all of them alone. Give each step its own: step=["
                f"{type(self).__name__}(vars=[...], ...), ...]."
            )
        block, place = self._population.draw(self.sampler, self._number)
        self._number += 1
        if self._number in (1, self._tune + 1):  # the last: with what the warm-up found
            self._reported.found = self.attributes(self._population.chains)
        self._last, stats = self._result(point, block, self._chain, place)
        return self._last, stats


@functools.cache
def _variant(step: Any, kind: Any) -> Any:
    """Step method of a kind, lone or population; an instance of the step method all the same."""
    return type(
        step.__name__, (step, kind), {"__module__": step.__module__, "__doc__": step.__doc__}
    )


def _restore(step: type, state: dict[str, Any]) -> Any:
    """Unpickle a lone step."""
    lone: Any = object.__new__(_variant(step, LoneStep))
    lone.__dict__.update(state)
    return lone


class _PopulationMessages(logging.Filter):
    """Drops PyMC's advice on processes: these chains need none, whatever `cores` is."""

    misleading = (
        "Attempting to parallelize chains",
        "Population parallelization failed",
        "Chains are not parallelized",
    )

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(self.misleading)


_POPULATION_MESSAGES = _PopulationMessages()


def _silence_population_messages(silence: bool) -> None:
    """Between the linking of a population and its first step, when PyMC sends them."""
    logger = logging.getLogger("pymc.sampling.population")
    (logger.addFilter if silence else logger.removeFilter)(_POPULATION_MESSAGES)
