"""The table of finished runs."""

from typing import Any

from rich.console import Console
from rich.table import Table

_COLUMNS = (
    *("case", "levels", "method", "tune + draws", "effects", "sd ratios", "sd rms", "others"),
    *("truth", "ESS", "R-hat", "seconds", "ESS/s", "ESS/10⁴ updates", "MB"),
)
_ABOUT = (
    "effects: rms error of their means; sd ratios: their standard deviations over the reference's, "
    "range and rms of what they differ from 1 by; others: largest error of another mean, all in "
    "posterior sds. truth: rms error against the simulated effects, 1 is right. ESS, R-hat: the "
    "worst of all quantities."
)


def show(rows: list[dict[str, Any]]) -> None:
    """Print finished runs, those of one case after one another."""
    console = Console()
    if not console.is_terminal:
        console.width = 150
    if not rows:
        console.print("No run is finished.")
        return
    table = Table(caption=_ABOUT)
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in ("case", "method") else "right")
    for row in sorted(rows, key=lambda row: (row["case"], row["groups"])):
        table.add_row(*_cells(row))
    console.print(table)


def _cells(row: dict[str, Any]) -> list[str]:
    def number(name: str, form: str) -> str:
        return format(row[name], form) if name in row else "-"

    lengths = (row["tune"], row["draws"])
    return [
        row["case"],
        f"{row['groups']:,}",
        row["method"],
        " + ".join("default" if n is None else f"{n:,}" for n in lengths),
        number("effects_error", ".3f"),
        f"{row['sd_low']:.2f}-{row['sd_high']:.2f}" if "sd_low" in row else "-",
        number("sd_error", ".3f"),
        number("hyper_error", ".3f"),
        number("truth", ".2f"),
        number("ess", ",.0f"),
        number("rhat", ".3f"),
        number("seconds", ".1f"),
        f"{row['ess'] / row['seconds']:.2f}",
        f"{1e4 * row['ess'] / row['updates']:,.0f}" if "updates" in row else "-",
        number("megabytes", ",.0f"),
    ]
