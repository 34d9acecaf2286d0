"""What may hold rows: each gives the same rows, in any order; what can't be one is told."""

import pickle
import re

import numpy as np
import pytest

from pymc_sgmcmc.streaming import scratch
from pymc_sgmcmc.streaming.extremes import extreme_rows
from pymc_sgmcmc.streaming.sources import open_rows

N = 5_000
X = np.random.default_rng(0).normal(size=(N, 3)).astype("float32")
Y = np.random.default_rng(1).integers(0, 9, N).astype("int8")


class Loader:
    """Like those of PyTorch, Grain and pymc_extras: blocks, again and again."""

    def __init__(self, *arrays, block=512, n_rows=N, named=False):
        self.arrays, self.block, self.n_rows, self.named = arrays, block, n_rows, named

    def __iter__(self):
        for i in range(0, len(self.arrays[0]), self.block):
            block = tuple(x[i : i + self.block] for x in self.arrays)
            yield dict(zip("Xy", block, strict=True)) if self.named else block


def parquet(folder, **settings):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": Y}
    pq.write_table(pa.table(columns | settings), folder / "rows.parquet", row_group_size=700)
    return folder / "rows.parquet"


def sources(kind, folder):
    """Sources of X and y."""
    if kind == "memory":
        return {"X": X, "y": Y}
    if kind == "npy":
        np.save(folder / "X.npy", X)
        np.save(folder / "y.npy", Y)
        return {k: np.load(folder / f"{k}.npy", mmap_mode="r") for k in "Xy"}
    if kind == "part of a memmap":
        np.save(folder / "X.npy", np.concatenate([X[:7] + 1, X]))
        return {"X": np.load(folder / "X.npy", mmap_mode="r")[7:], "y": Y}
    if kind == "parquet":
        path = parquet(folder)
        return {"X": (path, ["a", "b", "c"]), "y": (str(path), "y")}
    if kind == "parquet file":
        file = pytest.importorskip("pyarrow.parquet").ParquetFile(parquet(folder))
        return {"X": (file, ["a", "b", "c"]), "y": (file, "y")}
    if kind == "dataset":
        table = pytest.importorskip("pyarrow.dataset").dataset(parquet(folder))
        return {"X": (table, ["a", "b", "c"]), "y": (table, "y")}
    if kind == "zarr":
        zarr = pytest.importorskip("zarr")
        return {
            name: zarr.create_array(folder / name, data=x, chunks=(800, *x.shape[1:]))
            for name, x in (("X", X), ("y", Y))
        }
    if kind == "h5py":
        file = pytest.importorskip("h5py").File(folder / "rows.h5", "w")
        return {k: file.create_dataset(k, data=x, chunks=True) for k, x in (("X", X), ("y", Y))}
    if kind == "pandas":
        pd = pytest.importorskip("pandas")
        return {"X": pd.DataFrame(X), "y": pd.Series(Y, index=np.arange(N) + 7)}
    if kind == "xarray":
        xr = pytest.importorskip("xarray")
        return {"X": xr.DataArray(X), "y": xr.DataArray(Y)}
    loader = Loader(X, Y, named=kind == "loader of dicts")
    return (
        {"X": (loader, "X"), "y": (loader, "y")}
        if loader.named
        else dict(X=(loader, 0), y=(loader, 1))
    )


