"""One call of `sample`: chains that advance, draws that are kept, come what may."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from rich import get_console
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from xarray import DataTree

from pymc_sgmcmc import processes
from pymc_sgmcmc.engines.base import Draws
from pymc_sgmcmc.output import Recorder
from pymc_sgmcmc.pymc_step.step import StochasticGradientStep
from pymc_sgmcmc.run.chains import ChainStuckError
from pymc_sgmcmc.run.phases import Run
from pymc_sgmcmc.run.starts import Point
from pymc_sgmcmc.stopping import Condition, Progress
from pymc_sgmcmc.store.elsewhere import Elsewhere
from pymc_sgmcmc.store.memory import InMemory
from pymc_sgmcmc.store.part import Mark
from pymc_sgmcmc.store.stored import Stored
from pymc_sgmcmc.store.together import Together

_log = logging.getLogger(__name__)

# What the first process tells the others while it asks whether to stop.
_WRITE, _FAILED = "write", "failed"
# Letters of a line of progress that is written to a file.
_WIDTH_OF_LOGS = 160


class Session:
    """One call of `sample`; of several processes, all make it, and the first one tells and asks.

    Parameters
    ----------
    step : StochasticGradientStep
    recorder : Recorder
    kept : InMemory, Stored or Elsewhere
        Where its draws are kept.
    tune, draws : int
    keep_tuning : bool
    stop, tell : callable
        Given a `Progress` after every block, if there are any; `stop` says whether to end.
    """

    def __init__(
        self,
        step: StochasticGradientStep,
        recorder: Recorder,
        kept: InMemory | Stored | Elsewhere,
        tune: int,
        draws: int,
        keep_tuning: bool,
        stop: Condition,
        tell: Callable[[Progress], object] | None = None,
    ) -> None:
        self.step, self.recorder, self.kept = step, recorder, kept
        self.tune, self.draws, self.keep_tuning = tune, draws, keep_tuning
        self._stop, self._tell = stop, tell
        self._first = processes.index() == 0
        # With the number of draws that were kept before it.
        self._block: tuple[int, Draws] | None = None
        self._left_out: list[str] = []
        self._asking = False
        self._run: Run | None = None
        self._began = time.time()
        self._before = kept.seconds

    @property
    def made(self) -> int:
        """Draws of each chain, tuning included, as far as those that are kept go."""
        return self.kept.filled + (0 if self.keep_tuning else self.tune)

    def go(
        self, points: Sequence[Point], rngs: Sequence[np.random.Generator], progressbar: bool
    ) -> None:
        """Make all draws that are still to be made, or as many as are wanted."""
        if self.kept.made < self.tune + self.draws:
            try:
                self._go(points, rngs, progressbar)
            finally:
                self.step.compiled.release()  # the tree holds the data once more
        self.kept.finish()

    def _go(
        self, points: Sequence[Point], rngs: Sequence[np.random.Generator], progressbar: bool
    ) -> None:
        tune, total = self.tune, self.tune + self.draws
        with _bar(progressbar and self._first) as bar:
            if not bar.disable:  # A hidden cursor would stay hidden if the process were killed.
                bar.console.show_cursor(True)
            task = bar.add_task("Starting", total=total, statistics="", completed=self.kept.made)
            self._run = run = Run(
                self.step.compiled,
                points,
                rngs,
                tune,
                self.draws,
                phase=lambda word: bar.update(task, description=word),
            )
            state = processes.agreed(self.kept.state())
            if state is None:
                run.start()
                self._reach(None, 0.0)
                self.kept.turn()
            else:
                run.restore(state)
            compiled, before = None, 0
            while run.made < total:
                # A block lies within tuning or after it.
                tuning = run.made < tune
                kept = self.keep_tuning or not tuning
                room = (tune if tuning else total) - run.made
                try:
                    block = run.advance(min(room, self.kept.room or room) if kept else room)
                except ChainStuckError as stuck:
                    if kept and stuck.draws is not None:
                        self._block = self.kept.filled, self.kept.of_mine(stuck.draws)
                    raise
                if compiled is None:  # The first block took the time to compile.
                    compiled, before = time.time(), run.updates
                pace = (run.updates - before) / max(time.time() - compiled, 1e-9)
                if kept:
                    self._block = self.kept.filled, self.kept.of_mine(block)
                with processes.in_step():
                    if kept:
                        self._record(self.recorder)
                    bar.update(
                        task,
                        completed=run.made,
                        description=self._phase,
                        statistics=_describe(block.statistics, pace),
                    )
                    self._reach(block, pace)
                self.kept.turn()
                progress = self._progress(block)
                if self._is_enough(progress, run.made < total):
                    _log.info("Stopped by stop_when: %d of %d draws.", progress.kept, self.draws)
                    break

    def _is_enough(self, progress: Progress, more: bool) -> bool:
        """Tell how far the run is, and ask whether to stop before there are no `more` draws.

        The first process does. Where it is asked for the draws so far, the others write theirs.
        """
        if not self._first:
            said: Any = processes.agreed(None)
            while said == _WRITE:
                self._write_together()
                said = processes.agreed(None)
            what, of = said
            if what == _FAILED:
                raise processes.ended(0, of)
            return of
        self._asking = processes.count() > 1
        try:
            if self._tell is not None:
                self._tell(progress)
            enough = bool(more and self._stop(progress))
        except BaseException as error:
            if self._asking:
                processes.agreed((_FAILED, processes.words_of(error)))
            raise
        finally:
            asking, self._asking = self._asking, False
        if processes.count() > 1 and not asking:
            raise RuntimeError("The draws that a callback asked for could not be written.")
        processes.agreed(("", enough))
        return enough

    def _write_together(self) -> None:
        if isinstance(self.kept, Together):
            self.kept.write_together()

    @property
    def _phase(self) -> str:
        assert self._run is not None
        return "Tuning" if self._run.made < self.tune else "Sampling"

    def _record(self, variables: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
        """Record the block that was made, with `variables` of its value variables."""
        assert self._block is not None
        _, block = self._block
        recorded = {}
        if len(block.positions):
            recorded = variables(self.step.plan.potential.unravel(block.positions))
        self.kept.add(recorded, block)

    @property
    def n_kept(self) -> int:
        """Draws of each chain after tuning that are kept."""
        return max(0, self.made - self.tune)

    def _reach(self, block: Draws | None, pace: float) -> None:
        """Tell a store, if there is one, that the run can go on from here."""
        run = self._run
        if isinstance(self.kept, InMemory) or run is None:
            return
        progress = {
            "phase": self._phase,
            "tune": self.tune,
            "draws": self.draws,
            "updates": run.updates,
            "seconds": self._before + time.time() - self._began,
            "pace": pace,
            "statistics": "" if block is None else _describe(block.statistics, 0.0),
        }
        mark = Mark(run.made, self.kept.filled, run.state(), self._attributes(), progress)
        self.kept.reach(mark)

    def _progress(self, block: Draws) -> Progress:
        run = self._run
        assert run is not None
        return Progress(
            self._phase,
            run.made,
            self.tune,
            self.draws,
            run.updates,
            time.time() - self._began,
            {name: x[:, -1] for name, x in block.statistics.items()},
            self.tree,
        )

    def rescued(self) -> DataTree | None:
        """All that can be had of the draws after an exception, or after two; None if it's nothing.

        A block that an exception kept from being recorded is recorded now: without Deterministics
        if those can't be computed, and then of no draw. What goes to a store is not: it is made
        again by the call that goes on.
        """
        if isinstance(self.kept, InMemory):
            self._record_the_rest(self.kept)
        if not self.kept.safe():
            return None
        # Again after a second Ctrl-C.
        for tree in (self.tree, self.tree, lambda: self.kept.bare_tree(self._attributes())):
            with suppress(Exception, KeyboardInterrupt):
                return tree()
        return None

    def _record_the_rest(self, kept: InMemory) -> None:
        if self._block is None:
            return
        before, block = self._block
        if kept.filled > before or not block.n:
            return
        model = self.step.plan.potential.model
        asked, free = self.recorder.names, [v.name for v in model.free_RVs]
        some = [name for name in asked if name in free]
        ways: list[Any] = [self.recorder]
        if some or not kept.filled:
            ways.append(Recorder(model, some or free))
        if not kept.filled:
            ways.append(dict)  # the value variables themselves
        for variables in ways:
            with suppress(Exception, KeyboardInterrupt):
                self._record(variables)
                self._left_out = [name for name in asked if name not in kept.names]
                break

    def note(self) -> str:
        """What an exception should say of the draws that it brings; nothing if there are none."""
        safe = self.kept.safe()
        if isinstance(self.kept, Stored | Elsewhere):
            return self.kept.note()
        if not safe:
            return ""
        note = f"{safe} draws of each chain were made before this: error.idata."
        if self._left_out:
            note += (
                f" They are without {', '.join(map(repr, self._left_out))}, which could not be "
                "computed; see pm.compute_deterministics."
            )
        return note

    def tree(self) -> DataTree:
        """Draws as `pm.sample` gives them."""
        if self._asking and isinstance(self.kept, Together):
            self._asking = False  # an error is one of all processes
            processes.agreed(_WRITE)
            self.kept.write_together()
            self._asking = True
        return self.kept.tree(self._attributes())

    def _attributes(self) -> dict[str, Any]:
        run = self._run
        if run is None:  # all was there
            return {}
        # Updates of draws that could not be kept, all of one block, don't count.
        updates = run.updates - (run.made - self.made) * run.steps
        return {
            **self.step.run_report(run).but(updates=updates).attributes(),
            "sampling_time": self._before + time.time() - self._began,
            "tuning_steps": min(self.made, self.tune),
        }


def _bar(show: bool) -> Bar:
    console = get_console()
    if not (console.is_terminal or console.is_jupyter):
        console = Console(width=_WIDTH_OF_LOGS)  # of 80 letters, which cut the line
    return Bar(
        TextColumn("{task.description:>9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[statistics]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
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
