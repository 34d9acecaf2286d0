"""`sample(store=...)`: what is in the store, at every moment, and what is done with it later."""

import functools
import json
import socket
import subprocess
import sys

import numpy as np
import pymc as pm
import pytest
import xarray as xr

from pymc_sgmcmc import SGLD, ChainStuckError, diagnose, sample
from pymc_sgmcmc.run import chains
from pymc_sgmcmc.store import shelf, stored
from pymc_sgmcmc.store.lock import StoreInUseError, _boot
from pymc_sgmcmc.store.shelf import OWN, Shelf
from pymc_sgmcmc.store.tree import draws_in_chunks
from tests.store.runs import assert_same, model_and_step

zarr = pytest.importorskip("zarr")

TUNE, DRAWS = 20, 15

pytestmark = pytest.mark.filterwarnings("ignore:Found chain dimension to be longer than draw")


@pytest.fixture(autouse=True)
def one_block_each(monkeypatch):
    """Blocks of one draw, each written at once."""
    monkeypatch.setattr(chains, "_BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(stored, "_SECONDS", 0.0)
    monkeypatch.setattr(stored, "_TIMES", 0.0)
    monkeypatch.setattr(stored.Stored, "write_behind", stored.Stored.write)
    monkeypatch.setattr(shelf, "_sync", lambda path: None)  # no test cuts the power


@pytest.fixture(scope="module")
def made():
    """A model and steps of it, by the kind of warm-up: compiled once."""
    return {kind: model_and_step(kind) for kind in ("given", "small")}


def run(made, kind="given", draws=DRAWS, **kwargs):
    model, step = made[kind]
    settings = {"tune": TUNE, "chains": 3, "random_seed": 1, "progressbar": False}
    return sample(draws, step=step, model=model, **(settings | kwargs))


@pytest.fixture(scope="module")
def whole(made):
    """Runs without a store, by kind and by whether the tuning is discarded."""
    return functools.cache(lambda kind, discard: run(made, kind, discard_tuned_samples=discard))


def opened(store):
    return xr.open_datatree(store, engine="zarr", chunks=None)


# -- what is in it -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "discard"),
    [
        ("given", False),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in (("given", True), ("small", True))),
    ],
)
def test_a_store_has_what_a_run_without_one_gives(made, whole, tmp_path, kind, discard):
    idata = run(made, kind, store=tmp_path / "run.zarr", discard_tuned_samples=discard)
    assert_same(idata, whole(kind, discard))
    assert_same(opened(str(tmp_path / "run.zarr")), whole(kind, discard))
    assert not idata.posterior["slope"].variable._in_memory
    assert str(diagnose(idata)) == str(diagnose(whole(kind, discard)))


def test_any_part_can_be_opened_alone_and_anyhow(made, whole, tmp_path):
    where = str(tmp_path / "run.zarr")
    run(made, store=where)
    posterior = whole("given", True).posterior.to_dataset().drop_attrs()
    for consolidated in (None, True, False):
        alone = xr.open_dataset(where, group="posterior", engine="zarr", consolidated=consolidated)
        xr.testing.assert_identical(alone.drop_attrs(), posterior)
    array = zarr.open_array(where, path="posterior/slope", mode="r")
    np.testing.assert_array_equal(array[:], posterior["slope"])


