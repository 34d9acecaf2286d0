"""XLA's programs, kept between processes."""

import os
import platform
from typing import Any

import jax
import jaxlib
from jax.experimental import serialize_executable
from llvmlite import binding

from pymc_sgmcmc.engines import cache


def compile_or_load(lowered: jax.stages.Lowered) -> Any:
    """Compile a program, or take it from where an earlier process has kept it.

    Programs of several devices, and those that call back into this process, mean nothing to
    another; where a cache of JAX's own was asked for, it is left to that one.
    """
    text = lowered.as_text()
    several = jax.device_count() > 1 or jax.config.jax_default_device is not None
    elsewhere = jax.config.jax_compilation_cache_dir is not None
    if several or elsewhere or "callback" in text or not cache.is_on():
        return lowered.compile()
    key = cache.key_of(text, str(lowered.args_info), *_machine())
    program = cache.read(key)
    if program is not None:
        try:
            return serialize_executable.deserialize_and_load(
                program, lowered.in_tree, lowered.out_tree
            )
        except Exception:  # whatever is wrong with it, it can be made anew
            pass
    compiled = lowered.compile()
    try:
        cache.write(key, serialize_executable.serialize(compiled)[0])
    except Exception:  # a device whose programs can't be kept
        pass
    return compiled


def _machine() -> list[str]:
    """All that a program depends on, besides its text."""
    (device,) = jax.devices()
    backend = device.client
    return [
        *("pymc_sgmcmc 2", jax.__version__, jaxlib.__version__, platform.machine()),
        *(backend.platform, backend.platform_version, device.device_kind),
        *(binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()),
        *(os.environ.get(name, "") for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")),
        *(f"{k}={v}" for k, v in sorted(jax.config.values.items()) if _plain(v)),
    ]


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
