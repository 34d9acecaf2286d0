"""Public docstrings are complete numpydoc: every parameter, what is returned, what is raised."""

import inspect

import pytest
from numpydoc.validate import validate

from tests.public_names import DYNAMICS, OBJECTS
from tests.samplers import OF_THE_PACKAGE

CHECKS = {"GL03", "GL06", "GL07", "GL08", "PR01", "PR02", "PR04", "PR07", "RT01", "SS01", "SS03"}
PUBLIC = [*OBJECTS, *DYNAMICS]
RESULTS = {
    f"pymc_sgmcmc.diagnostics.{name}" for name in ("ChainsNeeded", "DeadChains", "Diagnosis")
}
RESULTS |= {"pymc_sgmcmc.nn.Prior", "pymc_sgmcmc.nn.Compressed", "pymc_sgmcmc.Progress"}


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_is_complete(name):
    errors = [e for e in validate(name)["errors"] if e[0] in CHECKS]
    if name in RESULTS:  # nobody makes them
        errors = [e for e in errors if e[0] != "PR01"]
    assert not errors


@pytest.mark.parametrize("sampler", OF_THE_PACKAGE)
def test_samplers_say_what_they_sample_and_who_found_it(sampler):
    text = inspect.getdoc(sampler)
    assert "Samples exp(-U/T)" in text
    assert "References" in text
    assert "{parameters}" not in text
