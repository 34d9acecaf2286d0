"""Updates per second on a GPU beside BlackJAX's, vmapped chains on the same GPU.

The networks 64-50-50-10 on digits (B=128) and 784-400-400-10 on MNIST (B=512), float32, with 1,
64 and 1,024 chains; prints the fraction that the time floor of an update is of the time it takes.
The floor is the larger of two: its matrix products at the peak of the tensor cores, and the
chains' state read and written once (with the batches read once, if the data outgrow the cache) at
the peak bandwidth. The defaults are an H200's: 4.8 TB/s, 495 dense TFLOP/s in TF32, which is what
JAX multiplies float32 matrices in on such GPUs unless asked for more (--matmul-precision float32,
67 TFLOP/s), 50 MB of cache. Draws are copied to the host, as in use.

    python benchmarks/gpu.py                              # less than eight minutes; needs a GPU
    python benchmarks/gpu.py --chains 1024 --profile out  # and the kernels that take the time
    python benchmarks/gpu.py --cpu-smoke                  # no numbers, but all of the code

PYMC_SGMCMC_DATA names the folder that has images/mnist.npz.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import measured
import numpy as np
import workloads
from peers.workers import PEERS, Worker, why_absent
from workloads import Workload

NAMES = ("ours-jax", "blackjax")
# Floats of state for each parameter; our SGNHT has a thermostat for each, BlackJAX's one in all.
STATE = {
    ("ours-jax", "sgld"): 1,
    ("ours-jax", "sgnht"): 3,
    ("ours-jax", "atmc"): 3,
    ("blackjax", "sgld"): 1,
    ("blackjax", "sgnht"): 2,
}


def platform() -> str:
    """Platform and kind of JAX's first device, found by a process that then lets go of it."""
    code = "import jax; d = jax.devices()[0]; print(d.platform, d.device_kind)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def floor(workload: Workload, name: str, sampler: str, chains: int, a) -> tuple[float, float]:
    """Seconds that one update of all chains needs: for its matrix products, for its bytes."""
    matrices = [n * m for n, m in workload.shapes[::2]]
    # Forward, gradient of the weights, and gradient of the signals in all layers but the first.
    products = 2 * workload.batch_size * (3 * sum(matrices) - matrices[0])
    moved = 2 * 4 * STATE[name, sampler] * workload.size
    if workload.X.nbytes > a.cache * 1e6:
        moved += workload.batch_size * workload.X[0].nbytes
    return chains * products / (a.tflops * 1e12), chains * moved / (a.bandwidth * 1e12)


