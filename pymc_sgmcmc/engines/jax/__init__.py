"""JAX: chains vectorised, on the devices that it has."""
