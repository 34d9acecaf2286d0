"""From a PyMC model to an unbiased estimate of its potential energy and gradient."""
