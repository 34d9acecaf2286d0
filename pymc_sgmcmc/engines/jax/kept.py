"""XLA's programs, kept between processes."""

import os
import platform
from typing import Any

import jax
import jaxlib
from jax.experimental import serialize_executable
from llvmlite import binding

from pymc_sgmcmc.engines import cache

# XLA's vectors have 256 bits, since some processors slow down with longer ones. These don't, and
# update small networks a tenth faster.
_WIDTH, _WIDE = "xla_cpu_prefer_vector_width", {"znver5"}


def compile_or_load(lowered: jax.stages.Lowered) -> Any:
    """Compile a program, or take it from where an earlier process has kept it.

    Programs of several devices, and those that call back into this process, mean nothing to
    another; where a cache of JAX's own was asked for, it is left to that one.
    """
    text = lowered.as_text()
    several = jax.device_count() > 1 or jax.config.jax_default_device is not None
    elsewhere = jax.config.jax_compilation_cache_dir is not None
    if several or elsewhere or "callback" in text or not cache.is_on():
        return _compiled(lowered)
    key = cache.key_of(text, str(lowered.args_info), *_machine())
    program = cache.read(key)
    if program is not None:
        try:
            return serialize_executable.deserialize_and_load(
                program, lowered.in_tree, lowered.out_tree
            )
        except Exception:  # whatever is wrong with it, it can be made anew
            pass
    compiled = _compiled(lowered)
    try:
        cache.write(key, serialize_executable.serialize(compiled)[0])
    except Exception:  # a device whose programs can't be kept
        pass
    return compiled


def _compiled(lowered: jax.stages.Lowered) -> Any:
    try:
        return lowered.compile(_options())
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return lowered.compile()


def _options() -> dict[str, Any]:
    """How XLA is to compile, where its flags don't say."""
    asked = _WIDTH in os.environ.get("XLA_FLAGS", "")
    wide = jax.default_backend() == "cpu" and binding.get_host_cpu_name() in _WIDE
    return {_WIDTH: 512} if wide and not asked else {}


def _machine() -> list[str]:
    """All that a program depends on, besides its text."""
    (device,) = jax.devices()
    backend = device.client
    return [
        *("pymc_sgmcmc 2", str(_options()), jax.__version__, jaxlib.__version__),
        platform.machine(),
        *(backend.platform, backend.platform_version, device.device_kind),
        *(binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()),
        *(os.environ.get(name, "") for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")),
        *(f"{k}={v}" for k, v in sorted(jax.config.values.items()) if _plain(v)),
    ]


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
