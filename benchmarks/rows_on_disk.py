"""Logistic regression on rows that stay on disk, beside the same rows in memory.

    python benchmarks/rows_on_disk.py [--rows 10000000] [--folder /var/tmp/rows]
        [--engines jax numba] [--kinds memory npy sorted zarr parquet] [--draws 500] [--tune 200]
        [--batches independent blocks] [--distinct 1000000]

Rows of 20 float32 columns and an int8 outcome are made once, in `folder`, as .npy and, where these
are asked for, zarr (chunks of 100,000 rows) and parquet (row groups of as many); "sorted" is the
.npy sorted by the outcome. Every run is a process of its own, with four chains and
``ATMC(batch_size=512, dtype="float32")``. Memory is told beyond that after the imports: "private"
is the peak of what is the process's own, "peak" has the pages of files besides, which the system
takes back when it needs them. "seconds" are those of making the step (with a working copy of zarr
and parquet, and the look at all rows) and of `sample`, warm-up and compilation included. The
reference is the mode on all rows, with the inverse Hessian there: at these numbers of rows the
posterior is normal to a hundredth of its width. With ``--distinct`` only so many rows, a multiple
of a million, are made anew, and all others repeat them: files of 10⁸ rows are written as fast as
the disk takes them, and the reference needs the distinct ones alone.

    python benchmarks/rows_on_disk.py flights      # nycflights from parquet, beside memory
"""

import argparse
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

D, B, BLOCK = 20, 512, 1_000_000
KINDS = ("memory", "npy", "sorted", "zarr", "parquet")


def make(folder: Path, n: int, distinct: int, kinds: list[str]) -> None:
    """Write the rows, in every form that is asked for."""
    from numpy.lib.format import open_memmap

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "y.npy").exists():
        X = open_memmap(folder / "X.npy", "w+", np.float32, (n, D))
        y = np.empty(n, np.int8)
        slopes, rng = np.linspace(-1, 1, D) / 2, np.random.default_rng(0)
        for i in range(0, n, BLOCK):
            k = min(BLOCK, n - i)
            if i >= distinct:
                X[i : i + k], y[i : i + k] = (x[i % distinct :][:k] for x in (X, y))
                continue
            X[i : i + k] = rows = rng.standard_normal((k, D), np.float32)
            y[i : i + k] = rng.random(k) < 1 / (1 + np.exp(-(rows @ slopes)))
        del X
        np.save(folder / "y.npy", y)
    X, y = (np.load(folder / f"{k}.npy", mmap_mode="r") for k in "Xy")
    forms = {"sorted": write_sorted, "zarr": write_zarr, "parquet": write_parquet}
    for kind in kinds:
        if kind in forms and not (folder / f"made_{kind}").exists():
            forms[kind](folder, X, y)
            (folder / f"made_{kind}").touch()


def write_sorted(folder: Path, X: np.ndarray, y: np.ndarray) -> None:
    from numpy.lib.format import open_memmap

    by_outcome = open_memmap(folder / "X_sorted.npy", "w+", X.dtype, X.shape)
    done = 0
    for outcome in (0, 1):
        for i in range(0, len(y), BLOCK):
            chosen = X[i : i + BLOCK][y[i : i + BLOCK] == outcome]
            by_outcome[done : done + len(chosen)] = chosen
            done += len(chosen)
    np.save(folder / "y_sorted.npy", np.sort(y))


def write_zarr(folder: Path, X: np.ndarray, y: np.ndarray) -> None:
    import zarr

    for name, x in (("X", X), ("y", y)):
        chunks = (100_000, *x.shape[1:])
        path = folder / f"{name}.zarr"
        store = zarr.create_array(path, shape=x.shape, dtype=x.dtype, chunks=chunks)
        for i in range(0, len(x), BLOCK):
            store[i : i + BLOCK] = x[i : i + BLOCK]


