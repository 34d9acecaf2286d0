"""A model as functions of JAX, for those who write a sampler of their own."""
