"""`sample`: as many chains as wanted, progress with statistics, draws that survive what happens."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
from pymc.initial_point import make_initial_point_fns_per_chain
from pymc.model import Model
from xarray import DataTree

from pymc_sgmcmc import processes
from pymc_sgmcmc.arguments import boolean, integer
from pymc_sgmcmc.model.plain import plain, the_model
from pymc_sgmcmc.output import Recorder, warn_of_large_output
from pymc_sgmcmc.pymc_step.step import StochasticGradientStep
from pymc_sgmcmc.report.signs import log_problems, signs_of_trouble
from pymc_sgmcmc.run.starts import Point
from pymc_sgmcmc.session import Session
from pymc_sgmcmc.stopping import Condition, Progress, condition
from pymc_sgmcmc.store.elsewhere import Elsewhere
from pymc_sgmcmc.store.identity import identity
from pymc_sgmcmc.store.memory import InMemory
from pymc_sgmcmc.store.stored import Stored

_log = logging.getLogger(__name__)


def sample(
    draws: int = 1000,
    *,
    tune: int = 1000,
    chains: int = 4,
    step: StochasticGradientStep,
    random_seed: Any = None,
    initvals: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
    var_names: Sequence[str] | None = None,
    progressbar: bool = True,
    discard_tuned_samples: bool = True,
    store: Any = None,
    stop_when: Condition | timedelta | None = None,
    callback: Callable[[Progress], object] | None = None,
    model: Model | None = None,
) -> DataTree:
    """Draw from a model with one of this package's step methods.

    Gives what ``pm.sample(step=step)`` gives, draw for draw (transformed variables up to
    rounding). Any number of chains runs at once, only the variables asked for are kept, and Ctrl-C
    returns the draws made until then, which `pm.sample` loses. (Before the first draw that is kept,
    it ends the call.)

    Parameters
    ----------
    draws : int
        Draws of each chain.
    tune : int
        Draws before those, in which the chains find the posterior; discarded by default.
    chains : int
        Number of chains; a thousand is normal for a small model.
    step : ATMC, or another step of the package
        Must own all variables of the model.
    random_seed : None, int, sequence of int or numpy.random.Generator
        The same seed gives the same draws on the same device.
    initvals : dict or sequence of dict, optional
        Starting points as for `pm.sample`: one for all chains, or one for each.
    var_names : sequence of str, optional
        Free variables and Deterministics to keep; all when None.
    progressbar : bool
        Whether to show the phase, progress, the estimated time left, and means over the chains at
        their latest draw: U, the potential energy −log p(θ, y) in nats, as batches estimate it; T,
        the kinetic temperature, about `temperature` (1) if all is well; h, the step size.
    discard_tuned_samples : bool
        Whether to drop the tuning draws; if not, they stand in ``warmup_`` groups.
    store : str, path-like or zarr.abc.store.Store, optional
        A folder, ``"run.zarr"``, or an address such as ``"s3://bucket/run.zarr"``, to which draws
        go while they are made, with all that it takes to go on: the same call again continues a run
        that was killed, as if it had not been, and more `draws` than before extend one. Memory does
        not grow with the draws. Needs zarr: ``pip install 'pymc-sgmcmc[store]'``.
    stop_when : callable or datetime.timedelta, optional
        Ends the run before all `draws` are made: a function that is given a `Progress` after every
        block of draws and returns True, such as `reached`, or the time that this call may take.
    callback : callable, optional
        Given a `Progress` after every block of draws, of about half a second.
    model : pm.Model, optional
        The model of the ``with`` context when None.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior``, ``sample_stats``, ``observed_data`` and ``constant_data``, with the
        names, dims, coords and types that `pm.sample` gives; the settings stand in ``attrs``,
        where ``updates`` counts those of each chain, tuning included. With a `store` it is that of
        the store, of which nothing is read until it is used.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong; the message says what to write.
    ChainStuckError
        If a chain can't move on.
    OSError
        If the store can't be written.
    RuntimeError
        If another process writes to the store.

    See Also
    --------
    pymc_sgmcmc.ATMC : The step to begin with.
    pymc_sgmcmc.watch : How a run with a store goes, seen from elsewhere.
    pymc_sgmcmc.diagnose : Whether the draws are to be trusted.
    pymc_sgmcmc.predict : Predictions for new rows.

    Notes
    -----
    No exception loses draws. Whatever is raised while chains run or their draws are converted (a
    schedule that ends, a Deterministic that fails, a lack of memory), the exception has an
    attribute ``idata`` with the draws made until then, or None before the first that is kept.

    Where ``jax.distributed.initialize()`` has joined several processes, each of them calls this
    with the same arguments, and gets the same draws. All write to the store, which they must find
    at the same address; the first one shows progress, and asks `stop_when` and `callback`.

    Examples
    --------
    >>> import pymc as pm
    >>> from pymc_sgmcmc import ATMC, sample
    >>> with pm.Model():
    ...     x = pm.Gamma("x", mu=2, sigma=1)
    ...     idata = sample(100, tune=100, chains=100, step=ATMC(), random_seed=1, progressbar=False)
    >>> draws = idata.posterior["x"]
    >>> draws.sizes["chain"], round(float(draws.mean()), 1), round(float(draws.std()), 1)
    (100, 2.0, 1.0)
    """
    model = plain(the_model(model))
    _check_arguments(draws, tune, chains, step, model)
    stop = condition(stop_when)
    recorder = Recorder(model, var_names)
    keep_tuning = not boolean("discard_tuned_samples", discard_tuned_samples)
    if store is None:
        n_draws = draws + tune if keep_tuning else draws
        warn_of_large_output(model, chains * n_draws, var_names, step.plan.potential.initial_point)
    with ExitStack() as stack:
        with processes.in_step():
            kept = stack.enter_context(_kept(store))
            rngs = kept.generators(random_seed, chains)
            points = _points(model, initvals, rngs)
            if isinstance(kept, Stored):
                asked = {
                    "tune": tune,
                    "chains": chains,
                    "var_names": recorder.names,
                    "discard_tuned_samples": discard_tuned_samples,
                }
                kept.claim(identity(step.plan, step.run_report(), points, asked), tune, draws)
            statistics = {name: dtype for name, (dtype, _) in step.stats_dtypes_shapes.items()}
            kept.begin(model, chains, tune if keep_tuning else 0, draws, statistics)
        there = processes.agreed(kept.there)
        with processes.in_step():
            if isinstance(kept, Elsewhere) and there is not None:
                kept.follow(there)
        session = Session(step, recorder, kept, tune, draws, keep_tuning, stop, callback)
        return _sampled(session, points, rngs, progressbar)


def _kept(store: Any) -> AbstractContextManager[InMemory | Stored | Elsewhere]:
    """Where draws are kept: of several processes, the first one says what counts in a store."""
    if store is None:
        return nullcontext(InMemory())
    if isinstance(store, Mapping):
        raise TypeError(
            "store must be a folder, an address or a store of zarr, got a dict: "
            'store="run.zarr", or zarr.storage.MemoryStore().'
        )
    return Stored(store) if processes.index() == 0 else Elsewhere(store)


def _points(model: Model, initvals: Any, rngs: Sequence[np.random.Generator]) -> list[Point]:
    """Where the chains start; the generators and their order of use are those of `pm.sample`."""
    _check_initvals(model, initvals, len(rngs))
    seeds = [rng.integers(2**30) for rng in rngs]
    functions = make_initial_point_fns_per_chain(
        model=model, overrides=initvals, jitter_rvs=set(), chains=len(rngs)
    )
    return [initial_point(seed) for initial_point, seed in zip(functions, seeds, strict=True)]


def _check_initvals(model: Model, initvals: Any, chains: int) -> None:
    """Raise an error for starting points that are none, or of variables that the model has not."""
    one = isinstance(initvals, Mapping) or initvals is None
    points = [initvals] * chains if one else initvals
    if not (
        isinstance(points, Sequence) and all(isinstance(x, Mapping) or x is None for x in points)
    ):
        raise TypeError(
            "initvals must be a dict of starting values by the names of variables, or a list of "
            f"such for the chains, got {initvals!r}."
        )
    if len(points) != chains:
        raise ValueError(f"initvals has {len(points)} points for {chains} chains.")
    known = [v.name for v in (*model.free_RVs, *model.value_vars)]
    for point in points:
        for v in point or ():
            if getattr(v, "name", v) not in known:
                free = ", ".join(repr(rv.name) for rv in model.free_RVs)
                raise ValueError(
                    f"initvals has {v!r}, which is no free variable of the model. They are: {free}."
                )


def _sampled(
    session: Session,
    points: Sequence[Point],
    rngs: Sequence[np.random.Generator],
    progressbar: bool,
) -> DataTree:
    """Draws of a session, whatever happens to it."""
    try:
        session.go(points, rngs, progressbar)
        idata = session.tree()
        _judge(idata)
    except BaseException as error:
        rescued = session.rescued()
        if rescued is None or not isinstance(error, KeyboardInterrupt):
            error.idata = rescued  # type: ignore[attr-defined]
            if note := session.note():
                error.add_note(note)
            raise
        idata = rescued
        _log.warning("Interrupted: %d of %d draws kept.", session.n_kept, session.draws)
        _judge(idata)
    return idata


def _judge(idata: DataTree) -> None:
    """Log what speaks against the draws after tuning, once."""
    if processes.index() == 0 and "posterior" in idata:
        statistics = idata["sample_stats"].data_vars.items()
        attributes = {str(name): value for name, value in idata["posterior"].attrs.items()}
        arrays = {str(name): x.values for name, x in statistics}
        log_problems(partial(signs_of_trouble, arrays, attributes))


def _check_arguments(draws: Any, tune: Any, chains: Any, step: Any, model: Model) -> None:
    for name, value, least in (("draws", draws, 1), ("tune", tune, 0), ("chains", chains, 1)):
        integer(name, value, least)
    if not isinstance(step, StochasticGradientStep):
        raise TypeError(
            f"step must be one of this package's step methods, got {step!r}. Write "
            "step=ATMC(batch_size=..., step_size=...), or use pm.sample for other steps."
        )
    if step.plan.potential.model is not model:
        raise ValueError(
            "The step was made for another model. Make it in this one's context: "
            f"with model: step = {type(step).__name__}(...)."
        )
    if not step.owns_all:
        missing = [v.name for v in step.plan.potential.others]
        raise ValueError(
            f"The step does not sample {', '.join(map(repr, missing))}. Use "
            "pm.sample(step=[...]) with another step for the rest."
        )
