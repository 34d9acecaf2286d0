"""``kill -9``: the store opens, and the same line goes on as if nothing had been."""

import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

from pymc_sgmcmc.run import chains
from pymc_sgmcmc.store import stored
from pymc_sgmcmc.store.shelf import OWN
from pymc_sgmcmc.warmup import choice
from tests.store.killed import run
from tests.store.runs import assert_same

pytest.importorskip("zarr")


@pytest.fixture(autouse=True)
def one_block_each(monkeypatch):
    monkeypatch.setattr(chains, "_BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(stored, "_SECONDS", 0.0)
    monkeypatch.setattr(stored, "_TIMES", 0.0)
    monkeypatch.setattr(choice, "_SMALL", 10)


def start(store, kind, engine):
    command = [sys.executable, "-m", "tests.store.killed", str(store), kind, engine]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def until(process, there):
    """Wait until something is there, or the process has ended."""
    while process.poll() is None and not there():
        time.sleep(0.001)


def _text(path):
    return path.read_text() if path.exists() else ""


def assert_opens(store, whole):
    """That what is in the store are the first draws of the run."""
    if not (store / OWN / "counter.json").exists():
        return 0
    tree = xr.open_datatree(str(store), engine="zarr", chunks=None)
    if "posterior" not in tree.children:
        return 0
    n = tree.posterior.sizes["draw"]
    assert tree.posterior.equals(whole.posterior.isel(draw=slice(n)))
    assert tree.sample_stats.equals(whole.sample_stats.isel(draw=slice(n)))
    return n


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numba", "jax"])
def test_killed_in_the_search_in_the_tuning_and_in_the_sampling(tmp_path, engine):
    where = tmp_path / "run.zarr"
    own = where / OWN
    whole = run(None, "small", engine)
    ends = []
    for there in (
        lambda: (own / "identity.json").exists(),
        lambda: (
            (own / "counter.json").exists() and '"made": 2' in (own / "counter.json").read_text()
        ),
        lambda: (where / "posterior" / "slope" / "c").exists(),
    ):
        process = start(where, "small", engine)
        until(process, there)
        process.kill()
        process.communicate()
        ends.append(process.returncode)
        assert_opens(where, whole)
    assert ends[0] == -9  # a busy machine may see the last of these only when the run has ended
    assert set(ends) <= {-9, 0}
    assert_same(run(where, "small", engine), whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "kind"),
    [
        ("jax", "network"),
        ("numba", "small"),
        pytest.param("jax", "small", marks=pytest.mark.weekly),
        pytest.param("numba", "network", marks=pytest.mark.weekly),
    ],
)
def test_killed_at_random_again_and_again(tmp_path, kind, engine):
    """Twenty processes in all, each of which lives a random time longer than it takes to start."""
    rng = np.random.default_rng(0)
    where = tmp_path / "run.zarr"
    whole = run(None, kind, engine)
    for _ in range(5):
        process = start(where, kind, engine)
        before = assert_opens(where, whole)
        until(process, lambda: (where / OWN / "lock.json").exists())
        try:
            process.wait(rng.exponential(4.0))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        assert assert_opens(where, whole) >= before
    assert_same(run(where, kind, engine), whole)