@pytest.mark.parametrize("discard", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_it_can_be_read_at_any_time(made, whole, tmp_path, discard):
    seen, where = [], str(tmp_path / "run.zarr")

    def look(progress):
        tree = opened(where)
        assert_first(tree, whole("given", discard), discard, progress.made)
        if "posterior" in tree:
            assert tree.posterior.attrs["updates"] == progress.updates
            assert tree.posterior.attrs["tuning_steps"] == TUNE
        seen.append(progress.made)

    run(made, store=where, discard_tuned_samples=discard, callback=look)
    assert seen == list(range(1, TUNE + DRAWS + 1))


def assert_first(tree, whole, discard, n):
    """That a tree has the first `n` draws of a run, tuning included."""
    lengths = {"warmup_": 0 if discard else min(n, TUNE), "": max(0, n - TUNE)}
    assert set(whole.children) - set(tree.children) == {
        prefix + group
        for prefix, length in lengths.items()
        for group in ("posterior", "sample_stats")
        if not length and prefix + group in whole.children
    }
    for prefix, length in lengths.items():
        for group in ("posterior", "sample_stats") if length else ():
            expected = whole[prefix + group].to_dataset().isel(draw=slice(length))
            found = tree[prefix + group].to_dataset()
            xr.testing.assert_identical(found.drop_attrs(), expected.drop_attrs())
    assert tree.observed_data.equals(whole.observed_data)
    assert tree.constant_data.equals(whole.constant_data)


def test_chunks_are_neither_small_nor_large():
    def group(draws, *sizes):
        named = {f"v{i}": (("chain", "draw", f"d{i}"), np.zeros((4, draws, n), "f4")) for i, n in
                 enumerate(sizes)}  # fmt: skip
        return xr.Dataset(named, coords={"draw": range(draws)})

    at_once, chunks = draws_in_chunks({"a": group(1, 3), "b": group(1, 1, 1)})
    assert at_once == 4096
    assert set(chunks["a"].values()) == {4096}
    at_once, chunks = draws_in_chunks({"a": group(1, 10**4, 1)})
    assert 2**24 <= at_once * 4 * 4 * 10**4 <= 2**25
    assert chunks["a"]["v0"] == at_once
    assert chunks["a"]["v1"] == chunks["a"]["draw"] == 4096
    at_once, chunks = draws_in_chunks({"a": group(1, 10**7, 100)})
    assert at_once == 1
    assert chunks["a"] == {"v0": 1, "v1": 163, "draw": 4096}


def test_a_chunk_ends_where_it_should(made, whole, tmp_path, monkeypatch):
    # Chunks of four draws, each written when it is full and at no other time.
    monkeypatch.setattr("pymc_sgmcmc.store.tree._MOST", 4)
    monkeypatch.setattr(stored, "_SECONDS", 1e9)
    monkeypatch.setattr(chains, "_BLOCK_SECONDS", 1e9)
    where, seen = str(tmp_path / "run.zarr"), []

    def look(progress):
        if progress.phase == "Sampling" and progress.kept:
            there = opened(where)
            seen.append((progress.kept, there.posterior.sizes["draw"]))

    idata = run(made, store=where, callback=look)
    assert_same(idata, whole("given", True))
    assert [there for made, there in seen if made % 4 == 0] == [4, 8, 12]
    assert len({there for _, there in seen}) == 4


# -- the same call again -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["given", pytest.param("small", marks=pytest.mark.slow)])
def test_the_same_line_again_and_more_draws(made, tmp_path, kind):
    where = tmp_path / "run.zarr"
    run(made, kind, draws=5, store=where)
    before = sorted((tmp_path / "run.zarr").rglob("c/*"))
    again = run(made, kind, draws=5, store=where, callback=lambda progress: pytest.fail("it runs"))
    assert again.posterior.sizes["draw"] == 5
    assert sorted((tmp_path / "run.zarr").rglob("c/*")) == before
    longer = run(made, kind, draws=DRAWS, store=where, random_seed=None)
    assert_same(longer, run(made, kind))
    with pytest.raises(ValueError, match=f"draws=5, and .*has {DRAWS} draws .*draws={DRAWS} opens"):
        run(made, kind, draws=5, store=where)


@pytest.mark.parametrize("seed", [None, 3, [1, 2, 3], "PCG64", "MT19937"])
def test_the_seed_is_the_stores(made, tmp_path, seed):
    where = tmp_path / "run.zarr"
    if isinstance(seed, str):
        kind = getattr(np.random, seed)
        seed = np.random.Generator(kind(7))
    run(made, draws=3, store=where, random_seed=seed)
    if isinstance(seed, np.random.Generator):
        seed = np.random.Generator(kind(7))
    for again in (None, seed):
        run(made, draws=5, store=where, random_seed=again)
    for other in (4, np.random.default_rng(1)):
        with pytest.raises(ValueError, match="another random_seed than"):
            run(made, draws=5, store=where, random_seed=other)


# -- what ends a run early, and is no end -------------------------------------------------------


class Died(BaseException):
    """What ends a process at once, seen from within a test."""


def dying(monkeypatch, call):
    """Have the process die at some call that writes to the store, without a word after."""
    count = iter(range(10**9))

    def patched(owner, name):
        function = getattr(owner, name)

        def mortal(*args, **kwargs):
            if next(count) == call:
                raise Died
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, mortal)

    patched(Shelf, "put_soon")
    patched(Shelf, "delete")
    patched(zarr.Array, "__setitem__")
    monkeypatch.setattr(stored.Stored, "safe", lambda self: self.written)
    monkeypatch.setattr(stored.Stored, "__exit__", lambda self, *error: self._lock.release())
    return count


