"""Updates per second on several devices and in several processes, and whether draws are the same.

    python benchmarks/devices.py [--devices 1 2 4 8] [--processes 1 2 4] [--shards chains rows]
        [--rows 100000] [--batch 512] [--chains 8]

A logistic regression of 20 float32 columns, SGHMC with a step size that was given, eight chains.
Devices are simulated ones of the processor (``--xla_force_host_platform_device_count``) and share
its cores; processes have a device each and are joined on this machine by JAX's own collectives over
the loopback (gloo). Every run is made by processes of its own, which compile first and are then
timed in three rounds, of which the fastest counts; its draws are compared with those of one device.

What it can show is that nothing breaks and what the joining costs. With as many cores as one device
keeps busy there is no speed to be gained from more of them.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

D, STEPS, ROUNDS = 20, 50, 3


def measure(a: argparse.Namespace) -> None:
    """Run in one of the processes; the first one prints its pace and writes its draws."""
    import jax

    if a.coordinator:
        jax.distributed.initialize(a.coordinator, a.processes[0], a.index)
    import pymc as pm

    import pymc_sgmcmc as sg

    rng = np.random.default_rng(0)
    X = rng.standard_normal((a.rows, D), np.float32)
    y = rng.random(a.rows) < 1 / (1 + np.exp(-X @ np.linspace(-1, 1, D)))
    with pm.Model() as model:
        b = pm.Normal("b", 0, 2, shape=D)
        pm.Bernoulli("y", logit_p=pm.Data("X", X) @ b, observed=y.astype(np.int8))
    h = 0.02 / np.sqrt(a.rows)
    engine = sg.SGHMC(
        model=model,
        batch_size=a.batch,
        dtype="float32",
        step_size=h,
        engine=sg.JAX(shard=a.shards[0]),
    ).compiled.engine()
    seeds = rng.integers(2**32, size=(a.chains, 2), dtype=np.uint32)
    starts = np.tile(np.linspace(-1, 1, D), (a.chains, 1))
    step_sizes = np.full((a.draws, STEPS), h)
    made, state = engine.run(engine.init(starts, seeds), step_sizes, h)
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        _, state = engine.run(state, step_sizes, h)
        seconds.append(time.perf_counter() - started)
    if a.index == 0:
        np.save(a.output, made.positions)
        print(json.dumps(step_sizes.size / min(seconds)))


def pace(
    a: argparse.Namespace, shard: str, devices: int, processes: int
) -> tuple[float, np.ndarray]:
    """Updates per second of every chain, and the first draws."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}" if processes > 1 else ""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "draws.npy"
        command = [sys.executable, __file__, "--shards", shard, "--output", str(output)]
        for name in ("rows", "batch", "chains", "draws"):
            command += [f"--{name}", str(getattr(a, name))]
        command += ["--processes", str(processes), "--coordinator", coordinator]
        started = [
            subprocess.Popen(
                [*command, "--index", str(i)], env=environment, stdout=subprocess.PIPE, text=True
            )
            for i in range(processes)
        ]
        told = [process.communicate()[0] for process in started]
        if any(process.returncode for process in started):
            sys.exit("A process failed.")
        return json.loads(told[0].splitlines()[-1]), np.load(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--shards", nargs="+", default=["chains", "rows"])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--chains", type=int, default=8)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    parser.add_argument("--coordinator", default="", help=argparse.SUPPRESS)
    parser.add_argument("--index", type=int, default=0, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.output:
        measure(a)
        return
    print(f"{os.cpu_count()} cores; {a.chains} chains, batches of {a.batch} of {a.rows:,} rows")
    print(f"{'':24}{'updates/s of each chain':>24}{'draws differ by':>20}")
    for shard in a.shards:
        alone = None
        several = [(n, 1) for n in a.devices] + [(1, n) for n in a.processes if n > 1]
        for devices, processes in several:
            found, draws = pace(a, shard, devices, processes)
            alone = draws if alone is None else alone
            apart = np.abs(draws - alone).max() / alone.std((0, 1)).mean()
            what = f"{processes} processes" if processes > 1 else f"{devices} devices"
            print(f"{shard:10}{what:14}{found:24,.0f}{apart:17.1e} sd", flush=True)


if __name__ == "__main__":
    main()
