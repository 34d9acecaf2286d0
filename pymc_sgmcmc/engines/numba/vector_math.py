"""Exponentials and logarithms that Numba turns into vector instructions.

Numba calls the C library for each number, 5 to 20 ns apart: half of the time of a logistic
regression's gradient, and more of a network's. The functions here are sums, products and shifts
of bits, right to a few units in the last place, in about a nanosecond.

Approximations of Moshier (1992), Cephes Mathematical Library.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from pytensor.compile.mode import Mode, get_mode
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key
from pytensor.tensor.elemwise import Elemwise

# PyTensor's scalar operations, and the functions below that take their place.
NAMES = {
    "Exp": "exp",
    "Log": "log",
    "Log1p": "log1p",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
}
_VERSION = int(hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8], 16)


class VectorMath(Op):
    """A function of every element of an array.

    Parameters
    ----------
    name : str
        One of the values of `NAMES`.
    """

    __props__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def make_node(self, *inputs: Any) -> Apply:
        """Apply to a tensor."""
        [x] = inputs
        return Apply(self, [x], [x.type()])

    def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
        """Never called: the Op is put into graphs that Numba compiles."""
        raise NotImplementedError


@register_funcify_default_op_cache_key(VectorMath)
def _funcify(op: VectorMath, node: Apply, **kwargs: Any) -> tuple[Callable, int]:
    function = functions(node.inputs[0].type.dtype)[op.name]

    @numba_njit(error_model="numpy", fastmath={"contract"})
    def of_array(x):
        source = np.ascontiguousarray(x).reshape(x.size)
        target = np.empty(x.size, x.dtype)
        for i in range(x.size):
            target[i] = function(source[i])
        return target.reshape(x.shape)

    return of_array, _VERSION


@node_rewriter([Elemwise])
def _vectorised(fgraph: Any, node: Any) -> list[Any] | None:
    name = NAMES.get(type(node.op.scalar_op).__name__)
    [x, *others] = node.inputs
    if name is None or others or x.type != node.outputs[0].type:
        return None
    if x.type.ndim == 0 or x.type.dtype not in ("float32", "float64"):
        return None
    return [VectorMath(name)(x)]


def numba_mode() -> Mode:
    """Mode in which PyTensor compiles for Numba, with the functions of this module."""
    # Just before elementwise operations are fused.
    return get_mode("NUMBA").register((dfs_rewriter(_vectorised), 48.5))


def functions(dtype: str) -> dict[str, Callable]:
    """Compiled functions of one number, to be inlined, by name."""
    float_: Any
    int_: Any
    float_, int_ = (np.float32, np.int32) if dtype == "float32" else (np.float64, np.int64)
    mantissa_bits, bias = (23, 127) if dtype == "float32" else (52, 1023)
    exp_low, exp_high = (-104.0, 89.0) if dtype == "float32" else (-746.0, 710.0)
    shift, offset = int_(mantissa_bits), int_(bias)
    mantissa = int_((1 << mantissa_bits) - 1)
    sqrt_half = int_(np.sqrt(float_(0.5)).view(int_))
    smallest, scale = float_(np.finfo(dtype).tiny), float_(2.0**mantissa_bits)
    zero, half, one, two = (float_(k) for k in (0, 0.5, 1, 2))
    infinity, nan = float_(np.inf), float_(np.nan)
    log2_e, log_2_high, log_2_low = (
        float_(k) for k in (1.44269504088896341, 0.693359375, -2.121944400546905827679e-4)
    )
    exp_series, log_series, tanh_series = SERIES[dtype](njit(inline="always"), float_)

    @njit(inline="always")
    def power_of_two(k):
        return int_(int_(k + offset) << shift).view(float_)

    @njit(inline="always")
    def exp(x):
        bounded = min(max(x, float_(exp_low)), float_(exp_high))
        whole = np.floor(log2_e * bounded + half)
        y = exp_series(bounded - whole * log_2_high - whole * log_2_low)
        # In two steps, for the ends of the range.
        k = int_(whole)
        k_half = int_(k >> int_(1))
        y = y * power_of_two(k_half) * power_of_two(int_(k - k_half))
        return y if x == x else x

    @njit(inline="always")
    def log(x):
        normal = x >= smallest
        raised = x if normal else x * scale
        bits = int_(float_(raised).view(int_) - sqrt_half)
        exponent = float_(int_(bits >> shift)) - (zero if normal else float_(mantissa_bits))
        t = int_(int_(bits & mantissa) + sqrt_half).view(float_) - one
        square = t * t
        y = log_series(t, square) + exponent * log_2_low - half * square
        y = t + y + exponent * log_2_high
        y = y if x < infinity else x
        y = y if x > zero else (-infinity if x == zero else nan)
        return y

    @njit(inline="always")
    def log1p(x):
        above = one + x
        # What rounding took from 1 + x is put back.
        y = log(above) - ((above - one) - x) / above
        y = y if above > zero else log(above)
        return y if above < infinity else above

    @njit(inline="always")
    def sigmoid(x):
        return one / (one + exp(-x))

    @njit(inline="always")
    def softplus(x):
        return max(x, zero) + log1p(exp(-abs(x)))

    @njit(inline="always")
    def tanh(x):
        size = abs(x)
        far = one - two / (exp(two * size) + one)
        far = far if x > zero else -far
        return far if size > float_(0.625) else tanh_series(x, x * x)

    return {
        "exp": exp,
        "log": log,
        "log1p": log1p,
        "sigmoid": sigmoid,
        "softplus": softplus,
        "tanh": tanh,
    }


def _series_32(inline: Any, f: Any) -> tuple[Callable, Callable, Callable]:
    e = [f(k) for k in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3)]
    e += [f(k) for k in (4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1.0)]
    e0, e1, e2, e3, e4, e5, e6 = e
    l0, l1, l2, l3, l4, l5, l6, l7, l8 = (
        f(k)
        for k in (
            7.0376836292e-2,
            -1.1514610310e-1,
            1.1676998740e-1,
            -1.2420140846e-1,
            1.4249322787e-1,
            -1.6668057665e-1,
            2.0000714765e-1,
            -2.4999993993e-1,
            3.3333331174e-1,
        )
    )
    t0, t1, t2, t3, t4 = (
        f(k)
        for k in (
            -5.70498872745e-3,
            2.06390887954e-2,
            -5.37397155531e-2,
            1.33314422036e-1,
            -3.33332819422e-1,
        )
    )

    @inline
    def exp(r):
        series = ((((e0 * r + e1) * r + e2) * r + e3) * r + e4) * r + e5
        return series * (r * r) + r + e6

    @inline
    def log(t, square):
        series = (((((((l0 * t + l1) * t + l2) * t + l3) * t + l4) * t + l5) * t + l6) * t + l7) * t
        return (series + l8) * t * square

    @inline
    def tanh(x, square):
        series = (((t0 * square + t1) * square + t2) * square + t3) * square + t4
        return series * square * x + x

    return exp, log, tanh


def _series_64(inline: Any, f: Any) -> tuple[Callable, Callable, Callable]:
    @inline
    def exp(r):
        square = r * r
        over = (1.26177193074810590878e-4 * square + 3.02994407707441961300e-2) * square
        over = (over + 9.99999999999999999910e-1) * r
        under = (3.00198505138664455042e-6 * square + 2.52448340349684104192e-3) * square
        under = (under + 2.27265548208155028766e-1) * square + 2.0
        return 1.0 + 2.0 * (over / (under - over))

    @inline
    def log(t, square):
        over = 1.01875663804580931796e-4 * t + 4.97494994976747001425e-1
        over = (over * t + 4.70579119878881725854) * t + 1.44989225341610930846e1
        over = (over * t + 1.79368678507819816313e1) * t + 7.70838733755885391666
        under = (t + 1.12873587189167450590e1) * t + 4.52279145837532221105e1
        under = (under * t + 8.29875266912776603211e1) * t + 7.11544750618563894466e1
        under = under * t + 2.31251620126765340583e1
        return t * (square * (over / under))

    @inline
    def tanh(x, square):
        over = -9.64399179425052238628e-1 * square - 9.92877231001918586564e1
        over = over * square - 1.61468768441708447952e3
        under = (square + 1.12811678491632931402e2) * square + 2.23548839060100448583e3
        under = under * square + 4.84406305325125486048e3
        return x + x * square * (over / under)

    return exp, log, tanh


SERIES = {"float32": _series_32, "float64": _series_64}