# Before the first draw, in the tuning, and at any of the writes that one draw takes.
CALLS = (0, 3, 17, 60, *range(300, 325, 3))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "discard"), [("given", False), ("small", True)])
def test_death_at_any_write(made, whole, tmp_path, monkeypatch, kind, discard):
    """The store always opens; what is there is right; the same line goes on to the same end."""
    deaths = 0
    for call in CALLS if kind == "given" else CALLS[1::2]:
        where = str(tmp_path / f"{call}.zarr")
        with monkeypatch.context() as patch:
            dying(patch, call)
            try:
                run(made, kind, store=where, discard_tuned_samples=discard)
            except Died:
                deaths += 1
        if zarr.open_group(where, mode="r").metadata.consolidated_metadata is not None:
            tree = opened(where)
            for group in ("warmup_posterior", "posterior"):
                if group in tree.children:
                    n = tree[group].sizes["draw"]
                    first = whole(kind, discard)[group].isel(draw=slice(n))
                    assert tree[group].equals(first)
        idata = run(made, kind, store=where, discard_tuned_samples=discard)
        assert_same(idata, whole(kind, discard))
    assert deaths > 4


def test_ctrl_c_is_no_end(made, whole, tmp_path):
    where = tmp_path / "run.zarr"

    def interrupt(progress):
        if progress.made == TUNE + 5:
            raise KeyboardInterrupt

    idata = run(made, store=where, callback=interrupt)
    assert_first(idata, whole("given", True), True, TUNE + 5)
    assert_same(run(made, store=where), whole("given", True))


def test_ctrl_c_before_the_first_draw(made, whole, tmp_path):
    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        run(made, store=tmp_path / "run.zarr", callback=interrupt)
    assert "0 draws of each chain, and a state from which" in raised.value.__notes__[0]
    assert raised.value.idata is None
    assert_same(run(made, store=tmp_path / "run.zarr"), whole("given", True))


def test_an_exception_brings_the_draws_and_loses_no_state(made, whole, tmp_path):
    def fail(progress):
        if progress.made == TUNE + 5:
            raise ArithmeticError("mine")

    with pytest.raises(ArithmeticError, match="mine") as raised:
        run(made, store=tmp_path / "run.zarr", callback=fail)
    assert_first(raised.value.idata, whole("given", True), True, TUNE + 5)
    assert_same(run(made, store=tmp_path / "run.zarr"), whole("given", True))


def test_a_stuck_chain(tmp_path):
    with pm.Model() as model:
        x = pm.Normal("x")
        pm.Potential("wrong", x**4)
        step = SGLD(step_size=0.2)
    with pytest.raises(ChainStuckError) as raised:
        sample(500, tune=0, step=step, model=model, random_seed=1, store=tmp_path / "a",
               progressbar=False)  # fmt: skip
    assert raised.value.idata.posterior.sizes["draw"] > 0


# -- what is refused ---------------------------------------------------------------------------


def test_another_run_is_refused_and_told_what_differs(made, tmp_path):
    def data(scale=1.0, n=50):
        return scale * np.linspace(0, 1, n)

    def call(prior=1.0, y=None, labels="ab", step_size=0.1, factor=2, name="x", **kwargs):
        with pm.Model(coords={"i": list(labels)}):
            x = pm.Normal(name, 0, prior, dims="i")
            pm.Deterministic("scaled", factor * x[0])
            pm.Normal("y", x.sum(), observed=data() if y is None else y)
            step = SGLD(step_size=step_size, steps_per_draw=2)
            settings = {"tune": 2, "chains": 2, "random_seed": 1, "progressbar": False}
            sample(3, step=step, store=tmp_path / "run.zarr", **(settings | kwargs))

    call()
    call()
    for change, told in {
        "prior": (2.0, "the law or formula of 'x' is another one"),
        "y": (data(2.0), r"the data 'y' has other values, \(50,\) float64 as before"),
        "labels": ("ac", "the labels of 'i' is another one"),
        "step_size": (0.2, "step_size was 0.1, and is 0.2 now"),
        "factor": (3, "the law or formula of 'scaled' is another one"),
        "name": ("z", "the variable 'x' is not there any more\n.*the variable 'z' is new"),
        "tune": (3, "tune was 2, and is 3 now"),
        "chains": (3, "chains was 2, and is 3 now"),
        "var_names": (["x"], r"var_names was \['x', 'scaled'\], and is \['x'\] now"),
        "discard_tuned_samples": (False, "discard_tuned_samples was True, and is False now"),
        "initvals": ({"x": [1.0, 2.0]}, "the start of 'x' is another one"),
    }.items():
        value, message = told
        with pytest.raises(ValueError, match=message):
            call(**{change: value})
    with pytest.raises(ValueError, match=r"the data 'y' was \(50,\) float64, and is \(40,\)"):
        call(y=data(n=40))
    call()


