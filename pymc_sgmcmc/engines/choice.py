"""Which engine runs the chains, where that is left open."""

# Seconds that a run must save to make up for Numba's compilation.
_WORTH_IT = 10
# Dimensions from which on a chain keeps several cores busy by itself.
_WIDE = 50_000


def faster_engine(
    size: int, batch_numbers: int, chains: int, updates: int, convolves: bool = False
) -> str:
    """Name of the engine that is expected to end a run first, compilation included.

    JAX where it has an accelerator. On a processor Numba makes more updates a second, but takes
    5 to 30 seconds to compile a model that is new to it, where JAX takes 3. Measured on two cores,
    with four chains, an update of one chain took 2 μs less for a small model, 33 μs less for a
    batch of 25,000 numbers, and 70 to 90 μs less for a network of 6,310 parameters. LeNet-5
    is JAX's: Numba compiles it for a minute, and its updates take 1.7 times the processor time.

    Parameters
    ----------
    size : int
        Dimensions d.
    batch_numbers : int
        Numbers in the rows of a batch.
    chains : int
    updates : int
        Updates of each chain.
    convolves : bool
        Whether the model has images and filters.
    """
    import jax

    from pymc_sgmcmc.engines.threads import cores

    saved = chains * updates * 1e-6 * (2 + size / 100 + batch_numbers / 1000)
    if convolves or jax.default_backend() != "cpu" or saved < _WORTH_IT:
        return "jax"
    return "jax" if size >= _WIDE and chains < cores() else "numba"
