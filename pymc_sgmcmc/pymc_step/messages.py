"""What users of `pm.sample` are told while chains of a population run, and not told by PyMC."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pymc.sampling.population import _sample_population

from pymc_sgmcmc.run.phases import Run
from pymc_sgmcmc.warn import warn_user

_to_users = logging.getLogger("pymc")


def log_phase(phase: str) -> None:
    """Tell the users of `pm.sample`, who would see nothing else for a while."""
    if phase == "Searching":
        phase = "Searching for the posterior's modes and scale"
    if phase != "Compiling":  # told when it is known with what
        _to_users.info("%s…", phase)


@contextmanager
def pointing_to_sample() -> Iterator[None]:
    """Have exceptions say which door keeps the draws: PyMC's population sampling drops them."""
    try:
        yield
    except BaseException as error:
        error.add_note(
            "pm.sample keeps no draws of a run that fails or is interrupted; "
            "pymc_sgmcmc.sample(step=...) does, and gives the same ones."
        )
        raise


def log_start(run: Run) -> None:
    """Tell what was found, and what now compiles the updates."""
    seconds = run.tuning.found.warmup_seconds
    if seconds is not None:
        _to_users.info(
            "Warm-up done in %.0f s: step size %.2g, %d updates a draw.",
            *(seconds, run.tuning.step_size, run.tuning.steps_per_draw),
        )
    _to_users.info("Sampling with %s, which compiles a new model first.", run.engine.title)


def warn_of_callback() -> None:
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


def silence_population_messages(silence: bool) -> None:
    """Between the linking of a population and its first step, when PyMC sends them."""
    logger = logging.getLogger("pymc.sampling.population")
    (logger.addFilter if silence else logger.removeFilter)(_POPULATION_MESSAGES)