def write_parquet(folder: Path, X: np.ndarray, y: np.ndarray) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([*((f"x{i}", pa.float32()) for i in range(D)), ("y", pa.int8())])
    with pq.ParquetWriter(folder / "rows.parquet", schema) as writer:
        for i in range(0, len(y), BLOCK):
            columns = [*np.array(X[i : i + BLOCK].T), y[i : i + BLOCK]]
            table = pa.table([pa.array(x) for x in columns], schema=schema)
            writer.write_table(table, row_group_size=100_000)


def reference(folder: Path, distinct: int) -> tuple[np.ndarray, np.ndarray]:
    """Mode and standard deviations on all rows, by Newton's method: on some of them at first."""
    path = folder / "reference.npz"
    if not path.exists():
        X, y = (np.load(folder / f"{k}.npy", mmap_mode="r") for k in "Xy")
        mode, distinct = np.zeros(D), min(distinct, len(y))
        times = len(y) / distinct  # that a row is there
        for n in (*[min(distinct, BLOCK)] * 5, distinct, distinct):
            gradient, hessian = mode / 4 / times, np.eye(D) / 4 / times
            for i in range(0, n, 200_000):
                block = X[i : i + 200_000].astype(float)
                p = 1 / (1 + np.exp(-block @ mode))
                gradient = gradient + block.T @ (p - y[i : i + 200_000])
                hessian = hessian + block.T @ (block * (p * (1 - p))[:, None])
            mode = mode - np.linalg.solve(hessian, gradient)
        np.savez(path, mean=mode, sd=np.sqrt(np.diag(np.linalg.inv(hessian)) / times))
    with np.load(path) as found:
        return found["mean"], found["sd"]


