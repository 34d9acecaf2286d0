"""Linearised Laplace: the posterior around one mode, of the model made linear there."""
