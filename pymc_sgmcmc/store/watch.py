"""How a run with a store goes, seen from another process."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from xarray import DataTree

from pymc_sgmcmc.arguments import number
from pymc_sgmcmc.store.lock import is_running
from pymc_sgmcmc.store.shelf import Shelf
from pymc_sgmcmc.store.stored import COUNTER, IDENTITY
from pymc_sgmcmc.store.tree import open_tree

if TYPE_CHECKING:
    from pymc_sgmcmc.diagnostics.diagnosis import Diagnosis

# Draws that must be new, as a part of those there are, before a diagnosis is made again.
_NEW = 0.2
# Seconds after which a bar is behind what is done, however it is written.
_LEAST = 0.1


def watch(store: Any, *, every: float = 5.0, diagnosis: bool = True) -> None:
    """Show how a run with a store goes, until it ends.

    For another process than the one that runs, in a terminal or a notebook: how far it is, how
    fast, its latest statistics and what `diagnose` says of the draws so far. It only reads; Ctrl-C
    ends the watching and nothing else. Where nothing runs, it shows how things stand, once.

    Parameters
    ----------
    store : str, path-like or zarr.abc.store.Store
        As `sample` was given it.
    every : float
        Seconds between two looks; the run itself writes every five seconds or less often.
    diagnosis : bool
        Whether to diagnose the draws, whenever a fifth more of them have been made. It reads all of
        them.

    Raises
    ------
    FileNotFoundError
        If there is no run.

    See Also
    --------
    pymc_sgmcmc.sample : What it watches.

    Examples
    --------
    >>> import tempfile
    >>> import pymc as pm
    >>> from pymc_sgmcmc import ATMC, sample, watch
    >>> folder = tempfile.mkdtemp() + "/run.zarr"
    >>> with pm.Model():
    ...     x = pm.Normal("x", shape=3)
    ...     idata = sample(
    ...         500, step=ATMC(), store=folder, random_seed=1, progressbar=False
    ...     )
    >>> watch(folder)
    ended...
    """
    number("every", every, 0)
    shelf = _shelf(store)
    look = _Look(shelf, diagnosis)
    with suppress(KeyboardInterrupt), Live(look.show(), auto_refresh=False) as live:
        while look.running:
            time.sleep(max(every, _LEAST))
            live.update(look.show(), refresh=True)


class _Look:
    """What is seen of a store, look by look."""

    def __init__(self, shelf: Shelf, diagnosis: bool) -> None:
        self._shelf, self._wanted = shelf, diagnosis
        self._diagnosis: Diagnosis | str | None = None
        self._judged = 0
        self.running = False

    def show(self) -> RenderableType:
        """What there is to be seen now."""
        self.running = is_running(self._shelf)
        text = self._shelf.get(COUNTER)
        state = "running" if self.running else "ended, or stopped"
        if text is None:
            return Text(f"{state} · searching: nothing is written yet")
        counter = json.loads(text)
        progress = counter["progress"]
        total = progress["tune"] + progress["draws"]
        if not self.running and counter["made"] == total:
            state = "ended"
        rows = Table.grid(padding=(0, 2))
        rows.add_row(f"{state} · {progress['phase']}", f"{counter['made']:,} of {total:,} draws")
        rows.add_row("", ProgressBar(total, counter["made"], width=40))
        rows.add_row("updates", f"{progress['updates']:,} of each chain, {_pace(progress)}")
        rows.add_row("time", _time(progress, counter["made"], total))
        rows.add_row("latest", progress["statistics"])
        shown: list[RenderableType] = [rows]
        if self._wanted and (found := self._diagnose(counter)):
            shown.append(Text(str(found)))
        return Group(*shown)

    def _diagnose(self, counter: dict[str, Any]) -> Diagnosis | str | None:
        """What is said of the draws so far; what was said before as long as few are new."""
        draws = counter["lengths"].get("posterior", 0)
        due = draws >= self._judged * (1 + _NEW) or (not self.running and draws > self._judged)
        if draws and due:
            self._diagnosis, self._judged = _judged(open_tree(self._shelf)), draws
        return self._diagnosis


def _judged(tree: DataTree) -> Diagnosis | str:
    """Diagnosis of a tree, or why there is none: a run must not end what watches it."""
    from pymc_sgmcmc.diagnostics.diagnosis import diagnose  # with half of SciPy

    try:
        return diagnose(tree)
    except Exception as error:
        return f"The draws could not be diagnosed: {error}"


def _shelf(store: Any) -> Shelf:
    try:
        shelf = Shelf(store, writable=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no store at {str(store)!r}.") from None
    if shelf.get(IDENTITY) is None:
        raise FileNotFoundError(
            f"{shelf.name} has no run in it: watch what sample(store=...) was given."
        )
    return shelf


def _pace(progress: dict[str, Any]) -> str:
    return f"{progress['pace']:,.0f} a second" if progress["pace"] else "no pace known yet"


def _time(progress: dict[str, Any], made: int, total: int) -> str:
    spent = f"{_hours(progress['seconds'])} so far"
    if made == total or not made:
        return spent
    return f"{spent}, about {_hours(progress['seconds'] * (total - made) / made)} left"


def _hours(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
