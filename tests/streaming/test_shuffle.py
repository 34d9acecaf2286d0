"""Rows in random order in files: all there, together, in any order as likely as another."""

import numpy as np
import pytest

from pymc_sgmcmc import shuffle_rows
from pymc_sgmcmc.streaming import shuffle

N = 1_000


def sources():
    X = np.arange(2 * N, dtype="float32").reshape(N, 2)
    return {"X": X, "y": np.arange(N, dtype="int16")}


@pytest.mark.parametrize("heap", [100, 2**28], ids=["many heaps", "one"])
def test_rows_stay_together_and_none_is_lost(tmp_path, monkeypatch, heap):
    monkeypatch.setattr(shuffle, "_HEAP", heap)
    monkeypatch.setattr(shuffle, "_READ", 77)
    given = sources()
    found = shuffle_rows(given, tmp_path)
    assert {name: (x.shape, x.dtype) for name, x in found.items()} == {
        name: (x.shape, x.dtype) for name, x in given.items()
    }
    np.testing.assert_array_equal(found["X"], given["X"][found["y"]])
    np.testing.assert_array_equal(np.sort(found["y"]), given["y"])
    assert isinstance(found["X"], np.memmap)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["X.npy", "y.npy"]
    again = shuffle_rows(given, tmp_path / "again")
    np.testing.assert_array_equal(again["y"], found["y"])


def test_every_order_is_as_likely(tmp_path, monkeypatch):
    """Where any row comes to, and which row is beside it."""
    monkeypatch.setattr(shuffle, "_HEAP", 20)
    rows, orders = np.arange(4), 600
    found = np.stack(
        [
            np.array(shuffle_rows({"y": rows}, tmp_path / str(seed), random_seed=seed)["y"])
            for seed in range(orders)
        ]
    )
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == 24
    expected = orders / 24
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - 23) < 5 * np.sqrt(2 * 23)


def test_what_is_refused(tmp_path, monkeypatch):
    shuffle_rows(sources(), tmp_path)
    with pytest.raises(FileExistsError, match=r"X\.npy exists"):
        shuffle_rows(sources(), tmp_path)
    room = type("Usage", (), {"free": 10})
    monkeypatch.setattr(shuffle.shutil, "disk_usage", lambda folder: room)
    with pytest.raises(OSError, match=r"Shuffling takes 0\.0 GB"):
        shuffle_rows(sources(), tmp_path / "full")
    with pytest.raises(ValueError, match="differ in their numbers of rows"):
        shuffle_rows({"X": np.zeros(3), "y": np.zeros(4)}, tmp_path / "other")
