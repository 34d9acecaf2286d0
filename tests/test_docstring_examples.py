"""The examples in public docstrings run as printed, and give what they say."""

import doctest
import inspect
import pkgutil

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from tests.public_names import OBJECTS

# Some are public in two places.
ONCE = {id(pkgutil.resolve_name(name)): name for name in reversed(OBJECTS)}.values()


def run(text, name="example"):
    """Number of examples that ran, and a report of those that failed."""
    test = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, name, None, None)
    report: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(verbose=False, optionflags=flags)
    runner.run(test, out=report.append)
    ran = [x for x in test.examples if not x.options.get(doctest.SKIP)]
    return len(ran), "".join(report)


@pytest.mark.parametrize("name", sorted(ONCE))
@pytest.mark.slow
def test_example(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some save a picture
    ran, report = run(inspect.getdoc(pkgutil.resolve_name(name)), name)
    plt.close("all")
    assert not report, report
    assert ran, f"{name} has no example"


def test_wrong_output_an_error_and_a_warning_are_reported():
    assert run(">>> 1 + 1\n2\n") == (1, "")
    for wrong in ("1 + 1\n3", "1 / 0", "import warnings; warnings.warn('no', stacklevel=1)"):
        ran, report = run(f">>> {wrong}\n")
        assert ran == 1
        assert "Failed example" in report
