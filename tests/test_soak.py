"""A process holds no more after many runs than after a few: benchmarks/soak.py in short."""

import sys

import pytensor
import pytest

from benchmarks.soak import growth, is_flat, kinds, soak

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is told by /proc"),
]


@pytest.mark.parametrize(
    "kind",
    [
        "new model",
        "predictions",
        *(pytest.param(kind, marks=pytest.mark.weekly) for kind in ("same step", "stored")),
    ],
)
def test_five_runs(kind, tmp_path, monkeypatch):
    cache, temporary = tmp_path / "cache", tmp_path / "temporary"
    for folder in (cache, temporary):
        folder.mkdir()
    monkeypatch.setenv("PYMC_SGMCMC_CACHE", str(cache))
    monkeypatch.setenv("TMPDIR", str(temporary))
    with pytensor.config.change_flags(generated_src_dir=str(cache)):
        run = kinds(tmp_path)[kind]
        history = soak(run, 5, cache, temporary)
    grown = growth(history)
    assert grown["memory"] < 25  # MB a run: five are too few to have settled
    assert is_flat(grown | {"memory": 0}), grown


def test_what_grows_is_seen():
    held = []

    def hoard(number):
        held.append(bytearray(2**22))

    from pathlib import Path

    history = soak(hoard, 9, Path("/nowhere"), Path("/nowhere"))
    assert growth(history)["memory"] > 3
    assert not is_flat(growth(history))
