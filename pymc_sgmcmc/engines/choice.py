"""Which engine runs the chains, where that is left open."""

# Seconds that a run must save to make up for Numba's compilation.
_WORTH_IT = 10
# Dimensions from which on an update is products of matrices, in which XLA is the faster one.
_WIDE = 50_000


def faster_engine(
    size: int, batch_numbers: int, chains: int, updates: int, convolves: bool = False
) -> str:
    """Name of the engine that is expected to end a run first, compilation included.

    JAX where it has an accelerator. On a processor Numba makes more updates a second, but takes
    5 to 30 seconds to compile a model that is new to it, where JAX takes 2. Measured on two cores,
    with four chains: the update of a chain took a core less time by 0 μs for a model of 3
    parameters, by 11 μs for a batch of 25,000 numbers or for 2,003 parameters, and by 27 to 32 μs
    for networks of 6,313. One of 478,410 parameters is JAX's (level with four chains on two cores,
    2.4 times Numba's updates with one), and so is LeNet-5: Numba compiles it for a minute, and its
    updates take 1.7 times the processor time.

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

    if convolves or jax.default_backend() != "cpu" or size >= _WIDE:
        return "jax"
    in_turn = chains / min(chains, cores())
    saved = updates * in_turn * 1e-6 * (size + batch_numbers / 10) / 225
    return "numba" if saved > _WORTH_IT else "jax"
