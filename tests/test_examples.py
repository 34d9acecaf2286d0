"""The examples run; what they find is in their own output."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_digits_runs_from_data_to_pictures(tmp_path):
    script = ROOT / "examples" / "digits.py"
    result = subprocess.run(
        [sys.executable, script, "--draws", "4", "--tune", "2", "--output", tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )
    assert result.returncode == 0, result.stderr
    for words in ("posterior predictive", "one draw", "Adam", "R-hat", "updates of 4 chains"):
        assert words in result.stdout
    for name in ("digits.nc", "digits_reliability.png", "digits_least_sure.png"):
        assert (tmp_path / name).stat().st_size > 0


@pytest.mark.slow
def test_sampling_path_writes_a_small_animation(tmp_path):
    """In which momentum gets further along the banana than SGLD."""
    script = ROOT / "examples" / "sampling_path.py"
    result = subprocess.run(
        [sys.executable, script, "--output", tmp_path / "path.gif"],
        capture_output=True,
        text=True,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )
    assert result.returncode == 0, result.stderr
    highest = {
        line.split(":")[0]: float(line.split()[-1])
        for line in result.stdout.splitlines()
        if "x from" in line
    }
    assert highest["BAOAB"] > highest["SGLD"]
    assert 20_000 < (tmp_path / "path.gif").stat().st_size < 300_000


@pytest.mark.slow
def test_symmetry_finds_the_one_mode_of_the_sinusoidal_set():
    script = ROOT / "examples" / "symmetry.py"
    result = subprocess.run(
        [sys.executable, script, "--chains", "32"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "120 rows, 32 chains; a mode has 48 copies" in result.stdout
    counts = [int(line.split()[2]) for line in result.stdout.splitlines() if " chains, U " in line]
    assert sum(counts) == 32
    assert counts[0] >= 30
    spread = [float(line.split()[-1]) for line in result.stdout.splitlines() if "sd of W1" in line]
    assert spread[0] > 1 > 0.5 > spread[1]
    scores = result.stdout.split("test lppd")[1].splitlines()[0].split()
    assert float(scores[-1]) == pytest.approx(-0.62, abs=0.02)


def test_readme_snippet_is_complete():
    """The first code block runs as printed, with fewer draws, and finds the slopes."""
    code = (ROOT / "README.md").read_text().split("```python")[1].split("```")[0]
    assert code.count("pm.sample(") == 1
    code = code.replace(
        "pm.sample(", "pm.sample(draws=60, tune=40, random_seed=1, progressbar=False, "
    )
    code += "\nprint(*idata['posterior']['slopes'].mean(('chain', 'draw')).values)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    slopes = [float(x) for x in result.stdout.split()[-5:]]
    for found, true in zip(slopes, [1, -1, 0.5, 0, 0], strict=True):
        assert abs(found - true) < 0.05
