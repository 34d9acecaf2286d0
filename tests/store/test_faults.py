"""A disk that is full, a store that can't be written: a clear error, and no draw lost."""

import shutil
import subprocess
import threading

import pytest
import xarray as xr

from pymc_sgmcmc.run import chains
from pymc_sgmcmc.store import stored
from pymc_sgmcmc.store.shelf import Shelf
from tests.store.killed import run
from tests.store.runs import assert_same

pytest.importorskip("zarr")


@pytest.fixture(autouse=True)
def one_block_each(monkeypatch):
    monkeypatch.setattr(chains, "_BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(stored, "_SECONDS", 0.0)
    monkeypatch.setattr(stored, "_TIMES", 0.0)
    monkeypatch.setattr(stored.Stored, "write_behind", stored.Stored.write)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small disk can't be mounted here")
    yield folder
    while subprocess.run(["umount", "-R", folder], capture_output=True).returncode == 0:
        pass


@pytest.fixture(scope="module")
def whole():
    return run(None, "given", "jax")


@pytest.mark.slow
def test_a_full_disk(small_disk, whole):
    where, ballast = small_disk / "run.zarr", small_disk / "ballast"

    def fill(progress):
        if progress.kept == 7:
            with open(ballast, "wb") as file:
                file.write(bytes(shutil.disk_usage(small_disk).free))

    with pytest.raises(OSError, match="No space left on device") as raised:
        run(where, "given", "jax", fill)
    assert f"{where} can't be written" in str(raised.value)
    assert "the same call goes on" in str(raised.value)
    there = raised.value.idata.posterior
    assert there.equals(whole.posterior.isel(draw=slice(there.sizes["draw"])))
    assert there.sizes["draw"] >= 7
    with pytest.raises(OSError, match="No space left"):
        run(where, "given", "jax")
    assert xr.open_datatree(str(where), engine="zarr").posterior.equals(there)
    ballast.unlink()
    assert_same(run(where, "given", "jax"), whole)


def test_what_is_written_behind_fails_in_the_main_thread(tmp_path, monkeypatch, whole):
    monkeypatch.undo()
    monkeypatch.setattr(chains, "_BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(stored, "_SECONDS", 0.0)
    where, put = tmp_path / "run.zarr", Shelf.put_soon

    def refused(self, values):
        if threading.current_thread() is not threading.main_thread() and len(threads) > 3:
            raise OSError(28, "No space left on device")
        threads.append(threading.current_thread().name)
        put(self, values)

    threads = []
    with monkeypatch.context() as patch:
        patch.setattr(Shelf, "put_soon", refused)
        with pytest.raises(OSError, match="can't be written: No space left"):
            run(where, "given", "jax")
    assert any("store" in name for name in threads)
    assert_same(run(where, "given", "jax"), whole)


@pytest.mark.slow
def test_a_disk_that_can_be_written_no_more(small_disk, whole):
    where = small_disk / "run.zarr"

    def lock(progress):
        if progress.kept == 7:
            # Over itself, since a file that is open for writing keeps the disk as it is.
            subprocess.run(["mount", "--bind", where, where], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", where], check=True)

    with pytest.raises(OSError, match="can't be written: Read-only file system") as raised:
        run(where, "given", "jax", lock)
    assert raised.value.idata.posterior.sizes["draw"] == 7
    subprocess.run(["umount", where], check=True)
    assert_same(run(where, "given", "jax"), whole)


@pytest.mark.slow
def test_a_store_that_refuses_for_a_while(tmp_path, monkeypatch, whole):
    """As an object store does, or a folder whose owner takes a right away."""
    where = tmp_path / "run.zarr"

    def refused(self, values):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:

        def refuse(progress):
            if progress.kept == 7:
                patch.setattr(Shelf, "put_soon", refused)

        with pytest.raises(OSError, match=r"can't be written: Permission denied.*first 7 draws"):
            run(where, "given", "jax", refuse)
    assert xr.open_datatree(str(where), engine="zarr").posterior.sizes["draw"] == 7
    assert_same(run(where, "given", "jax"), whole)
