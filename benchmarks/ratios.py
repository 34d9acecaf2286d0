"""Whether ratios of speeds have got worse: those of a run beside those that are committed.

Ratios of programs that took turns in one run, since seconds of two machines, or of two days, say
little about a change of the code.
"""

from dataclasses import dataclass
from typing import Any

KEY = ("workload", "chains", "sampler", "engine", "against")


@dataclass(frozen=True)
class Judged:
    """One ratio beside what is expected of it.

    Attributes
    ----------
    name : str
        What was measured, in words.
    ratio : float or None
        None where it could not be measured.
    expected : float
    lowest : float
        Below which it has regressed.
    """

    name: str
    ratio: float | None
    expected: float
    lowest: float

    @property
    def regressed(self) -> bool:
        """Whether it is worse than the tolerance allows, or is missing, or no number."""
        return self.ratio is None or not self.ratio >= self.lowest

    def __str__(self) -> str:
        ratio = "not measured" if self.ratio is None else f"{self.ratio:.2f}"
        end = "   REGRESSED" if self.regressed else ""
        return f"{self.name:58}{ratio:>13}{self.expected:11.2f}{self.lowest:13.2f}{end}"


HEADINGS = f"{'updates per CPU second':58}{'now':>13}{'committed':>11}{'at least':>13}"


def judge(
    found: list[dict[str, Any]], expected: list[dict[str, Any]], tolerance: float
) -> list[Judged]:
    """Hold ratios against the committed ones.

    Parameters
    ----------
    found, expected : list of dict
        With the fields `KEY` and ``"ratio"``.
    tolerance : float
        Share of a ratio by which it may be lower: with 0.3, 2.0 regresses below 1.4.
    """
    now = {key(row): row["ratio"] for row in found}
    return [
        Judged(
            name(row), now.get(key(row)), row["ratio"], lowest=(1 - tolerance) * row["ratio"]
        )
        for row in expected
    ]  # fmt: skip


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """Give what makes a ratio."""
    return tuple(row[field] for field in KEY)


def name(row: dict[str, Any]) -> str:
    """Give it in words."""
    chains = f"{row['chains']} chain{'s' if row['chains'] > 1 else ''}"
    return f"{row['workload']}, {chains}, {row['sampler']}: {row['engine']} / {row['against']}"
