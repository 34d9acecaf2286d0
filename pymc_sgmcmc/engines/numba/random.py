"""Random numbers of the Numba engine: a function of a key and a counter, nothing in between.

Threefry-2x32 with 20 rounds: Salmon, Moraes, Dror & Shaw (2011), Parallel random numbers: as easy
as 1, 2, 3, SC11. JAX uses it too. These loops run in the processor's vector units, where a normal
number takes about a nanosecond; a ziggurat takes five to nine.
"""

import math

import numpy as np
from numba import njit

_u32, _u64, _i32, _f32 = np.uint32, np.uint64, np.int32, np.float32

# Streams of one update: what the second word of the counter stands for.
NOISE, ROWS, ESCAPE = _u32(0), _u32(1), _u32(2)

# ln m ≈ t − t²/2 + t³ P(t) with t = m − 1, for m in [√½, √2): Moshier (1992), Cephes, logf.
_LOG = (
    _f32(7.0376836292e-2),
    _f32(-1.1514610310e-1),
    _f32(1.1676998740e-1),
    _f32(-1.2420140846e-1),
    _f32(1.4249322787e-1),
    _f32(-1.6668057665e-1),
    _f32(2.0000714765e-1),
    _f32(-2.4999993993e-1),
    _f32(3.3333331174e-1),
)
# sin x ≈ x + x³ P(x²) and cos x ≈ 1 − x²/2 + x⁴ P(x²), for |x| ≤ π/4: Cephes, sinf and cosf.
_SIN = (_f32(-1.9515295891e-4), _f32(8.3321608736e-3), _f32(-1.6666654611e-1))
_COS = (_f32(2.443315711809948e-5), _f32(-1.388731625493765e-3), _f32(4.166664568298827e-2))
_SQRT_HALF = _i32(0x3F3504F3)  # the bits of √½
_MANTISSA = _i32(0x007FFFFF)

_FEISTEL_ROUNDS = 8

_vectorised = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})


@njit(cache=True)
def _round(x, y, turn):
    x = _u32(x + y)
    return x, _u32(_u32(_u32(y << _u32(turn)) | _u32(y >> _u32(32 - turn))) ^ x)


@njit(cache=True)
def _even_rounds(x, y):
    x, y = _round(x, y, 13)
    x, y = _round(x, y, 15)
    x, y = _round(x, y, 26)
    return _round(x, y, 6)


@njit(cache=True)
def _odd_rounds(x, y):
    x, y = _round(x, y, 17)
    x, y = _round(x, y, 29)
    x, y = _round(x, y, 16)
    return _round(x, y, 24)


@njit(cache=True)
def threefry(key0, key1, count0, count1):
    """Two random numbers of 32 bits from a key of two and a counter of two."""
    key2 = _u32(key0 ^ key1 ^ _u32(0x1BD11BDA))
    x, y = _even_rounds(_u32(count0 + key0), _u32(count1 + key1))
    x, y = _odd_rounds(_u32(x + key1), _u32(y + key2 + _u32(1)))
    x, y = _even_rounds(_u32(x + key2), _u32(y + key0 + _u32(2)))
    x, y = _odd_rounds(_u32(x + key0), _u32(y + key1 + _u32(3)))
    x, y = _even_rounds(_u32(x + key1), _u32(y + key2 + _u32(4)))
    return _u32(x + key2), _u32(y + key0 + _u32(5))


@njit(cache=True, fastmath={"contract", "nsz"})
def _log(x):
    """Natural logarithm of a positive normal number."""
    bits = _i32(_f32(x).view(np.int32) - _SQRT_HALF)
    exponent = _f32(_i32(bits >> _i32(23)))
    t = _i32(_i32(bits & _MANTISSA) + _SQRT_HALF).view(np.float32) - _f32(1)
    series = _LOG[0]
    for i in range(1, len(_LOG)):
        series = series * t + _LOG[i]
    square = t * t
    return series * t * square - _f32(0.5) * square + t + exponent * _f32(math.log(2))


