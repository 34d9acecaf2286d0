"""`sample`: as many chains as wanted, progress with statistics, draws that survive Ctrl-C."""

import time
from collections.abc import Mapping, Sequence
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
from xarray import DataTree

from pymc_sgmcmc.chains import Chains, ChainStuckError
from pymc_sgmcmc.engines.base import Draws
from pymc_sgmcmc.output import Recorder, to_datatree, warn_of_large_output
from pymc_sgmcmc.stepping import PopulationStep, StochasticGradientStep
from pymc_sgmcmc.trust import log_trouble


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
    are kept, and Ctrl-C returns the draws made until then. (Before the first draw that is kept,
    it ends the call.)

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
        Whether to show progress, statistics and the estimated time left.
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
        If a chain can't move on; its ``idata`` holds the draws made until then.

    See Also
    --------
    pymc_sgmcmc.ATMC : The step to begin with.
    pymc_sgmcmc.diagnose : Whether the draws are to be trusted.
    pymc_sgmcmc.predict : Predictions for new rows.

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
    kept = draws if discard_tuned_samples else draws + tune
    warn_of_large_output(model, chains * kept, var_names)

    # The generators and their order of use are those of pm.sample: so are the draws.
    rngs = get_random_generator(random_seed).spawn(chains)
    seeds = [rng.integers(2**30) for rng in rngs]
    initial_points = make_initial_point_fns_per_chain(
        model=model, overrides=initvals, jitter_rvs=set(), chains=chains
    )
    points = [
        initial_point(seed) for initial_point, seed in zip(initial_points, seeds, strict=True)
    ]

    record = _Record(recorder, step, chains, kept)
    started, error = time.time(), None
    run: Any = None
    with _progress(progressbar) as progress:
        task = progress.add_task("Starting", total=tune + draws, statistics="")
        made = 0
        try:
            run = Chains(step.sampler, points, rngs, tune, draws)
            progress.update(task, description="Compiling")
            compiled, before = None, 0
            while made < tune + draws:
                # A block lies within tuning or after it.
                left = tune - made if made < tune else tune + draws - made
                block = run.advance(left)
                if made >= tune or not discard_tuned_samples:
                    record.append(block)
                made += block.positions.shape[1]
                if compiled is None:  # The first block took the time to compile.
                    compiled, before = time.time(), run.updates
                pace = (run.updates - before) / max(time.time() - compiled, 1e-9)
                progress.update(
                    task,
                    completed=made,
                    description="Tuning" if made < tune else "Sampling",
                    statistics=_describe(block.statistics, pace),
                )
        except KeyboardInterrupt:
            if not record.filled:
                raise
            progress.console.print(f"Interrupted: {max(0, made - tune)} of {draws} draws kept.")
        except ChainStuckError as stuck:
            error = stuck
            if stuck.draws is not None and (made >= tune or not discard_tuned_samples):
                record.append(stuck.draws)
                made += stuck.draws.positions.shape[1]

    attributes = {
        **step.attributes(run),
        "updates": run.updates - _dropped(run, made),
        "sampling_time": time.time() - started,
        "tuning_steps": min(made, tune),
    }
    idata = None
    if record.filled:
        n_tune = 0 if discard_tuned_samples else min(made, tune)
        idata = to_datatree(model, *record.arrays(), n_tune, attributes, not discard_tuned_samples)
    if error is not None:
        error.idata = idata
        raise error
    assert idata is not None
    if made > tune:
        after_tuning = idata["sample_stats"].data_vars.items()
        log_trouble({str(name): x.values for name, x in after_tuning}, attributes)
    return idata


def _dropped(run: Chains, made: int) -> int:
    """Updates of draws that are not among the `made` that can be kept."""
    tuning = run.tuning
    tuned = made < run.tune
    steps = tuning.tuning_steps_per_draw if tuned else tuning.steps_per_draw
    return (run.made - made) * steps


class _Record:
    """Arrays ``(chains, draws, ...)`` that blocks of draws fill."""

    def __init__(
        self, recorder: Recorder, step: StochasticGradientStep, chains: int, draws: int
    ) -> None:
        self.recorder, self.step, self.shape = recorder, step, (chains, draws)
        self.posterior: dict[str, np.ndarray] = {}
        self.statistics = {
            name: np.empty(self.shape, dtype)
            for name, (dtype, _) in step.stats_dtypes_shapes.items()
        }
        self.filled = 0

    def append(self, block: Draws) -> None:
        n = block.positions.shape[1]
        if n == 0:
            return
        place = slice(self.filled, self.filled + n)
        values = self.step.sampler.potential.unravel(block.positions)
        for name, x in self.recorder(values).items():
            if name not in self.posterior:
                self.posterior[name] = np.empty((*self.shape, *x.shape[2:]), x.dtype)
            self.posterior[name][:, place] = x
        for name, x in self.statistics.items():
            x[:, place] = block.statistics[name]
        self.filled += n

    def arrays(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        return (
            {name: x[:, : self.filled] for name, x in self.posterior.items()},
            {name: x[:, : self.filled] for name, x in self.statistics.items()},
        )


def _progress(show: bool) -> Progress:
    return Progress(
        TextColumn("{task.description:>8}"),
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
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
    if not isinstance(step, StochasticGradientStep):
        raise TypeError(
            f"step must be one of this package's step methods, got {step!r}. Write "
            "step=ATMC(batch_size=..., step_size=...), or use pm.sample for other steps."
        )
    if step.sampler.model is not model:
        raise ValueError(
            "The step was made for another model. Make it in this one's context: "
            f"with model: step = {type(step).__name__}(...)."
        )
    if not isinstance(step, PopulationStep):
        missing = [v.name for v in step.sampler.potential.others]
        raise ValueError(
            f"The step does not sample {', '.join(map(repr, missing))}. Use "
            "pm.sample(step=[...]) with another step for the rest."
        )