class Private(threading.Thread):
    """Peak of the memory that is this process's own."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.first = 0.0, 0.0
        self.start()

    def run(self) -> None:
        """Look a hundred times a second."""
        while True:
            text = Path("/proc/self/status").read_text().split()
            now = int(text[text.index("RssAnon:") + 1]) / 1024
            self.first, self.most = self.first or now, max(self.most, now)
            time.sleep(0.01)


def sources(kind: str, folder: Path) -> dict:
    if kind == "zarr":
        import zarr

        return {k: zarr.open_array(folder / f"{k}.zarr", mode="r") for k in "Xy"}
    if kind == "parquet":
        path = folder / "rows.parquet"
        return {"X": (path, [f"x{i}" for i in range(D)]), "y": (path, "y")}
    end = "_sorted" if kind == "sorted" else ""
    return {k: np.load(folder / f"{k}{end}.npy", mmap_mode="r") for k in "Xy"}


def run(kind: str, engine: str, batches: str, folder: Path, draws: int, tune: int) -> None:
    """Sample, and print what was found and what it took."""
    import jax
    import pymc as pm
    from peak_memory import peak_megabytes

    import pymc_sgmcmc as sg

    logging.disable(logging.WARNING)
    jax.devices()
    private, before = Private(), peak_megabytes()
    X, y = (np.load(folder / f"{k}.npy", mmap_mode="r") for k in "Xy")
    first = slice(None) if kind == "memory" else slice(1000)
    with pm.Model() as model:
        b = pm.Normal("b", 0, 2, shape=D)
        pm.Bernoulli("y", logit_p=pm.Data("X", np.array(X[first])) @ b, observed=np.array(y[first]))
    started = time.time()
    data = {} if kind == "memory" else {"data": sources(kind, folder)}
    settings = {"batch_size": B, "batches": batches, "dtype": "float32", "engine": engine}
    step = sg.ATMC(model=model, **settings, **data)
    opened = time.time()
    opened_cpu, looks = time.process_time(), []

    def look(progress: sg.Progress) -> None:
        looks.append((progress.made, time.process_time(), time.time()))

    settings = {"random_seed": 1, "progressbar": False, "callback": look}
    idata = sg.sample(draws, tune=tune, step=step, model=model, **settings)
    done = time.time()
    b = idata["posterior"]["b"].values
    attributes = idata["posterior"].attrs
    kept = attributes["updates"] - attributes["tuning_updates"]
    # Of the sampling alone, without the first block after the tuning, which may compile.
    (made, cpu, wall), last = next(x for x in looks if x[0] > tune + 10), looks[-1]
    share = kept * (last[0] - made) / draws
    result = {
        "opened": opened - started,
        "seconds": done - started,
        "updates": attributes["updates"],
        "kept": kept,
        "opened_cpu": opened_cpu,
        "begun_cpu": looks[0][1] - opened_cpu,
        "cpu": looks[-1][1] - opened_cpu,
        "pace_cpu": share / (last[1] - cpu),
        "pace": share / (last[2] - wall),
        "warmup": attributes["warmup_seconds"],
        "mean": b.mean((0, 1)).tolist(),
        "sd": b.std((0, 1)).tolist(),
        "peak": peak_megabytes() - before,
        "private": private.most - private.first,
    }
    print(json.dumps(result))


def flights(seed: int = 1) -> None:
    """Sample nycflights from a parquet file as a user would write it, and from memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import pymc as pm
    from regressions.late_flights import load

    import pymc_sgmcmc as sg

    logging.disable(logging.WARNING)
    X, late, names = load()
    path = Path(os.environ.get("TMPDIR", "/var/tmp")) / "flights.parquet"
    pq.write_table(pa.table(dict(zip(names, X.T, strict=True)) | {"late": late}), path)
    found = {}
    for kind in ("memory", "parquet"):
        started = time.time()
        head = pq.ParquetFile(path).read_row_group(0).slice(0, 1000).to_pandas()
        rows = (X, late) if kind == "memory" else (head[names].to_numpy(), head["late"].to_numpy())
        with pm.Model() as model:
            a, b = pm.Normal("a", 0, 2.5), pm.Normal("b", 0, 2.5, shape=len(names))
            pm.Bernoulli("late", logit_p=a + pm.Data("X", rows[0]) @ b, observed=rows[1])
        data = {"X": (path, names), "late": (path, "late")} if kind == "parquet" else None
        step = sg.ATMC(model=model, batch_size=500, data=data)
        idata = sg.sample(
            200, tune=200, step=step, model=model, random_seed=seed, progressbar=False
        )
        draws = idata["posterior"]["b"].values
        found[kind] = draws
        print(f"{kind:10}{time.time() - started:8.1f} s", flush=True)
    path.unlink()
    same = np.array_equal(found["memory"], found["parquet"])
    print(f"draws are the same: {same}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/rows"))
    parser.add_argument("--engines", nargs="+", default=["jax", "numba"])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--batches", nargs="+", default=["independent"])
    parser.add_argument("--distinct", type=int, default=10**10)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--tune", type=int, default=200)
    a = parser.parse_args()
    if a.what == ["flights"]:
        flights()
        return
    if a.what[:1] == ["run"]:
        run(*a.what[1:], a.folder, a.draws, a.tune)
        return
    make(a.folder, a.rows, a.distinct, a.kinds)
    exact, sd = reference(a.folder, a.distinct)
    data = a.rows * (4 * D + 1) / 2**20
    print(f"{a.rows:,} rows, {data:,.0f} MB; memory in MB beyond the imports")
    print(
        f"{'':20}{'private':>9}{'peak':>8}{'open s':>8}{'warm s':>8}{'seconds':>9}{'updates':>9}"
        f"{'/s':>7}   means off by, sds"
    )
    for engine, kind, batches in itertools.product(a.engines, a.kinds, a.batches):
        command = [sys.executable, __file__, "run", kind, engine, batches]
        command += ["--folder", str(a.folder), "--draws", str(a.draws), "--tune", str(a.tune)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        x = json.loads(done.stdout.splitlines()[-1])
        error = np.abs((np.array(x["mean"]) - exact) / sd).max()
        ratio = np.array(x["sd"]) / sd
        what = kind if batches == "independent" else f"{kind} {batches}"
        print(
            f"{engine:7}{what:13}{x['private']:9.0f}{x['peak']:8.0f}{x['opened']:8.1f}"
            f"{x['warmup']:8.1f}{x['seconds']:9.1f}{x['updates']:9}"
            f"{x['updates'] / x['seconds']:7.0f}   {error:.3f} sd, "
            f"{ratio.min():.3f} to {ratio.max():.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
