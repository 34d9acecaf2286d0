"""Chains and rows over devices and processes: the run is that of one device, and of one process.

The processes are joined on this machine, by JAX's own collectives over the loopback.
"""

import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

from pymc_sgmcmc import processes
from pymc_sgmcmc.store.shelf import OWN

N, TUNE, DRAWS = 3_001, 20, 25


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows that are sorted by their outcome, of a number that no process number divides."""
    where = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3)).astype("float32")
    y = (rng.random(N) < 1 / (1 + np.exp(-X @ [1, 0, -1]))).astype("int8")
    order = np.argsort(y, kind="stable")
    np.save(where / "X.npy", X[order])
    np.save(where / "y.npy", y[order])
    return where


def start(folder, count, shard, source, store="none", devices=1, dies=""):
    """Start processes that make one run; one of them may die."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "DIES": dies}
    command = [sys.executable, "-m", "tests.run_in_processes", str(folder), shard, source]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    own = [[coordinator, str(count), str(i)] if count > 1 else [] for i in range(count)]
    return [
        subprocess.Popen(
            [*command, str(store), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for arguments in own
    ]


def finish(started, folder):
    """Results of processes that ended well."""
    told = [process.communicate()[0] for process in started]
    found = []
    for number, (process, text) in enumerate(zip(started, told, strict=True)):
        assert process.returncode == 0, text
        with np.load(folder / f"draws_{number}.npz") as file:
            found.append(dict(file))
    return found


@pytest.fixture(scope="module")
def alone(folder):
    """Runs on one device, by what they would spread; rows in memory."""
    kinds = ("chains", "rows")
    return {shard: finish(start(folder, 1, shard, "memory"), folder)[0] for shard in kinds}


def assert_same_run(found, alone):
    for name in ("slopes", "energy"):
        # Sums of another number of devices are rounded otherwise, and chains carry it on.
        np.testing.assert_allclose(found[name], alone[name], rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(found["step_size"], alone["step_size"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shard", "source"), [("chains", "memory"), ("rows", "disk"), ("(2, 4)", "disk")]
)
def test_eight_devices(folder, alone, shard, source):
    (found,) = finish(start(folder, 1, shard, source, devices=8), folder)
    assert_same_run(found, alone["chains" if shard == "chains" else "rows"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "shard", "source", "devices"),
    [
        (2, "chains", "disk", 1),
        (2, "rows", "memory", 2),
        (4, "(2, 2)", "disk", 1),
    ],
)
def test_processes_make_the_run_of_one(folder, alone, count, shard, source, devices):
    every = finish(start(folder, count, shard, source, devices=devices), folder)
    for number, found in enumerate(every):
        assert found["processes"] == count
        assert_same_run(found, alone["chains" if shard == "chains" else "rows"])
        # The first one tells and asks, and all have the same draws, to the last bit.
        assert found["asked"] == (TUNE + DRAWS if number == 0 else 0)
        np.testing.assert_array_equal(found["slopes"], every[0]["slopes"])
        if shard == "rows" and source == "disk":
            least, most = found["taken"].min(), found["taken"].max()
            assert number * N // count <= least < most < -(-(number + 1) * N // count)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "shard", "victim"),
    [(2, "rows", 1), pytest.param(4, "(2, 2)", 3, marks=pytest.mark.weekly)],
)
def test_one_is_killed_and_the_run_goes_on(folder, tmp_path, count, shard, victim):
    whole = finish(start(folder, count, shard, "disk"), folder)[0]
    where = tmp_path / "run.zarr"
    started = start(folder, count, shard, "disk", where)
    counter = where / OWN / "counter.json"
    while all(process.poll() is None for process in started):
        if counter.exists() and json.loads(counter.read_text())["filled"] >= 3:
            break
        time.sleep(0.001)
    started[victim].send_signal(signal.SIGKILL)
    started[victim].wait()
    for process in started:  # as a launcher does; else they end when they miss the dead one
        process.kill()
    told = [process.communicate()[0] for process in started]
    assert started[victim].returncode == -signal.SIGKILL, told[victim]
    before = xr.open_datatree(str(where), engine="zarr").posterior["slopes"].values
    assert 1 <= before.shape[1] < DRAWS  # readers may see fewer than the counter
    np.testing.assert_array_equal(before, whole["slopes"][:, : before.shape[1]])
    for found in finish(start(folder, count, shard, "disk", where), folder):
        np.testing.assert_array_equal(found["slopes"], whole["slopes"])


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(2,), pytest.param((4, 1), marks=pytest.mark.weekly)])
def test_one_dies_when_it_has_written_and_nothing_counts(folder, alone, tmp_path, counts):
    """Each process writes its own chains; they count together, whoever dies, and go on anywhere."""
    whole = finish(start(folder, 2, "chains", "disk"), folder)[0]
    where = tmp_path / "run.zarr"
    started = start(folder, 2, "chains", "disk", where, dies="1")
    started[1].wait()
    started[0].kill()  # as a launcher does
    told = [process.communicate()[0] for process in started]
    assert started[1].returncode == -signal.SIGKILL, told
    counter = json.loads((where / OWN / "counter.json").read_text())
    assert 0 < counter["filled"] < DRAWS
    before = xr.open_datatree(str(where), engine="zarr")
    n = before.posterior.sizes["draw"]
    np.testing.assert_array_equal(before.posterior["slopes"], whole["slopes"][:, :n])
    energy = before.sample_stats["potential_energy"]
    np.testing.assert_array_equal(energy, whole["energy"][:, :n])
    assert before.posterior["slopes"].encoding["chunks"][0] == 4
    # It goes on in two processes, in four, whose shares are no whole chunks, and in one.
    for count in counts:
        copy = tmp_path / f"{count}.zarr"
        shutil.copytree(where, copy)
        for found in finish(start(folder, count, "chains", "disk", copy), folder):
            if count == 2:
                np.testing.assert_array_equal(found["slopes"], whole["slopes"])
            assert_same_run(found, alone["chains"])


def test_one_process_needs_no_other(capsys):
    assert processes.count() == 1
    assert processes.index() == 0
    value = object()
    assert processes.agreed(value) is value
    assert processes.gathered(value) == [value]
    assert processes.own_part(7) == slice(0, 7)
    with pytest.raises(KeyError), processes.in_step():
        raise KeyError("as it was")


@pytest.mark.parametrize("value", [0, "a word", {"x": np.arange(1000)}, b"12345"])
def test_what_is_sent_comes_back(value):
    sent = processes._words(value)
    filled = processes._filled(sent, len(sent))
    assert filled.dtype == np.uint32
    assert len(filled).bit_count() == 1
    assert pickle.dumps(processes._value(filled)) == pickle.dumps(value)


def test_parts_of_the_processes_are_all_rows(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 3)
    parts = []
    for number in range(3):
        monkeypatch.setattr(processes, "index", lambda number=number: number)
        parts += range(100)[processes.own_part(100)]
    assert parts == list(range(100))


def test_an_error_of_another_process_is_told(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "gathered", lambda told: [told, "OSError: the disk is full"])
    with pytest.raises(RuntimeError, match="Process 1 of 2 ended with OSError: the disk is full"):
        with processes.in_step():
            pass
    with pytest.raises(KeyError, match="own"), processes.in_step():
        raise KeyError("own")
