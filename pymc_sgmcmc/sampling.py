"""`sample`: as many chains as wanted, progress with statistics, draws that survive what happens."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from pymc.initial_point import make_initial_point_fns_per_chain
from pymc.model import Model, modelcontext
from pymc.util import get_random_generator
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from xarray import Dataset, DataTree

from pymc_sgmcmc.arguments import integer
from pymc_sgmcmc.engines.base import Draws
from pymc_sgmcmc.output import Recorder, to_datatree, warn_of_large_output
from pymc_sgmcmc.pymc_step.step import StochasticGradientStep
from pymc_sgmcmc.report.signs import log_problems, signs_of_trouble
from pymc_sgmcmc.run.chains import ChainStuckError
from pymc_sgmcmc.run.phases import Run
from pymc_sgmcmc.run.starts import Point

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
    model: Model | None = None,
) -> DataTree:
    """Draw from a model with one of this package's step methods.

    Gives what ``pm.sample(step=step)`` gives, draw for draw (transformed variables up to
    rounding). Any number of chains runs as one vectorised program, only the variables asked for
    are kept, and Ctrl-C returns the draws made until then, which `pm.sample` loses. (Before the
    first draw that is kept, it ends the call.)

    Parameters
    ----------
    draws : int
        Draws of each chain.
    tune : int
        Draws before those, in which the chains find the posterior; discarded by default.
    chains : int
        Number of chains; a thousand is normal for a small model.
    step : SGLD, SGHMC, SGNHT or ATMC
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
    model : pm.Model, optional
        The model of the ``with`` context when None.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior``, ``sample_stats``, ``observed_data`` and ``constant_data``, with the
        names, dims, coords and types that `pm.sample` gives; the settings stand in ``attrs``,
        where ``updates`` counts those of each chain, tuning included.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong; the message says what to write.
    ChainStuckError
        If a chain can't move on.

    See Also
    --------
    pymc_sgmcmc.ATMC : The step to begin with.
    pymc_sgmcmc.diagnose : Whether the draws are to be trusted.
    pymc_sgmcmc.predict : Predictions for new rows.

    Notes
    -----
    No exception loses draws. Whatever is raised while chains run or their draws are converted (a
    schedule that ends, a Deterministic that fails, a lack of memory), the exception has an
    attribute ``idata`` with the draws made until then, or None before the first that is kept.

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
    model = modelcontext(model)
    _check_arguments(draws, tune, chains, step, model)
    recorder = Recorder(model, var_names)
    warn_of_large_output(
        model, chains * (draws if discard_tuned_samples else draws + tune), var_names
    )

    # The generators and their order of use are those of pm.sample: so are the draws.
    rngs = get_random_generator(random_seed).spawn(chains)
    seeds = [rng.integers(2**30) for rng in rngs]
    initial_points = make_initial_point_fns_per_chain(
        model=model, overrides=initvals, jitter_rvs=set(), chains=chains
    )
    points = [
        initial_point(seed) for initial_point, seed in zip(initial_points, seeds, strict=True)
    ]

    run = _Sampling(model, step, recorder, chains, tune, draws, not discard_tuned_samples)
    try:
        run.go(points, rngs, progressbar)
        idata = run.tree()
        _judge(idata)
    except BaseException as error:
        rescued = run.rescued()
        if rescued is None or not isinstance(error, KeyboardInterrupt):
            error.idata = rescued  # type: ignore[attr-defined]
            if rescued is not None:
                error.add_note(run.note())
            raise
        idata = rescued
        _log.warning("Interrupted: %d of %d draws kept.", max(0, run.made - tune), draws)
        _judge(idata)
    return idata


def _judge(idata: DataTree) -> None:
    """Log what speaks against the draws after tuning."""
    if "posterior" in idata:
        statistics = idata["sample_stats"].data_vars.items()
        attributes = {str(name): value for name, value in idata["posterior"].attrs.items()}
        arrays = {str(name): x.values for name, x in statistics}
        log_problems(partial(signs_of_trouble, arrays, attributes))


