"""Several devices: simulated ones, and two processes; each run in processes of its own."""

import itertools
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pymc_sgmcmc.engines.jax import devices as module
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
    kinds = [(shard, b) for shard in ("chains", "rows") for b in (BATCH, ALL)]
    return {(shard, b): run(folder / f"{shard}{b}.npz", 1, shard, b) for shard, b in kinds}


@pytest.mark.weekly
@pytest.mark.slow
def test_chains_over_devices(alone, tmp_path):
    spread = run(tmp_path / "spread.npz", 4, "chains", BATCH)
    assert spread.pop("devices") == 4
    # The warm-up's measurements are sums, which differ by rounding.
    whole = alone["chains", BATCH]
    np.testing.assert_allclose(spread.pop("b"), whole["b"], rtol=1e-5, atol=1e-6)
    # XLA vectorises another number of chains another way, which rounds the last bits otherwise:
    # those of the noise, which is made in single precision.
    for name, x in spread.items():
        np.testing.assert_allclose(x, whole[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("batch_size", [BATCH, ALL])
@pytest.mark.slow
def test_rows_over_devices(alone, tmp_path, batch_size):
    spread = run(tmp_path / "spread.npz", 4, "rows", batch_size)
    assert spread.pop("devices") == 4
    names = ("positions", "in_sweeps", "value", "gradient", "potential_energy", "gradient_norm")
    for name in names:
        whole = alone["rows", batch_size][name]
        np.testing.assert_allclose(spread[name], whole, rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(spread["b"], alone["rows", batch_size]["b"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shard", ["chains", pytest.param("rows", marks=pytest.mark.weekly)])
@pytest.mark.slow
def test_two_processes(alone, tmp_path, shard):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    paths = [tmp_path / f"{i}.npz" for i in range(2)]
    processes = [start(p, 1, shard, BATCH, coordinator, str(i)) for i, p in enumerate(paths)]
    found = [finish(process, path) for process, path in zip(processes, paths, strict=True)]
    assert [int(x["devices"]) for x in found] == [2, 2]
    # Each process has the chains that are its own; the first has those that all run together.
    positions = np.concatenate([x["positions"] for x in found])
    np.testing.assert_allclose(positions, alone[shard, BATCH]["positions"], rtol=1e-5, atol=1e-6)


@pytest.fixture
def pretend(monkeypatch):
    """Devices of some processes, by their numbers."""

    def there_are(*owners):
        fakes = [SimpleNamespace(id=i, process_index=owner) for i, owner in enumerate(owners)]
        monkeypatch.setattr(module.jax, "devices", lambda: fakes)
        monkeypatch.setattr(module.jax, "process_count", lambda: len(set(owners)))

    return there_are


def test_devices_that_stay_idle_are_told(caplog, pretend):
    pretend(0, 0, 0, 0)
    devices = Devices("chains")
    for chains in (7, 7, 8, 3):
        devices.warn_of_idle(chains)
    seven, three = (record.getMessage() for record in caplog.records)
    assert "7 chains run on 1 of 4 devices" in seven
    assert "Use chains=8 or 4" in seven
    assert "3 chains run on 3 of 4 devices" in three
    assert three.endswith("Use chains=4.")


def test_every_process_has_a_share_of_the_chains(pretend):
    pretend(0, 0, 0, 1, 1, 1)
    devices = Devices("chains")
    assert [devices.used_by(chains) for chains in (2, 4, 6, 8, 12)] == [2, 4, 6, 4, 6]
    owners = [device.process_index for (device,) in devices._mesh_of_all]
    assert owners == [0, 1, 0, 1, 0, 1]
    assert [devices.enough(chains) for chains in (1, 2, 5)] == [2, 2, 6]
    with pytest.raises(ValueError, match=r"7 chains can.t .* by 2 processes or more. Use chains=8"):
        devices.used_by(7)


def test_a_group_may_be_of_several_processes(pretend):
    pretend(0, 0, 1, 1, 2, 2, 3, 3)
    devices = Devices((2, 4))
    groups = [[device.id for device in group] for group in devices._mesh_of_all]
    assert groups == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert devices.parts == 4
    # Chains on one group alone would leave two processes without any.
    assert devices.used_by(2) == 2
    with pytest.raises(ValueError, match="chains=4"):
        devices.used_by(3)
    assert Devices("rows").used_by(3) == 1


def test_a_mesh_has_as_many_devices_as_there_are(pretend):
    pretend(0, 0, 0, 0)
    with pytest.raises(ValueError, match=r"shard=\(2, 3\) is a mesh of 6 devices, and there are 4"):
        Devices((2, 3))


@pytest.mark.parametrize(("n_rows", "parts"), [(3_001, 4), (12, 4), (10, 3), (5, 5)])
def test_parts_hold_the_rows_of_their_strata(pretend, n_rows, parts):
    pretend(*[0] * parts)
    firsts, length = Devices("rows")._cut(n_rows)
    size = 4 * parts
    for j, r in itertools.product(range(size), (0, n_rows - 1)):
        first = firsts[j // 4]
        assert first <= (j * n_rows + r) // size < first + length