def lengths(workload: Workload, chains: int, smoke: bool) -> dict[str, int]:
    """Draws of a block, bounded by their memory; updates of a draw, more where draws are large."""
    if smoke:
        return {"draws": 1, "steps-per-draw": 2}
    numbers = chains * workload.size
    return {
        "draws": max(1, min(100, 2**23 // numbers)),
        "steps-per-draw": 100 * max(1, round(numbers / 1.2e8)),
    }


def kernels(folder: Path, top: int = 12) -> list[tuple[float, str]]:
    """Shares of the time that the device spent in each kernel, in the newest trace of a folder."""
    path = max(folder.rglob("*.trace.json.gz"), key=lambda p: p.stat().st_mtime)
    with gzip.open(path, "rt") as file:
        events = json.load(file)["traceEvents"]
    processes, threads = {}, {}
    for event in events:
        if event.get("name") == "process_name":
            processes[event["pid"]] = event["args"]["name"]
        elif event.get("name") == "thread_name":
            threads[event["pid"], event["tid"]] = event["args"]["name"]
    microseconds: Counter[str] = Counter()
    for event in events:
        on_device = "/device:" in processes.get(event.get("pid"), "")
        stream = "Stream" in threads.get((event.get("pid"), event.get("tid")), "")
        if event.get("ph") == "X" and on_device and stream:
            microseconds[event["name"]] += event["dur"]
    total = sum(microseconds.values())
    return [(time / total, name) for name, time in microseconds.most_common(top)]


def measure_cell(workload: Workload, path: Path, chains: int, a: argparse.Namespace) -> list[dict]:
    """Print the rows of one workload and number of chains; gives them."""
    rows: list[dict] = []
    environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONWARNINGS": "ignore"}
    environment |= {"JAX_TRACEBACK_FILTERING": "off"}
    if a.matmul_precision:
        environment["JAX_DEFAULT_MATMUL_PRECISION"] = a.matmul_precision
    length = lengths(workload, chains, a.cpu_smoke)
    workers, runs, failed = {}, {}, {}
    try:
        for sampler in a.samplers:
            for name in a.peers:
                row = name, sampler
                if row not in STATE:
                    continue
                try:
                    workers[row] = Worker(PEERS[name], path, sampler, chains, environment, **length)
                    runs[row] = []
                except RuntimeError as error:
                    failed[row] = error
        for _ in range(a.rounds):
            for row, worker in list(workers.items()):
                try:
                    runs[row].append(worker.ask("time", a.seconds))
                except RuntimeError as error:
                    failed[row] = error
                    workers.pop(row).close()
                    del runs[row]
        devices = {row: worker.ask("device") for row, worker in workers.items()}
        print(
            f"\n{workload.name}, {chains:,} chains, B={workload.batch_size}, float32, a draw every "
            f"{length['steps-per-draw']} updates; median (range) of {a.rounds} rounds\n"
            f"{'':17}{'updates/s per chain':>30}{'in total':>14}{'µs':>10}{'floor µs':>10}"
            f"{'fraction':>10}{'start s':>9}{'GPU MB':>9}{'ours/it':>9}"
        )
        for (name, sampler), of_row in runs.items():
            speed = np.array([run["updates"] / run["seconds"] for run in of_row])
            low, middle, high = np.array([speed.min(), np.median(speed), speed.max()]) / chains
            ours = runs.get(("ours-jax", sampler), of_row)
            ratio = np.median([run["updates"] / run["seconds"] for run in ours] / speed)
            products, moved = floor(workload, name, sampler, chains, a)
            binding = "FLOPs" if products > moved else "bytes"
            least, row = max(products, moved), (name, sampler)
            rows.append(
                {"workload": workload.name, "chains": chains, "peer": name, "sampler": sampler}
                | {"updates_per_second": measured.rounded(chains * middle)}
                | {"rounds": [measured.rounded(x) for x in speed]}
                | {"share_of_floor": measured.rounded(least * middle, 3), "ours_over_it": ratio}
                | {"startup_s": round(workers[row].startup, 1), "versions": workers[row].versions}
            )
            print(
                f"{sampler:6} {name:10}{f'{middle:,.0f} ({low:,.0f}-{high:,.0f})':>30}"
                f"{chains * middle:14,.0f}{1e6 / middle:10,.0f}{1e6 * least:10,.1f}"
                f"{least * middle:10.1%}{workers[row].startup:9.1f}{devices[row]['peak']:9,.0f}"
                f"{ratio:9.2f}  {binding} bind",
                flush=True,
            )
        for (name, sampler), error in failed.items():
            print(f"{sampler:6} {name:10} failed: {error}")
        for (name, sampler), worker in workers.items() if a.profile else ():
            folder = a.profile.resolve() / f"{workload.name}-{chains}-{name}-{sampler}"
            worker.ask("profile", folder)
            print(f"{sampler} {name}, kernels by their share of the device's time ({folder}):")
            for share, kernel in kernels(folder) or [(0, "none in the trace")]:
                print(f"{share:8.1%}  {kernel[:90]}")
    finally:
        for worker in workers.values():
            worker.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ["digits-128", "mnist"]
    parser.add_argument("--workloads", nargs="+", default=names, choices=names)
    parser.add_argument("--chains", nargs="+", type=int, default=[1024, 64, 1])
    parser.add_argument("--samplers", nargs="+", default=["sgnht"])
    parser.add_argument("--peers", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one run, at least")
    parser.add_argument("--limit", type=float, default=400, help="seconds after which none starts")
    parser.add_argument("--bandwidth", type=float, default=4.8, help="peak, TB/s")
    parser.add_argument("--tflops", type=float, default=494.7, help="peak of matrix products")
    parser.add_argument("--cache", type=float, default=50, help="MB of data that stay in the cache")
    parser.add_argument("--matmul-precision", help="JAX_DEFAULT_MATMUL_PRECISION of both")
    parser.add_argument("--profile", type=Path, help="folder for JAX profiles of one block each")
    parser.add_argument("--cpu-smoke", action="store_true", help="tiny sizes on the CPU")
    measured.add_arguments(parser)
    a = parser.parse_args()
    started, device = time.time(), platform()
    if a.cpu_smoke:
        a.chains, a.rounds, a.seconds = [2, 1], 2, 0
    elif device.startswith("cpu"):
        sys.exit("There is no GPU: JAX finds the CPU only. Nothing was measured.")
    print(f"{device}; peaks {a.tflops:g} TFLOP/s, {a.bandwidth:g} TB/s")
    for name in a.peers:
        if reason := why_absent(PEERS[name]):
            print(f"{name} is left out: {reason}.")
            a.peers = [peer for peer in a.peers if peer != name]
    with tempfile.TemporaryDirectory() as folder:
        loaded, rows = {}, []
        for name in a.workloads:
            if reason := workloads.missing(name):
                print(f"{name} is left out: {reason}.")
                continue
            loaded[name] = workloads.WORKLOADS[name](), Path(folder) / f"{name}.npz"
            workloads.save(*loaded[name])
        for chains in a.chains:
            for name, (workload, path) in loaded.items():
                if time.time() - started > a.limit:
                    print(f"{name} with {chains} chains is left out: {a.limit:g} s have passed.")
                    continue
                rows += measure_cell(workload, path, chains, a)
                measured.save(a, rows, device=device, rounds=a.rounds)
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
