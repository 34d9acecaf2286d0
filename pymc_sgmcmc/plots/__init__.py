"""Plots for Bayesian neural networks, made as ArviZ makes its own.

Each takes a DataTree and returns an ``arviz_plots.PlotCollection``, drawn with matplotlib. They
read what ``predict`` writes: variables ``(chain, draw, row)`` or ``(chain, draw, row, class)`` of
the group ``predictions``, and the groups ``log_likelihood`` and ``observed_data``.

What ArviZ has is not here. To see whether predictions fit the outcomes: ``arviz.plot_ppc_dist``,
``plot_ppc_interval``, ``plot_ppc_tstat``, ``plot_loo_pit``, and ``plot_ppc_pava`` for two
outcomes. To see whether chains agree: ``plot_rank`` and ``plot_trace_dist``.
"""

from pymc_sgmcmc.plots.diffusion_map import plot_diffusion_map
from pymc_sgmcmc.plots.layer_temperatures import plot_layer_temperatures
from pymc_sgmcmc.plots.most_uncertain import plot_most_uncertain
from pymc_sgmcmc.plots.ood_entropy import plot_ood_entropy
from pymc_sgmcmc.plots.principal_components import plot_principal_components
from pymc_sgmcmc.plots.rejection import plot_rejection
from pymc_sgmcmc.plots.reliability import plot_reliability
from pymc_sgmcmc.plots.running_average import plot_running_average
from pymc_sgmcmc.plots.running_lppd import plot_running_lppd
from pymc_sgmcmc.plots.slice import plot_slice
from pymc_sgmcmc.plots.surface import plot_predictive_surface

__all__ = [
    "plot_diffusion_map",
    "plot_layer_temperatures",
    "plot_most_uncertain",
    "plot_ood_entropy",
    "plot_predictive_surface",
    "plot_principal_components",
    "plot_rejection",
    "plot_reliability",
    "plot_running_average",
    "plot_running_lppd",
    "plot_slice",
]
