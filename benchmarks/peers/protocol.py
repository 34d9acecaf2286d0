"""What a peer's process does: prepare a sampler, say so, and run it for as long as it is asked.

Alone, a peer prints one JSON line, from a folder `benchmarks` and in an environment of its own:

    python -m peers.blackjax --workload digits-32 --sampler sgnht --chains 4 --seconds 2

With ``--serve`` it prints one when its first block of draws is there, and one for every line that
it reads: ``time SECONDS``, ``check`` (is it the same posterior?), ``device`` (JAX's, and the most
memory it had in use) or ``profile FOLDER`` (JAX's, of one block).
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import workloads
from peak_memory import peak_megabytes
from workloads import Workload

IMPORTED = time.time()


class Prepared(NamedTuple):
    """A sampler that is ready to run.

    Attributes
    ----------
    run : callable
        Makes a block of draws; gives them as arrays on the host, ``(chains, draws, ...)`` each.
    gradient : callable
        Gradient ``(d,)`` of the log posterior from all rows at a position ``(d,)``.
    """

    run: Callable[[], Sequence[np.ndarray]]
    gradient: Callable[[np.ndarray], np.ndarray]


def measure(prepared: Prepared, steps_per_draw: int, seconds: float) -> dict[str, Any]:
    """Make blocks of draws for some seconds, one block at least.

    Updates are those of all chains, CPU time that of all threads.
    """
    updates, wall, cpu = 0, time.perf_counter(), time.process_time()
    while True:
        draws = prepared.run()
        updates += draws[0].shape[0] * draws[0].shape[1] * steps_per_draw
        elapsed = time.perf_counter() - wall
        if elapsed >= seconds:
            break
    cpu = time.process_time() - cpu
    finite = all(np.isfinite(x).all() for x in draws)
    return {
        "updates": updates,
        "seconds": elapsed,
        "cpu": cpu,
        "peak": peak_megabytes(),
        "finite": bool(finite),
    }


def serve(
    prepare: Callable[..., Prepared], packages: Sequence[str], options: Sequence[str] = ()
) -> None:
    """Run a peer as its own process.

    Parameters
    ----------
    prepare : callable
        Takes a workload, the sampler's name, chains, draws of a block, and the `options`.
    packages : sequence of str
        Distributions whose versions are reported.
    options : sequence of str
        Names of further string arguments of `prepare`.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", default="logistic", help="a name, or a file of `save`")
    parser.add_argument("--sampler", default="sgld")
    parser.add_argument("--chains", type=int, default=1)
    parser.add_argument("--draws", type=int, help="of each chain in a block")
    parser.add_argument("--steps-per-draw", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--serve", action="store_true")
    for option in options:
        parser.add_argument(f"--{option}", required=True)
    a = parser.parse_args()

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what packages print is not mistaken for an answer

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=out, flush=True)

    in_file = a.workload not in workloads.WORKLOADS
    workload = workloads.load(a.workload) if in_file else workloads.WORKLOADS[a.workload]()
    workload = replace(workload, steps_per_draw=a.steps_per_draw)
    draws = a.draws or max(1, workload.draws // a.chains)
    own = {option: getattr(a, option) for option in options}
    prepared = prepare(workload, a.sampler, a.chains, draws, **own)
    prepared.run()
    first = time.time()

    def timed(seconds: float) -> dict[str, Any]:
        return measure(prepared, workload.steps_per_draw, seconds)

    warm = timed(0)  # what the first block took besides compilation
    start = float(os.environ.get("BENCHMARK_STARTED", IMPORTED))
    ready = {
        "startup": first - start - warm["seconds"],
        "versions": {package: version(package) for package in packages},
    }
    if not a.serve:
        found = timed(a.seconds)
        answer(**ready, **found, gradient_error=gradient_error(workload, prepared.gradient))
        return
    answer(**ready)
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "time":
            answer(**timed(float(arguments[0])))
        elif command == "check":
            answer(gradient_error=gradient_error(workload, prepared.gradient))
        elif command == "device":
            answer(**device())
        elif command == "profile":
            import jax

            with jax.profiler.trace(arguments[0]):
                found = timed(0)
            answer(**found)


def device() -> dict[str, Any]:
    """JAX's device, and the most of its memory that was in use, in megabytes."""
    import jax

    first = jax.local_devices()[0]
    peak = (first.memory_stats() or {}).get("peak_bytes_in_use", 0)
    return {"kind": first.device_kind, "peak": peak / 2**20}


def gradient_error(workload: Workload, gradient: Callable[[np.ndarray], np.ndarray]) -> float:
    """Error of a peer's gradient at a random point, relative to its norm."""
    theta = workload.start(1, seed=1)[0]
    exact = workload.gradient(theta)
    found = np.asarray(gradient(theta), float)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))
