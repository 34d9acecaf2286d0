"""Finished runs, one JSON line each, so that a command that was stopped goes on where it was."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.networks.settings import OWN_NOISE

Key = tuple[str, str, int, str, str]


def key(row: dict[str, Any]) -> Key:
    """Give what makes a run: protocol, set, split, method, noise."""
    return row["protocol"], row["set"], row["split"], row["method"], row["noise"]


def rows(path: Path) -> list[dict[str, Any]]:
    """Lines of a file, in their order; none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def read(path: Path) -> dict[Key, dict[str, Any]]:
    """Finished runs; of several of one key, the last."""
    found = [{"noise": _noise_before(row), **row} for row in rows(path)]
    return {key(row): row for row in found}


def _noise_before(row: dict[str, Any]) -> str:
    """Noise of a run of when each protocol had one."""
    if row["protocol"] == "wiese":
        return "standard normal"
    return OWN_NOISE.get(row["method"], "learned")


def append(path: Path, row: dict[str, Any]) -> None:
    """Write one more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def of_cell(
    rows: Iterable[dict[str, Any]], protocol: str, name: str, method: str, noise: str
) -> list[dict[str, Any]]:
    """Runs of a protocol, set, method and noise, by split."""
    wanted = protocol, name, method, noise
    cell = (r for r in rows if (r["protocol"], r["set"], r["method"], r["noise"]) == wanted)
    return sorted(cell, key=lambda row: row["split"])
