"""Finished runs by what makes them: protocol, set, split, method and noise."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import json_lines
from benchmarks.networks.settings import OWN_NOISE

Key = tuple[str, str, int, str, str]


def key(row: dict[str, Any]) -> Key:
    """Give what makes a run: protocol, set, split, method, noise."""
    return row["protocol"], row["set"], row["split"], row["method"], row["noise"]


def read(path: Path) -> dict[Key, dict[str, Any]]:
    """Finished runs; of several of one key, the last."""
    found = [{"noise": _noise_before(row), **row} for row in json_lines.read(path)]
    return {key(row): row for row in found}


def _noise_before(row: dict[str, Any]) -> str:
    """Noise of a run of when each protocol had one."""
    if row["protocol"] == "wiese":
        return "standard normal"
    return OWN_NOISE.get(row["method"], "learned")


def of_cell(
    rows: Iterable[dict[str, Any]], protocol: str, name: str, method: str, noise: str
) -> list[dict[str, Any]]:
    """Runs of a protocol, set, method and noise, by split."""
    wanted = protocol, name, method, noise
    cell = (r for r in rows if (r["protocol"], r["set"], r["method"], r["noise"]) == wanted)
    return sorted(cell, key=lambda row: row["split"])
