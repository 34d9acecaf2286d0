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

# Of `start.py`.
CASES = {
    "readme": "README",
    "small": "3 parameters",
    "digits": "digits",
    "groups-200": "200 groups",
    "groups-2000": "2,000 groups",
}
PHASES = {
    "import jax": "all is imported",
    "step": "the step is made",
    "search": "the search is done",
    "first tuning draw": "the first tuning draw",
    "first kept draw": "the first draw that is kept",
    "end": "the end",
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
    """Give updates a second by both engines and BlackJAX, and the median of the rounds' ratios.

    The processor's time for an update, all threads added up, is what counts where there are as many
    chains as cores.
    """
    cells = {(r["workload"], r["sampler"], r["chains"], r["peer"]): r for r in told["rows"]}
    keys = dict.fromkeys(key[:3] for key in cells)
    keys = sorted(keys, key=lambda key: (list(WORKLOADS).index(key[0]), _turn(key[1]), key[2]))
    table = []
    for workload, of_workload in groupby(keys, lambda key: key[0]):
        for i, key in enumerate(of_workload):
            peers = ("ours-numba", "ours-jax", "blackjax")
            numba, jax, blackjax = (cells.get((*key, peer), {}) for peer in peers)
            table.append({
                "updates/s of all chains": "" if i else WORKLOADS[workload],
                "": f"{key[1].upper()}, {key[2]} {'chain' if key[2] == 1 else 'chains'}",
                "Numba": number(numba.get("updates_per_second")),
                "JAX": number(jax.get("updates_per_second")),
                "BlackJAX": number(blackjax.get("updates_per_second")),
                "Numba / BlackJAX": number(numba.get("over_blackjax"), 2),
                "JAX / BlackJAX": number(jax.get("over_blackjax"), 2),
                "CPU µs an update": " / ".join(
                    number(of.get("cpu_us")) for of in (numba, jax, blackjax) if of
                ),
            })  # fmt: skip
    return table


def start(told: Told) -> Table:
    """Give the seconds until each phase of a run was done, cold and warm, a case in two columns."""
    rows = told["rows"]
    heads = {(r["case"], r["caches"]): f"{CASES[r['case']]}, {r['caches']}" for r in rows}
    return [
        {"seconds until": what}
        | {heads[r["case"], r["caches"]]: number(r["marks"][mark][0], 1) for r in rows}
        for mark, what in PHASES.items()
    ]


def _turn(sampler: str) -> int:
    return ["sgld", "sgnht", "atmc"].index(sampler)


def scaling(told: Told) -> Table:
    """Give the cost of an update against the number of rows."""
    rows = [row for row in told["rows"] if row["panel"] == "N"]
    engines = dict.fromkeys(row["engine"] for row in rows)
    costs = {(row["engine"], row["value"]): row["us_per_update"] for row in rows}
    sizes = sorted({row["value"] for row in rows})
    return [
        {"rows": number(size)}
        | {f"{engine}: µs an update": number(costs[engine, size], 1) for engine in engines}
        for size in sizes
    ]


def hierarchies(told: Told) -> Table:
    """Give errors, effective draws, seconds and memory of a regression with many effects."""
    return [
        {
            "": "ATMC" if row["method"] == "ours" else row["method"],
            "means of effects: rms error (sd)": number(row["effects_error"], 3),
            "sds / exact": f"{row['sd_low']:.2f}-{row['sd_high']:.2f}",
            "smallest ESS": number(row["ess"]),
            "seconds": number(row["seconds"], 1),
            "smallest ESS a second": number(row["ess"] / row["seconds"]),
            "MB": number(row["megabytes"]),
        }
        for row in told["rows"]
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


def efficiency(told: Told) -> Table:
    """Give the seconds until a posterior was right, by method and case, and what users give.

    In brackets are effective draws a second of the run that was right; where none was, what was
    wrong with the best of them, or that they were stopped.
    """
    rows = told["rows"]
    cases = dict.fromkeys(row["case"] for row in rows)
    asked = {row["method"]: row["asks"] for row in rows}
    return [
        {"": method, "its user gives": asks}
        | {
            case: _until_right(
                [r for r in rows if (r["case"], r["method"]) == (case, method)], told["limit"]
            )
            for case in cases
        }
        for method, asks in asked.items()
    ]


def _until_right(runs: list[dict[str, Any]], limit: float) -> str:
    right = [run for run in runs if run.get("met")]
    finished = [run for run in runs if "failed" not in run]
    if right:
        best = min(right, key=lambda run: run["seconds"])
        rate = f" ({best['ess'] / best['seconds']:,.0f}/s)" if best["ess"] else ""
        return f"{best['seconds']:.1f}{rate}"
    if any(run.get("failed") == "stopped" for run in runs):
        return f"> {limit:,.0f}"
    if not finished:
        return "fails" if runs else ""
    best = min(finished, key=lambda run: run["mean_error"])
    if best["mean_error"] >= 1000:
        return "mean far off"
    if best["mean_error"] >= 0.1:
        return f"mean off by {best['mean_error']:.2g} sd"
    return f"sds × {best['sd_low']:.2f}-{best['sd_high']:.2f}"


LAYOUTS = {
    "compare": compare,
    "efficiency": efficiency,
    "hierarchies": hierarchies,
    "start": start,
    "scaling": scaling,
    "scaling-blocks": scaling,
    "memory": memory,
}
