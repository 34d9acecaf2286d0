"""Predictions of a posterior for those who serve them: as ONNX, or as plain NumPy."""

from pymc_sgmcmc.export.entry import to_numpy, to_onnx

__all__ = ["to_numpy", "to_onnx"]
