"""Runs that end before all draws are made: a time, a diagnosis, a function; and who watches."""

import datetime
import io

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

import pymc_sgmcmc
from pymc_sgmcmc import reached, sample, stopping
from pymc_sgmcmc.diagnostics.diagnosis import extremes
from pymc_sgmcmc.run import chains
from pymc_sgmcmc.store import stored, watch
from tests.store.runs import assert_same, model_and_step

pytest.importorskip("zarr")

TUNE = 10


@pytest.fixture(autouse=True)
def one_block_each(monkeypatch):
    monkeypatch.setattr(chains, "_BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(stored, "_SECONDS", 0.0)
    monkeypatch.setattr(stored, "_TIMES", 0.0)
    monkeypatch.setattr(stored.Stored, "write_behind", stored.Stored.write)


@pytest.fixture(scope="module")
def made():
    return model_and_step("given")


def run(made, draws=30, **kwargs):
    model, step = made
    settings = {"tune": TUNE, "chains": 3, "random_seed": 1, "progressbar": False}
    return sample(draws, step=step, model=model, **(settings | kwargs))


@pytest.mark.parametrize("with_store", [False, True])
@pytest.mark.slow
def test_a_function_stops_a_run_and_the_same_call_extends_it(made, tmp_path, with_store, caplog):
    store = tmp_path / "run.zarr" if with_store else None
    caplog.set_level("INFO", "pymc_sgmcmc")
    idata = run(made, stop_when=lambda progress: progress.kept == 7, store=store)
    assert idata.posterior.sizes["draw"] == 7
    assert idata.posterior.attrs["updates"] == (TUNE + 7) * 5
    assert "Stopped by stop_when: 7 of 30 draws." in caplog.text
    if with_store:
        assert_same(run(made, store=store), run(made))


def test_what_a_callback_is_told(made):
    seen = []
    idata = run(made, callback=seen.append)
    assert [p.made for p in seen] == list(range(1, TUNE + 31))
    assert {p.phase for p in seen[: TUNE - 1]} == {"Tuning"}
    assert seen[-1].phase == "Sampling"
    assert (seen[-1].kept, seen[-1].draws, seen[-1].updates) == (30, 30, (TUNE + 30) * 5)
    assert list(np.diff([p.seconds for p in seen]) > 0) == [True] * (len(seen) - 1)
    for name, x in seen[-1].statistics.items():
        np.testing.assert_allclose(x, idata.sample_stats[name][:, -1], rtol=1e-6)


@pytest.mark.parametrize("with_store", [False, True])
@pytest.mark.slow
def test_the_draws_so_far(made, tmp_path, with_store):
    lengths = []

    def look(progress):
        if progress.kept:
            lengths.append((progress.kept, progress.idata.posterior.sizes["draw"]))

    run(made, callback=look, store=tmp_path / "run.zarr" if with_store else None)
    assert lengths == [(n, n) for n in range(1, 31)]


def test_a_time(made):
    stop = stopping.condition(datetime.timedelta(seconds=5))

    def after(seconds):
        progress = stopping.Progress("Sampling", 1, 0, 2, 3, seconds, {}, lambda: None)
        return stop(progress)

    assert [after(s) for s in (0, 4.9, 5, 6)] == [False, False, True, True]
    idata = run(made, draws=10**5, stop_when=datetime.timedelta(seconds=0.5))
    assert idata.posterior.sizes["draw"] < 10**5


def test_a_diagnosis(made):
    idata = run(made, draws=10**4, stop_when=reached(ess=60, rhat=1.2, var_names=["sd"]))
    n = idata.posterior.sizes["draw"]
    assert 20 <= n < 10**4
    worst, fewest = extremes(idata, ["sd"])
    assert worst <= 1.2
    assert fewest >= 60
    with pytest.raises(ValueError, match="'other'"):
        run(made, stop_when=reached(var_names=["other"]))


@pytest.mark.parametrize("wrong", [5, "1h", datetime.timedelta(0)])
def test_what_is_no_condition(made, wrong):
    with pytest.raises(TypeError, match=r"stop_when must be a function .*timedelta.*; got"):
        run(made, stop_when=wrong)


def test_numbers_that_make_no_sense():
    with pytest.raises(ValueError, match="rhat must be greater than 1"):
        reached(rhat=1.0)
    with pytest.raises(ValueError, match="ess must be greater than 0"):
        reached(ess=0)


# -- watching ----------------------------------------------------------------------------------


def test_watching_from_within_and_after(made, tmp_path, capsys):
    store, looks = tmp_path / "run.zarr", []

    def look(progress):
        if progress.made in (1, TUNE + 20):
            seen = watch._Look(watch._shelf(store), True)
            console = Console(width=100, file=io.StringIO())
            console.print(seen.show())
            looks.append((seen.running, console.file.getvalue()))

    run(made, store=store, callback=look)
    (running, early), (still, late) = looks
    assert running
    assert still
    assert "running · Tuning" in early
    assert f"{TUNE + 20} of {TUNE + 30} draws" in late
    assert "150 of each chain" in late
    assert "left" in late
    assert "the draws" in late.lower()
    pymc_sgmcmc.watch(store)
    assert "ended · Sampling" in capsys.readouterr().out


def test_there_is_nothing_to_watch(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no store at"):
        pymc_sgmcmc.watch(tmp_path / "none.zarr")
    xr.Dataset({"x": 1}).to_zarr(tmp_path / "other.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(FileNotFoundError, match="has no run in it"):
        pymc_sgmcmc.watch(tmp_path / "other.zarr")
    assert not (tmp_path / "none.zarr").exists()