@njit(cache=True, fastmath={"contract", "nsz"})
def _cos_sin(turns):
    """Cosine and sine of 2π `turns`, for |turns| ≤ 1/2."""
    quarters = np.floor(_f32(4) * turns + _f32(0.5))
    x = (turns - _f32(0.25) * quarters) * _f32(2 * math.pi)
    square = x * x
    sine = ((_SIN[0] * square + _SIN[1]) * square + _SIN[2]) * square * x + x
    cosine = ((_COS[0] * square + _COS[1]) * square + _COS[2]) * square * square
    cosine = cosine - _f32(0.5) * square + _f32(1)
    quadrant = _i32(quarters)
    swapped = (quadrant & _i32(1)) != 0
    c, s = (sine, cosine) if swapped else (cosine, sine)
    c = -c if (_i32(quadrant + _i32(1)) & _i32(2)) != 0 else c
    s = -s if (quadrant & _i32(2)) != 0 else s
    return c, s


@njit(inline="always")  # or the loop over it is not vectorised
def _two_normals(key0, key1, count, stream):
    x, y = threefry(key0, key1, count, stream)
    radius = np.sqrt(_f32(-2) * _log((_f32(x) + _f32(0.5)) * _f32(2.0**-32)))
    cosine, sine = _cos_sin(_f32(_i32(y)) * _f32(2.0**-32))
    return radius * cosine, radius * sine


@_vectorised
def normals(key0, key1, stream, out):
    """Fill `out` with standard normals, which have 32 bits each in either precision.

    Box & Muller (1958). The largest has an absolute value of 6.8.
    """
    pairs = out.size // 2
    first, second = out[:pairs], out[pairs:]
    for i in range(pairs):
        first[i], second[i] = _two_normals(key0, key1, _u32(i), stream)
    if out.size > 2 * pairs:
        second[pairs] = _two_normals(key0, key1, _u32(pairs), stream)[0]


@_vectorised
def random_rows(key0, key1, stream, n, out):
    """Fill `out` with rows out of `n` < 2³², each of them drawn from all."""
    for i in range(out.size):
        x, y = threefry(key0, key1, _u32(i), stream)
        # The high word of n times a fraction of 64 bits.
        low = _u64(y) * _u64(n) >> _u64(32)
        out[i] = (_u64(x) * _u64(n) + low) >> _u64(32)


@njit(cache=True, nogil=True, error_model="numpy")
def random_subset(key0, key1, stream, n, out, first=0):
    """Fill `out` with different rows out of `n`; every subset is equally likely.

    The images of first, first + 1, ... under a pseudo-random permutation, as in
    `engines.jax.subsets`.
    """
    side = int(np.ceil(np.sqrt(n)))
    rows, columns = _u32(side), _u32(-(-n // side))
    keys = np.empty(_FEISTEL_ROUNDS, np.uint32)
    for i in range(0, _FEISTEL_ROUNDS, 2):
        keys[i], keys[i + 1] = threefry(key0, key1, _u32(i), stream)
    for i in range(out.size):
        x = _permuted(_u32(first + i), rows, columns, keys)
        while x >= n:
            x = _permuted(x, rows, columns, keys)
        out[i] = x


@njit(cache=True, error_model="numpy")
def _permuted(x, rows, columns, keys):
    row = _u32(x // columns)
    column = _u32(x - row * columns)
    for i in range(0, _FEISTEL_ROUNDS, 2):
        row = _u32(row + _below(rows, _u32(column ^ keys[i])))
        row = row if row < rows else _u32(row - rows)
        column = _u32(column + _below(columns, _u32(row ^ keys[i + 1])))
        column = column if column < columns else _u32(column - columns)
    return _u32(row * columns + column)


@njit(cache=True)
def _below(n, x):
    """Hash 32 bits, as MurmurHash3 ends, to a number below n."""
    x = _u32(x * _u32(0x9E3779B1))
    x = _u32(_u32(x ^ _u32(x >> _u32(16))) * _u32(0x85EBCA6B))
    x = _u32(_u32(x ^ _u32(x >> _u32(13))) * _u32(0xC2B2AE35))
    x = _u32(x ^ _u32(x >> _u32(16)))
    return _u32(_u64(x) * _u64(n) >> _u64(32))
