"""Predictions for new rows, and how likely their outcomes are, by every draw of a posterior."""

from pymc_sgmcmc.prediction.predictions import predict

__all__ = ["predict"]
