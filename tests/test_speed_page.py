"""docs/speed.md says what its figures give, and a ratio that is too low is a regression."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import measured, ratios, speed_page, speed_tables

ROW = {"workload": "logistic", "chains": 1, "sampler": "sgld", "engine": "numba", "against": "x"}


# -- the page --------------------------------------------------------------------------------------


def test_the_page_is_what_its_figures_give():
    text = speed_page.PAGE.read_text()
    message = "Type `python -m benchmarks.speed_page`; figures are edited in docs/figures/speed/."
    assert speed_page.page(text) == text, message


def test_all_figures_are_on_the_page_and_say_where_they_are_from():
    text = speed_page.PAGE.read_text()
    for path in speed_page.FIGURES.glob("*.json"):
        told = json.loads(path.read_text())
        assert f"<!-- table {path.stem} -->" in text, path.name
        assert {"command", "date", "machine", "rows"} <= set(told), path.name
        assert told.get("transcribed") or told["versions"]["pymc_sgmcmc"], path.name


def test_every_table_of_the_page_has_figures():
    """But the first, which has none: what the engines run on."""
    by_hand = speed_page._MARKED.sub("", speed_page.PAGE.read_text())
    assert len(re.findall(r"^\|[ :-]+\|[ :|-]*$", by_hand, re.M)) == 1


def test_a_changed_figure_changes_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(speed_page, "FIGURES", tmp_path)
    told = measured.origin() | {"command": "python run.py", "decimals": {"s": 1}}
    measured.write(tmp_path / "runs.json", told | {"rows": [{"": "a", "s": 2, "n": 1234}]})
    text = "Before.\n\n<!-- table runs -->\nold\n<!-- end of table -->\n\nAfter.\n"
    page = speed_page.page(text)
    assert "| a | 2.0 | 1,234 |" in page
    assert "`python run.py`" in page
    assert "old" not in page
    assert page.startswith("Before.")
    assert page.endswith("After.\n")
    assert speed_page.page(page) == page


def test_speeds_of_peers_stand_beside_ours():
    of_cell = {"workload": "logistic", "chains": 4, "sampler": "sgld"}
    rows = [
        of_cell | {"peer": "blackjax", "cpu_us": 62.0, "updates_per_second": 30_000},
        of_cell
        | {"peer": "ours-numba", "cpu_us": 20.0, "updates_per_second": 99_000}
        | {"over_blackjax": 3.25},
    ]
    (line,) = speed_tables.compare({"rows": rows})
    assert (line["Numba"], line["JAX"], line["BlackJAX"]) == ("99,000", "", "30,000")
    assert (line["Numba / BlackJAX"], line["JAX / BlackJAX"]) == ("3.25", "")
    assert line["CPU µs an update"] == "20 / 62"


def test_phases_of_a_run_are_rows():
    marks = {mark: [float(i), 0.5] for i, mark in enumerate(speed_tables.PHASES)}
    row = {"case": "readme", "caches": "cold", "marks": marks}
    lines = speed_tables.start({"rows": [row, row | {"caches": "warm"}]})
    assert [line["README, cold"] for line in lines] == ["0.0", "1.0", "2.0", "3.0", "4.0", "5.0"]
    assert list(lines[0]) == ["seconds until", "README, cold", "README, warm"]


# -- what a file of figures says -------------------------------------------------------------------


def test_the_command_leaves_out_where_figures_go():
    words = ["/usr/bin/python3", "benchmarks/x.py", "--json", "a.json", "--rounds", "5"]
    words += ["--note=busy", "--names", "two words"]
    assert measured.command(words) == "python benchmarks/x.py --rounds 5 --names 'two words'"


def test_a_file_is_read_as_it_was_written(tmp_path):
    told = measured.origin() | {"rows": [{"a": 1, "µ": [1.5, 2]}, {"a": None}]}
    path = tmp_path / "of" / "figures.json"
    measured.write(path, told)
    assert json.loads(path.read_text()) == told


# -- regressions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "regressed"), [(1.39, True), (1.41, False), (9, False)])
def test_a_ratio_below_its_tolerance_is_a_regression(ratio, regressed):
    (judged,) = ratios.judge([ROW | {"ratio": ratio}], [ROW | {"ratio": 2.0}], tolerance=0.3)
    assert judged.regressed == regressed
    assert ("REGRESSED" in str(judged)) == regressed


def test_what_could_not_be_measured_is_a_regression():
    others = [ROW | {"engine": "jax", "ratio": 5.0}, ROW | {"ratio": float("nan")}]
    for found in ([], others):
        (judged,) = ratios.judge(found, [ROW | {"ratio": 2.0}], tolerance=0.3)
        assert judged.regressed


def test_the_committed_ratios_have_a_tolerance():
    committed = json.loads((Path(ratios.__file__).with_name("check.json")).read_text())
    assert 0 < committed["tolerance"] < 0.5
    assert {row["against"] for row in committed["rows"]} == {"blackjax", "gradient"}
    judged = ratios.judge(committed["rows"], committed["rows"], committed["tolerance"])
    assert not any(x.regressed for x in judged)