KINDS = [
    *("memory", "npy", "part of a memmap", "parquet", "parquet file", "dataset", "zarr", "h5py"),
    *("pandas", "xarray", "loader", "loader of dicts"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_rows(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(scratch.tempfile, "tempdir", None)
    stored = open_rows(sources(kind, tmp_path))
    numbers = np.random.default_rng(2).integers(0, N, 300)
    assert stored.n_rows == N
    for name, x in (("X", X), ("y", Y)):
        assert stored.dtype(name) == x.dtype
        np.testing.assert_array_equal(stored.read(name, 700, 2_900), x[700:2_900])
        np.testing.assert_array_equal(stored.read(name, N - 3, N + 9), x[-3:])
        np.testing.assert_array_equal(stored.take(name, numbers), x[numbers])
        out = np.empty((300, *x.shape[1:]), "float64")
        np.testing.assert_array_equal(stored.take(name, numbers, out), x[numbers].astype(float))
    assert {X[:, 0].argmin(), X[:, 2].argmax()} < set(stored.extremes("X"))
    assert stored.fingerprint() == stored.fingerprint()
    if kind not in ("memory", "xarray"):
        return
    assert stored.fingerprint() == open_rows({"X": X.copy(), "y": Y}).fingerprint()
    assert stored.fingerprint() != open_rows({"X": X + 1, "y": Y}).fingerprint()


def test_a_working_copy_goes_with_its_rows(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(scratch.tempfile, "tempdir", None)
    stored = open_rows({"X": (Loader(X), 0)})
    assert list(tmp_path.iterdir())
    del stored
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["npy", "parquet file"])
def test_rows_in_a_file_can_be_sent_to_another_process(kind, tmp_path):
    stored = open_rows(sources(kind, tmp_path))
    again = pickle.loads(pickle.dumps(stored))
    assert again.fingerprint() == stored.fingerprint()
    again.refuse_change()
    assert len(pickle.dumps(stored)) < 10_000


def with_nan():
    x = X.copy()
    x[[731, 4_000], 2] = np.nan
    return x


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [  # named by number: addresses are others in every process
        ({}, ValueError, "data is empty"),
        ({"X": X, "y": Y[:-1]}, ValueError, "'X' 5,000, 'y' 4,999"),
        ({"X": 3}, TypeError, "must be an array .*; got int"),
        ({"X": np.array(3)}, ValueError, "single number"),
        ({"X": np.array(["a", "b"])}, TypeError, "not numbers.*series.cat.codes"),
        ({"X": np.array(["2024-01-01"], "M8[D]")}, TypeError, "dates as numbers"),
        ({"X": np.ma.masked_less(X, 0)}, ValueError, "masked"),
        ({"X": "nowhere.parquet"}, ValueError, "'nowhere.parquet', which is no file"),
        ({"X": (x for x in [X])}, ValueError, "generator, which gives its rows once.*np.load"),
        ({"X": [X]}, ValueError, "number of rows of list is unknown.*n_rows"),
        ({"X": (Loader(X, n_rows=N + 1), 0)}, ValueError, "5,000 rows where 5,001.*drop_last"),
        ({"X": Loader(X, Y)}, ValueError, r"blocks of 2 arrays: say which, \(loader, key\)"),
        ({"X": (Loader(X), 1)}, ValueError, "no part 1"),
    ],
    ids=map(str, range(13)),
)
def test_what_is_no_source(data, error, message):
    with pytest.raises(error, match=message):
        open_rows(data)


@pytest.mark.parametrize(
    ("part", "error", "message"),
    [
        (None, ValueError, r"say which of its columns.*It has 'a', 'b', 'c', 'y', 'name'"),
        ("d", ValueError, "names 'd', which the table lacks"),
        ("name", TypeError, "'name' holds string.*dictionary_encode"),
    ],
)
def test_columns_of_a_table(part, error, message, tmp_path):
    path = parquet(tmp_path, name=["x"] * N)
    with pytest.raises(error, match=message):
        open_rows({"X": path if part is None else (path, part)})


def test_numbers_that_are_not_finite_are_named_by_their_row():
    with pytest.raises(ValueError, match=re.escape("nan in row 731, column 2; rows that are not")):
        open_rows({"X": with_nan(), "y": Y}).extremes("X")


def test_a_changed_file_is_noticed(tmp_path):
    stored = open_rows(sources("npy", tmp_path))
    stored.refuse_change()
    np.save(tmp_path / "X.npy", X[:-1])
    with pytest.raises(ValueError, match=r"changed since this step was made: .*X.npy"):
        stored.refuse_change()


def test_a_full_disk(monkeypatch):
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda path: type("", (), {"free": 10}))
    with pytest.raises(OSError, match=r"working copy .* TMPDIR"):
        open_rows({"X": (Loader(X), 0)})


@pytest.mark.parametrize("width", [1, 3, 150])
@pytest.mark.parametrize("dtype", ["float32", "int8", "bool"])
def test_extreme_rows_are_those_of_the_whole(width, dtype, monkeypatch):
    monkeypatch.setattr("pymc_sgmcmc.streaming.extremes.BLOCK", 7)
    x = (20 * np.random.default_rng(0).normal(size=(50, width))).astype(dtype)
    if dtype == "float32":
        x[30, 0] = np.nan
    rows = extreme_rows(lambda first, stop: x[first:stop], len(x))
    if width < 100:
        expected = np.concatenate([x.argmin(0), x.argmax(0)])
        assert set(expected) <= set(rows)
    else:
        assert {x.argmin() // width, x.argmax() // width} <= set(rows)
    assert dtype != "float32" or 30 in rows
