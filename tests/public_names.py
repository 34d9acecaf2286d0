"""Names of everything public, in full."""

import inspect

import pymc_sgmcmc
import pymc_sgmcmc.plots


def _classes(module):
    return [
        f"pymc_sgmcmc.{module}.{name}"
        for name, value in vars(getattr(pymc_sgmcmc, module)).items()
        if inspect.isclass(value) and value.__module__.startswith("pymc_sgmcmc")
    ]


MODULES = [
    f"pymc_sgmcmc.{name}"
    for name in pymc_sgmcmc.__all__
    if inspect.ismodule(getattr(pymc_sgmcmc, name))
]
OBJECTS = [
    name for name in (f"pymc_sgmcmc.{name}" for name in pymc_sgmcmc.__all__) if name not in MODULES
]
OBJECTS += [
    f"pymc_sgmcmc.{module}.{name}"
    for module in ("nn", "diagnostics", "plots", "export")
    for name in getattr(pymc_sgmcmc, module).__all__
]
OBJECTS += _classes("schedules")
DYNAMICS = _classes("dynamics")
