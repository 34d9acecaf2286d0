"""A benchmark's figures as a file that says where they are from: what was typed, when, on what.

`docs/figures/speed/` keeps such files, of which `speed_page.py` makes the tables of docs/speed.md.
Imports nothing of its folder, so that it serves scripts and modules alike.
"""

import argparse
import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("pymc_sgmcmc", "pymc", "pytensor", "jax", "numba", "numpy")
_OWN = ("--json", "--note", "--output")  # change nothing of what is measured
_ROOT = Path(__file__).parent.parent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--json FILE` and `--note TEXT`."""
    parser.add_argument("--json", type=Path, help="file to write all figures to, with their origin")
    parser.add_argument("--note", help="what a reader of that file should know of this run")


def save(a: argparse.Namespace, rows: list[dict[str, Any]], **more: Any) -> None:
    """Write rows to the file that was asked for, if any.

    Parameters
    ----------
    a : Namespace
        Arguments of the command.
    rows : list of dict
    **more
        Fields besides; `versions` of peers are added to those of our packages.
    """
    if a.json is None:
        return
    more["versions"] = versions() | more.get("versions", {})
    told = origin() | ({"note": a.note} if a.note else {}) | more
    write(a.json, told | {"rows": rows})


def write(path: Path, told: dict[str, Any]) -> None:
    """Write a file, with one line for each row, so that a change of one is a line's."""
    head = json.dumps({k: x for k, x in told.items() if k != "rows"}, indent=1, ensure_ascii=False)
    rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in told["rows"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{head[:-2]},\n "rows": [\n{rows}\n ]\n}}\n')


def origin() -> dict[str, Any]:
    """Give the command, date, commit and machine of this process."""
    return {
        "command": command(sys.orig_argv),
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": machine(),
    }


def command(words: list[str]) -> str:
    """Give what was typed, without what only says where figures go."""
    kept, words = [], list(words[1:])
    while words:
        word = words.pop(0)
        if word in _OWN:
            words = words[1:]
        elif not word.startswith(tuple(f"{own}=" for own in _OWN)):
            kept.append(word)
    return f"python {shlex.join(kept)}"


def commit() -> str | None:
    """Give the commit of the working tree, None outside of one."""
    asked = ["git", "describe", "--always", "--dirty"]
    try:
        said = subprocess.run(asked, cwd=_ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()


def machine() -> dict[str, Any]:
    """Give the processor, the cores that this process may use, the system and its load."""
    may_use = getattr(os, "sched_getaffinity", None)
    load = getattr(os, "getloadavg", None)
    return {
        "processor": processor(),
        "cores": len(may_use(0)) if may_use else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load": round(load()[0], 1) if load else None,
    }


def processor() -> str:
    """Give the processor's name, by what the system tells."""
    told = Path("/proc/cpuinfo")
    for line in told.read_text().splitlines() if told.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Give those of the packages that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def rounded(x: float, digits: int = 4) -> float:
    """Give a number to some significant digits, so that files stay small."""
    return float(f"{x:.{digits}g}")
