"""Tables of finished runs: our own figures, and each beside those that are published."""

import math
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.networks.comparisons import METRICS, compare, summary
from benchmarks.networks.protocols import PROTOCOLS
from benchmarks.networks.published import WIESE_NUTS, figures
from benchmarks.networks.results import of_cell

_COLOURS = {"better": "green", "worse": "red"}


def show(rows: list[dict[str, Any]], protocol: str, runs: dict[str, int]) -> None:
    """Print the tables of a protocol.

    Parameters
    ----------
    rows : list of dict
        Finished runs.
    protocol : str
    runs : dict of str to int
        Splits or seeds of each set to show.
    """
    console = Console()
    if not console.is_terminal:
        console.width = 150
    of_protocol = [row for row in rows if row["protocol"] == protocol]
    methods = list(dict.fromkeys((row["method"], row["noise"]) for row in of_protocol))
    cells = {
        (name, method, noise): done
        for name in runs
        for method, noise in methods
        if (done := of_cell(rows, protocol, name, method, noise))
    }
    if not cells:
        console.print(f"{protocol}: no run is finished.")
        return
    console.print(_ours(cells, protocol, runs))
    console.print(_beside(cells, protocol, runs))
    if protocol == "wiese":
        console.print(WIESE_NUTS)


def _pm(value: float, error: float) -> str:
    return f"{value:.4f} ± {error:.4f}"


def _ours(cells: dict, protocol: str, runs: dict[str, int]) -> Table:
    table = Table(title=f"{protocol}: {PROTOCOLS[protocol].about}; mean ± standard error")
    texts = ("set", "method", "noise")
    for column in (*texts, "runs", *METRICS[protocol].values(), "seconds", "updates"):
        table.add_column(column, justify="left" if column in texts else "right")
    for (name, method, noise), done in cells.items():
        scores = (_pm(*summary(done, metric)) for metric in METRICS[protocol])
        seconds = sum(run["seconds"] for run in done) / len(done)
        runs_done = f"{len(done)}/{runs[name]}"
        table.add_row(name, method, noise, runs_done, *scores, f"{seconds:.0f}", _work(done[0]))
    return table


def _work(run: dict[str, Any]) -> str:
    """Gradients of a run, as far as it tells: updates of all chains times rows of each."""
    if "updates" in run:
        updates = run["updates"] + run.get("warmup_updates", 0)
        batch = run["batch_size"]
        rows = f"{run['n_rows']:,} (all)" if batch == "all rows" else f"{batch:,}"
        each = run.get("gradients_per_update", 1)
        gradients = f", {each} gradients each" if each > 1 else ""
        return f"{run['chains']} x {updates:,} of {rows} rows{gradients}"
    return f"{run['gradients']:,} gradients" if "gradients" in run else ""


def _beside(cells: dict, protocol: str, runs: dict[str, int]) -> Table:
    table = Table(
        title="ours less theirs, its standard error (paired where they publish splits) and both "
        "in standard errors, positive where ours is better",
        caption="~ it is not known what the published error is; taken as a standard error. What is "
        "not paired means little before all runs are finished.",
    )
    texts = ("set", "ours", "noise", "theirs", "score")
    for column in (*texts, "ours ", "theirs ", "difference", "s.e.", ""):
        table.add_column(column, justify="left" if column in (*texts, "") else "right")
    for (name, method, noise), done in cells.items():
        for metric, label in METRICS[protocol].items():
            for theirs in figures(protocol, name, metric, runs[name]):
                found = compare(done, metric, theirs)
                style = _COLOURS.get(found.verdict)
                table.add_row(
                    name,
                    method,
                    noise,
                    theirs.method,
                    label,
                    f"{summary(done, metric)[0]:.4f}",
                    f"{_pm(theirs.value, theirs.error)}{' ' if theirs.certain else '~'}",
                    f"{_pm(found.difference, found.error)}{' paired' if found.paired else ''}",
                    "" if math.isnan(found.better) else f"{found.better:+.1f}",
                    f"[{style}]{found.verdict}[/]" if style else found.verdict,
                )
        table.add_section()
    return table
