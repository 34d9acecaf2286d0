"""Write the tables of docs/speed.md, from the figures in docs/figures/speed/.

    uv run python -m benchmarks.speed_page            # after a benchmark has written a file there
    uv run python -m benchmarks.speed_page --check    # exit status 1 where the page says otherwise

A table stands between `<!-- table NAME -->` and `<!-- end of table -->`, and is made of NAME.json:
what a benchmark wrote (``--json``, see `measured.py`), laid out by `speed_tables.py`. Below it
stands where the figures are from. What stands elsewhere on the page is written by hand.
"""

import argparse
import datetime
import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks import speed_tables

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "speed.md"
FIGURES = ROOT / "docs" / "figures" / "speed"
_MARKED = re.compile(r"(<!-- table ([\w-]+) -->\n).*?(<!-- end of table -->)", re.S)
_CALLED = {"pymc_sgmcmc": "pymc_sgmcmc", "pymc": "PyMC", "jax": "JAX", "numba": "Numba",
           "blackjax": "BlackJAX", "nutpie": "nutpie", "numpyro": "NumPyro"}  # fmt: skip


def read(name: str) -> dict[str, Any]:
    """Give what a file of figures tells."""
    return json.loads((FIGURES / f"{name}.json").read_text())


def table(rows: list[dict[str, str]]) -> str:
    """Give rows as a table of Markdown; the first one's keys are the headings."""
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([row.get(head, "") for head in heads] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


def origin(told: dict[str, Any]) -> str:
    """Say where figures are from, in a line."""
    machine, parts = told["machine"], [f"`{told['command']}`"]
    date = datetime.date.fromisoformat(told["date"])
    parts.append(f"{date.day} {date:%B %Y}")
    cores = f"{machine['cores']} cores" if machine.get("cores") else None
    parts.append(", ".join(filter(None, (machine["processor"], cores))))
    names = [f"{_CALLED[k]} {v}" for k, v in told.get("versions", {}).items() if k in _CALLED]
    parts.append(", ".join(names))
    if told.get("transcribed"):
        parts.append("copied by hand from what it printed")
    text = f"{'; '.join(filter(None, parts))}."
    return f"*{text}{' ' + told['note'] if 'note' in told else ''}*"


def made(name: str) -> str:
    """Give what stands between a table's markers."""
    told = read(name)
    layout = speed_tables.LAYOUTS.get(name, speed_tables.as_it_is)
    return f"\n{table(layout(told))}\n\n{origin(told)}\n\n"


def page(text: str) -> str:
    """Give a page with its tables as the files have them."""
    return _MARKED.sub(lambda found: found[1] + made(found[2]) + found[3], text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    a = parser.parse_args()
    before = PAGE.read_text()
    after = page(before)
    if a.check and after != before:
        sys.exit(f"{PAGE} is not what its figures give. Type `python -m benchmarks.speed_page`.")
    if not a.check:
        PAGE.write_text(after)


if __name__ == "__main__":
    main()