@pytest.mark.parametrize("on_disk", [True, False])
@pytest.mark.slow
def test_rows_from_a_source(tmp_path, on_disk):
    rng = np.random.default_rng(0)
    y = rng.normal(size=2000)

    def call(draws, store, y=y):
        np.save(tmp_path / "y.npy", y)
        source = np.load(tmp_path / "y.npy", mmap_mode="r") if on_disk else y
        with pm.Model():
            mu = pm.Normal("mu")
            pm.Normal("y", mu, observed=pm.Data("rows", y[:20]))
            step = SGLD(batch_size=50, step_size=0.01, steps_per_draw=3, data={"rows": source})
            settings = {"tune": 2, "chains": 2, "random_seed": 1, "progressbar": False}
            return sample(draws, step=step, store=store, **settings)

    call(3, tmp_path / "run.zarr")
    assert_same(call(9, tmp_path / "run.zarr"), call(9, None))
    with pytest.raises(ValueError, match=r"the data 'rows' has other values, \(2000,\) float64"):
        call(9, tmp_path / "run.zarr", 2 * y)


def test_other_versions_are_told(made, tmp_path, monkeypatch):
    run(made, draws=2, store=tmp_path / "run.zarr")
    path = tmp_path / "run.zarr" / OWN / "identity.json"
    path.write_text(path.read_text().replace('"pymc": "', '"pymc": "0.'))
    with pytest.warns(UserWarning, match=r"begun with other versions \(pymc was '0\."):
        run(made, draws=2, store=tmp_path / "run.zarr")


def test_what_is_no_store_is_left_alone(made, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for where in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(ValueError, match="something else at"):
            run(made, store=where)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_zarr_may_be_missing(made, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImportError, match=r"pip install 'pymc-sgmcmc\[store\]'"):
        run(made, store=tmp_path / "run.zarr")


@pytest.mark.slow
def test_two_at_once(made, tmp_path):
    def second(progress):
        with pytest.raises(StoreInUseError, match=r"Process \d+ on .* writes to .*watch\("):
            run(made, store=tmp_path / "run.zarr")

    run(made, draws=1, store=tmp_path / "run.zarr", callback=second)
    run(made, draws=2, store=tmp_path / "run.zarr")


def test_a_lock_that_the_system_does_not_keep(made, tmp_path, monkeypatch):
    """By the note of who has it; of a process that is dead it counts for nothing."""
    monkeypatch.setattr("pymc_sgmcmc.store.lock.fcntl", None)
    test_two_at_once(made, tmp_path)
    lock = tmp_path / "run.zarr" / OWN / "lock.json"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = {"pid": dead.pid, "host": socket.gethostname(), "boot": _boot()}
    lock.write_text(json.dumps(here))
    run(made, draws=3, store=tmp_path / "run.zarr")
    lock.write_text(json.dumps(here | {"boot": "another", "pid": 1}))
    run(made, draws=4, store=tmp_path / "run.zarr")
    lock.write_text(json.dumps(here | {"host": "elsewhere"}))
    with pytest.raises(StoreInUseError, match=r"on elsewhere .*If it is dead, delete"):
        run(made, draws=5, store=tmp_path / "run.zarr")


# -- stores that are no folder ------------------------------------------------------------------


def object_store(kind, folder):
    """Keys and bytes, nothing else, by the ways that zarr knows; nothing there yet."""
    if kind == "zarr":
        return zarr.storage.MemoryStore()
    if kind == "obstore":
        obstore = pytest.importorskip("obstore.store")
        return zarr.storage.ObjectStore(obstore.MemoryStore())
    fsspec = pytest.importorskip("fsspec")
    if kind == "address":
        return f"memory://{folder.name}/run.zarr"
    pytest.importorskip("fsspec.implementations.asyn_wrapper")
    local = fsspec.filesystem("file", auto_mkdir=True)
    wrapped = fsspec.implementations.asyn_wrapper.AsyncFileSystemWrapper(local, asynchronous=True)
    return zarr.storage.FsspecStore(wrapped, path=str(folder / "run.zarr"))


@pytest.mark.parametrize(
    "kind",
    ["zarr", "address", *(pytest.param(x, marks=pytest.mark.slow) for x in ("obstore", "fsspec"))],
)
def test_a_store_that_is_no_folder(made, whole, monkeypatch, tmp_path, kind):
    store = object_store(kind, tmp_path)
    with monkeypatch.context() as patch:
        dying(patch, 150)
        with pytest.raises(Died):
            run(made, store=store)
    assert "posterior" in xr.open_datatree(store, engine="zarr").children
    assert_same(run(made, store=store), whole("given", True))


def test_an_object_store_with_something_else(made):
    other = zarr.storage.MemoryStore()
    zarr.open_group(other, mode="a").create_array("mine", shape=3, dtype=float)
    with pytest.raises(ValueError, match="something else than a run"):
        run(made, store=other)