class _Sampling:
    """One call of `sample`: its chains, and the draws of theirs that are kept, come what may.

    Draws stand in arrays ``(chains, draws, ...)`` that blocks of draws fill.
    """

    def __init__(
        self,
        model: Model,
        step: StochasticGradientStep,
        recorder: Recorder,
        chains: int,
        tune: int,
        draws: int,
        keep_tuning: bool,
    ) -> None:
        self.model, self.step, self.recorder = model, step, recorder
        self.tune, self.draws, self.keep_tuning = tune, draws, keep_tuning
        self.shape = (chains, tune + draws if keep_tuning else draws)
        self.posterior: dict[str, np.ndarray] = {}
        self.statistics = {
            name: np.empty(self.shape, dtype)
            for name, (dtype, _) in step.stats_dtypes_shapes.items()
        }
        self.filled = 0
        self._block: Draws | None = None
        self._left_out: list[str] = []
        self._run: Run | None = None
        self._started = time.time()

    @property
    def made(self) -> int:
        """Draws of each chain, tuning included, as far as those that are kept go."""
        return self.filled + (0 if self.keep_tuning else self.tune)

    def go(
        self, points: Sequence[Point], rngs: Sequence[np.random.Generator], progressbar: bool
    ) -> None:
        """Make all draws."""
        tune, total = self.tune, self.tune + self.draws
        with _progress(progressbar) as progress:
            if progressbar:  # A hidden cursor would stay hidden if the process were killed.
                progress.console.show_cursor(True)
            task = progress.add_task("Starting", total=total, statistics="")
            self._run = run = Run(
                self.step.compiled,
                points,
                rngs,
                tune,
                self.draws,
                phase=lambda word: progress.update(task, description=word),
            )
            run.start()
            compiled, before = None, 0
            while run.made < total:
                # A block lies within tuning or after it.
                tuning = run.made < tune
                kept = self.keep_tuning or not tuning
                try:
                    block = run.advance((tune if tuning else total) - run.made)
                except ChainStuckError as stuck:
                    self._block = stuck.draws if kept else None
                    raise
                if kept:
                    self._block = block
                    self._record(self.recorder)
                if compiled is None:  # The first block took the time to compile.
                    compiled, before = time.time(), run.updates
                pace = (run.updates - before) / max(time.time() - compiled, 1e-9)
                progress.update(
                    task,
                    completed=run.made,
                    description="Tuning" if run.made < tune else "Sampling",
                    statistics=_describe(block.statistics, pace),
                )

    def _record(self, variables: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
        """Record the block that was made, with `variables` of its value variables."""
        block = self._block
        assert block is not None
        n = block.positions.shape[1]
        place = slice(self.filled, self.filled + n)
        recorded = variables(self.step.plan.potential.unravel(block.positions))
        for name, x in recorded.items():
            if name not in self.posterior:
                self.posterior[name] = np.empty((*self.shape, *x.shape[2:]), x.dtype)
            self.posterior[name][:, place] = x
        for name, x in self.statistics.items():
            x[:, place] = block.statistics[name]
        for name in self.posterior.keys() - recorded.keys():
            del self.posterior[name]
        self.filled, self._block = self.filled + n, None  # at once: no Ctrl-C comes in between

    def rescued(self) -> DataTree | None:
        """All that can be had of the draws after an exception, or after two; None if it's nothing.

        A block that an exception kept from being recorded is recorded now: without Deterministics
        if those can't be computed, and then of no draw.
        """
        if self._block is not None and self._block.positions.shape[1]:
            asked, free = self.recorder.names, [v.name for v in self.model.free_RVs]
            some = [name for name in asked if name in free]
            ways: list[Any] = [self.recorder]
            if some or not self.filled:
                ways.append(Recorder(self.model, some or free))
            if not self.filled:
                ways.append(dict)  # the value variables themselves
            for variables in ways:
                with suppress(Exception, KeyboardInterrupt):
                    self._record(variables)
                    self._left_out = [name for name in asked if name not in self.posterior]
                    break
        if not self.filled:
            return None
        for tree in (self.tree, self.tree, self._bare_tree):  # again after a second Ctrl-C
            with suppress(Exception, KeyboardInterrupt):
                return tree()
        return None

    def note(self) -> str:
        """What an exception should say of the draws that it brings."""
        note = f"{self.filled} draws of each chain were made before this: error.idata."
        if self._left_out:
            note += (
                f" They are without {', '.join(map(repr, self._left_out))}, which could not be "
                "computed; see pm.compute_deterministics."
            )
        return note

    def tree(self) -> DataTree:
        """Draws as `pm.sample` gives them."""
        self.step.compiled.release()  # the tree holds the data once more
        return to_datatree(
            self.model,
            self._filled(self.posterior),
            self._filled(self.statistics),
            self._n_tune,
            self._attributes(),
            self.keep_tuning,
        )

    def _bare_tree(self) -> DataTree:
        """Draws alone, where the model's dims, coords or data are at fault."""
        groups = {}
        for name, arrays in (("posterior", self.posterior), ("sample_stats", self.statistics)):
            variables = {
                k: (["chain", "draw", *(f"{k}_dim_{i}" for i in range(x.ndim - 2))], x)
                for k, x in self._filled(arrays).items()
            }
            whole, n_tune = Dataset(variables, attrs=self._attributes()), self._n_tune
            if n_tune:
                groups[f"/warmup_{name}"] = whole.isel(draw=slice(n_tune))
            if self.filled > n_tune:
                groups[f"/{name}"] = whole.isel(draw=slice(n_tune, None))
        return DataTree.from_dict(groups)

    @property
    def _n_tune(self) -> int:
        """Leading draws that are tuning draws, of those that are kept."""
        return min(self.filled, self.tune) if self.keep_tuning else 0

    def _filled(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: x[:, : self.filled] for name, x in arrays.items()}

    def _attributes(self) -> dict[str, Any]:
        run = self._run
        assert run is not None
        # Updates of draws that could not be kept, all of one block, don't count.
        updates = run.updates - (run.made - self.made) * run.steps
        return {
            **self.step.run_report(run).but(updates=updates).attributes(),
            "sampling_time": time.time() - self._started,
            "tuning_steps": min(self.made, self.tune),
        }


def _progress(show: bool) -> Progress:
    return Progress(
        TextColumn("{task.description:>9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[statistics]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        disable=not show,
    )


def _describe(statistics: Mapping[str, np.ndarray], updates_per_second: float) -> str:
    shown = {
        "U": statistics["potential_energy"],
        "T": statistics.get("kinetic_temperature"),
        "h": statistics["step_size"],
    }
    words = [f"{name} {x[:, -1].mean():.4g}" for name, x in shown.items() if x is not None]
    if rejected := int(statistics["rejected"].sum()):
        words.append(f"{rejected} rejected")
    if updates_per_second:
        words.append(f"{updates_per_second:,.0f} updates/s")
    return " · ".join(words)


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
