"""Finished runs, one JSON line each, so that a command that was stopped goes on where it was."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Key = tuple[str, str, int, str]


def key(row: dict[str, Any]) -> Key:
    """Give what makes a run: protocol, set, split, method."""
    return row["protocol"], row["set"], row["split"], row["method"]


def read(path: Path) -> dict[Key, dict[str, Any]]:
    """Finished runs; of several of one key, the last."""
    if not path.exists():
        return {}
    rows = (json.loads(line) for line in path.read_text().splitlines() if line.strip())
    return {key(row): row for row in rows}


def append(path: Path, row: dict[str, Any]) -> None:
    """Write one more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def of_cell(
    rows: Iterable[dict[str, Any]], protocol: str, name: str, method: str
) -> list[dict[str, Any]]:
    """Runs of a protocol, set and method, by split."""
    cell = (r for r in rows if (r["protocol"], r["set"], r["method"]) == (protocol, name, method))
    return sorted(cell, key=lambda row: row["split"])
