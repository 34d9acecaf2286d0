"""How the tables of docs/speed.md are laid out: from what a benchmark wrote to headings and cells.

A table is a list of rows, each a dict of headings and texts. Those without a layout of their own
have their rows as they are, numbers with as many decimals as the file's ``decimals`` says.
"""

from itertools import groupby
from typing import Any

Told = dict[str, Any]
Table = list[dict[str, str]]

WORKLOADS = {
    "logistic": "logistic regression",
    "digits-32": "digits, B = 32",
    "digits-128": "digits, B = 128",
    "mnist": "MNIST, B = 512",
}


def number(x: Any, decimals: int = 0) -> str:
    """Give a number with separators, a text as it is, nothing for None."""
    if x is None:
        return ""
    return x if isinstance(x, str) else f"{x:,.{decimals}f}"


def as_it_is(told: Told) -> Table:
    """Give rows with their own keys as headings."""
    decimals = told.get("decimals", {})
    return [{k: number(x, decimals.get(k, 0)) for k, x in row.items()} for row in told["rows"]]


def compare(told: Told) -> Table:
    """Give the processor's time for an update of both engines and BlackJAX, and ratios.

    Seconds by the clock are in the file as well, and tell of what else the machine did.
    """
    rows, table = told["rows"], []
    times = {(r["workload"], r["chains"], r["peer"], r["sampler"]): r["cpu_us"] for r in rows}
    keys = dict.fromkeys((r["workload"], r["sampler"], r["chains"]) for r in rows)
    keys = sorted(keys, key=lambda key: (list(WORKLOADS).index(key[0]), _turn(key[1]), key[2]))
    for workload, of_workload in groupby(keys, lambda key: key[0]):
        for i, (_, sampler, chains) in enumerate(of_workload):
            peers = ("ours-numba", "ours-jax", "blackjax")
            numba, jax, blackjax = (times.get((workload, chains, p, sampler)) for p in peers)
            table.append({
                "CPU µs an update": "" if i else WORKLOADS[workload],
                "": f"{sampler.upper()}, {chains} {'chain' if chains == 1 else 'chains'}",
                "Numba": number(numba),
                "JAX": number(jax),
                "BlackJAX": number(blackjax),
                "BlackJAX / Numba": number(_over(blackjax, numba), 2),
                "BlackJAX / JAX": number(_over(blackjax, jax), 2),
            })  # fmt: skip
    return table


def _over(x: float | None, y: float | None) -> float | None:
    return None if x is None or y is None else x / y


def _turn(sampler: str) -> int:
    return ["sgld", "sgnht", "atmc"].index(sampler)


def scaling(told: Told) -> Table:
    """Give the cost of an update against the number of rows."""
    rows = [row for row in told["rows"] if row["panel"] == "N"]
    engines = dict.fromkeys(row["engine"] for row in rows)
    costs = {(row["engine"], row["value"]): row["cpu_us_per_update"] for row in rows}
    sizes = sorted({row["value"] for row in rows})
    return [
        {"rows": number(size)}
        | {f"{engine}: CPU µs an update": number(costs[engine, size], 1) for engine in engines}
        for size in sizes
    ]


def memory(told: Told) -> Table:
    """Give peak memory of runs in megabytes, and of what was recorded of their draws."""
    return [
        {
            "engine": row["engine"],
            "draws × updates between them": row["run"].replace(" x ", " × "),
            "peak, MB": number(row["peak"]),
            "draws and statistics, MB": number(row["recorded"], 1),
        }
        for row in told["rows"]
    ]


LAYOUTS = {
    "compare": compare,
    "scaling": scaling,
    "scaling-blocks": scaling,
    "memory": memory,
}
