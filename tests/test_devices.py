"""Several devices: simulated ones, and two processes; each run in processes of its own."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pymc_sgmcmc.engines.jax.devices import Devices

SCRIPT = Path(__file__).with_name("run_on_devices.py")
BATCH, ALL = "40", "200"


def environment(devices):
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def start(path, devices, shard, batch_size, *distributed):
    command = [sys.executable, str(SCRIPT), str(path), shard, batch_size, *distributed]
    return subprocess.Popen(
        command, env=environment(devices), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(process, path):
    output, _ = process.communicate()
    assert process.returncode == 0, output.decode()
    with np.load(path) as file:
        return dict(file)


def run(path, *args):
    return finish(start(path, *args), path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return {b: run(folder / f"{b}.npz", 1, "chains", b) for b in (BATCH, ALL)}


@pytest.mark.slow
def test_chains_over_devices(alone, tmp_path):
    spread = run(tmp_path / "spread.npz", 4, "chains", BATCH)
    assert spread.pop("devices") == 4
    # The warm-up's measurements are sums, which differ by rounding.
    np.testing.assert_allclose(spread.pop("b"), alone[BATCH]["b"], rtol=1e-6)
    # XLA vectorises another number of chains another way, which rounds the last bits otherwise.
    for name, x in spread.items():
        np.testing.assert_allclose(x, alone[BATCH][name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("batch_size", [BATCH, ALL])
@pytest.mark.slow
def test_rows_over_devices(alone, tmp_path, batch_size):
    spread = run(tmp_path / "spread.npz", 4, "rows", batch_size)
    assert spread.pop("devices") == 4
    names = ("positions", "in_sweeps", "value", "gradient", "potential_energy", "gradient_norm")
    for name in names:
        np.testing.assert_allclose(spread[name], alone[batch_size][name], rtol=1e-10, err_msg=name)
    np.testing.assert_allclose(spread["b"], alone[batch_size]["b"], rtol=1e-6)


@pytest.mark.parametrize("shard", ["chains", "rows"])
@pytest.mark.slow
def test_two_processes(alone, tmp_path, shard):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    paths = [tmp_path / f"{i}.npz" for i in range(2)]
    processes = [start(p, 1, shard, BATCH, coordinator, str(i)) for i, p in enumerate(paths)]
    for process, path in zip(processes, paths, strict=True):
        spread = finish(process, path)
        assert spread["devices"] == 2
        np.testing.assert_allclose(spread["positions"], alone[BATCH]["positions"], rtol=1e-10)


def test_devices_that_stay_idle_are_told(caplog):
    devices = Devices("chains")
    devices._devices = np.arange(4)
    for chains in (7, 7, 8, 3):
        devices.warn_of_idle(chains)
    seven, three = (record.getMessage() for record in caplog.records)
    assert "7 chains run on 1 of 4 devices" in seven
    assert "Use chains=8 or 4" in seven
    assert "3 chains run on 3 of 4 devices" in three
    assert three.endswith("Use chains=4.")
