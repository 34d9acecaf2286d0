"""Warm-up: it finds the posterior's mass, its scale and the step size, and is frozen afterwards."""
