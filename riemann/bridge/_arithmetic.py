"""Arithmetic, functions, choices and reductions of ATen over arrays of elements, by name."""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from riemann.bridge._digits import Digits
from riemann.bridge._functions import FUNCTIONS, Inexpressible, Undecided
from riemann.bridge._symbols import Symbols

Elements = Symbols | Digits | Any  # balls, too
OPERATIONS: dict[str, Callable[..., Any]] = {}


def operation(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function of the elements' arithmetic and the operation's arguments."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        OPERATIONS.update(dict.fromkeys(names, function))
        return function

    return register


def filled(shape: tuple[int, ...], entries: list[Any]) -> np.ndarray:
    y = np.empty(len(entries), dtype=object)
    for k, entry in enumerate(entries):
        y[k] = entry
    return y.reshape(shape)


def to_torch(a: Any) -> Any:
    if isinstance(a, np.ndarray) and a.dtype == object:
        raise Inexpressible("needs numbers where there are expressions")
    return torch.from_numpy(np.array(a)) if isinstance(a, np.ndarray) else a


# ----------------------------------------------------------------------------------------------------- elementwise


def each(E: Elements, f: Callable[..., Any], *args: Any) -> np.ndarray:
    """`f` entry by entry, over arrays and numbers, broadcast."""
    arrays = [of_elements(E, a) for a in args]
    shaped = np.broadcast_arrays(*arrays)
    return filled(shaped[0].shape, E.mapped(f, list(shaped)))


def of_elements(E: Elements, a: Any) -> np.ndarray:
    if not isinstance(a, np.ndarray):
        return filled((), [E.number(a)])
    return a if a.dtype == object else filled(a.shape, [E.number(c) for c in a.flat])


def _elementwise(name: str, f: Callable[..., Any]) -> None:
    OPERATIONS[name] = lambda E, *args: each(E, functools.partial(f, E), *args)


for _name in FUNCTIONS:
    OPERATIONS[_name] = lambda E, x, name=_name: each(E, functools.partial(E.call, name), x)
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    OPERATIONS[_name] = lambda E, x, y, name=_name: each(E, functools.partial(E.compare, name), x, y)
for _name, _f in {
    "neg": lambda E, x: -x,
    "reciprocal": lambda E, x: E.quotient(1, x),
    "square": lambda E, x: x * x,
    "mul": lambda E, x, y: x * y,
    "pow": lambda E, x, y: E.power(x, y),
    "atan2": lambda E, y, x: E.atan2(y, x),
    "hypot": lambda E, x, y: E.call("sqrt", x * x + y * y),
    "logaddexp": lambda E, x, y: E.call("log", E.call("exp", x) + E.call("exp", y)),
    "abs": lambda E, x: E.absolute(x),
    "sign": lambda E, x: E.sign(x),
    "sgn": lambda E, x: E.sign(x),
    "relu": lambda E, x: E.greatest([x, E.number(0)]),
    "maximum": lambda E, x, y: E.greatest([x, y]),
    "minimum": lambda E, x, y: -E.greatest([-x, -y]),
    "clamp_min": lambda E, x, y: E.greatest([x, y]),
    "clamp_max": lambda E, x, y: -E.greatest([-x, -y]),
}.items():
    _elementwise(_name, _f)


@operation("add")
def _add(E: Elements, x: Any, y: Any, alpha: Any = 1) -> Any:
    y = y if alpha == 1 else each(E, operator.mul, y, alpha)
    return each(E, operator.add, x, y)


@operation("sub")
def _sub(E: Elements, x: Any, y: Any, alpha: Any = 1) -> Any:
    return _add(E, x, y, -alpha)


@operation("rsub")
def _rsub(E: Elements, x: Any, y: Any, alpha: Any = 1) -> Any:
    return _add(E, y, x, -alpha)


@operation("div")
def _div(E: Elements, x: Any, y: Any, rounding_mode: Any = None) -> Any:
    if rounding_mode is not None:
        raise Inexpressible("rounds, which is constant between jumps")
    return each(E, E.quotient, x, y)


@operation("clamp")
def _clamp(E: Elements, x: Any, low: Any = None, high: Any = None) -> Any:
    x = x if low is None else OPERATIONS["clamp_min"](E, x, low)
    return x if high is None else OPERATIONS["clamp_max"](E, x, high)


@operation("polygamma")
def _polygamma(E: Elements, n: int, x: Any) -> Any:
    if f"polygamma_{n}" not in FUNCTIONS:
        raise Inexpressible("has no exact form of such an order")
    return each(E, functools.partial(E.call, f"polygamma_{n}"), x)


@operation("softplus")
def _softplus(E: Elements, x: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    def f(x: Any, b: Any, t: Any) -> Any:
        above = E.compare("gt", b * x, t)  # where torch takes x; an expression holds below
        if above is True:
            return x
        below = E.call("softplus", b * x) / b
        return E.choose(above, x, below) if isinstance(above, Undecided) else below

    return each(E, f, x, beta, threshold)


@operation("gelu")
def _gelu(E: Elements, x: Any, *, approximate: str = "none") -> Any:
    return OPERATIONS["gelu_tanh" if approximate == "tanh" else "gelu_erf"](E, x)


@operation("log_sigmoid_forward")
def _log_sigmoid(E: Elements, x: Any) -> Any:
    return each(E, lambda x: -E.call("softplus", -x), x), x


@operation("elu")
def _elu(E: Elements, x: Any, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> Any:
    return each(
        E, lambda x, a, s, t: E.choose(E.compare("gt", x, 0), s * x, a * s * E.call("expm1", t * x)),
        x, alpha, scale, input_scale,
    )  # fmt: skip


@operation("leaky_relu")
def _leaky_relu(E: Elements, x: Any, slope: Any = 0.01) -> Any:
    return each(E, lambda x, a: E.choose(E.compare("gt", x, 0), x, a * x), x, slope)


@operation("where")
def _where(E: Elements, condition: Any, x: Any, y: Any) -> Any:
    condition = condition if condition.dtype == object else condition.astype(object)
    x, y = of_elements(E, x), of_elements(E, y)
    condition, x, y = np.broadcast_arrays(condition, x, y)
    return filled(x.shape, [E.choose(*entries) for entries in zip(condition.flat, x.flat, y.flat, strict=True)])


@operation("isnan")
def _isnan(E: Elements, x: Any) -> Any:
    return each(E, lambda x: E.compare("ne", x, x), x)


@operation("isinf")
def _isinf(E: Elements, x: Any) -> Any:
    return each(E, lambda x: E.compare("eq", E.absolute(x), E.number(math.inf)), x)


# ------------------------------------------------------------------------------------------------------ reductions


def _fold(x: np.ndarray, dims: Any, keepdim: bool, f: Callable[[list[Any]], Any]) -> np.ndarray:
    """`f` of the entries along axes."""
    dims = range(x.ndim) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    over = sorted({d % x.ndim for d in dims}) if x.ndim else []
    kept = [d for d in range(x.ndim) if d not in over]
    shape = tuple(x.shape[d] for d in kept)
    lines = x.transpose(kept + over).reshape(math.prod(shape), -1) if x.size else np.empty((math.prod(shape), 0))
    y = filled(shape, [f(list(line)) for line in lines])
    return np.expand_dims(y, tuple(over)) if keepdim else y


@operation("sum")
def _sum(E: Elements, x: np.ndarray, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:
    return _fold(x, dim, keepdim, E.total)


@operation("mean")
def _mean(E: Elements, x: np.ndarray, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:
    return _fold(x, dim, keepdim, lambda line: E.quotient(E.total(line), E.number(len(line))))


@operation("prod")
def _prod(E: Elements, x: np.ndarray, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:
    return _fold(x, dim, keepdim, lambda line: functools.reduce(operator.mul, line, E.number(1)))


@operation("var")
def _var(E: Elements, x: np.ndarray, dim: Any = None, *, correction: Any = 1, keepdim: bool = False) -> Any:
    centred = _sub(E, x, _mean(E, x, dim, True))
    return _fold(
        each(E, lambda c: c * c, centred), dim, keepdim,
        lambda line: E.total(line) / E.number(len(line) - (1 if correction is None else correction)),
    )  # fmt: skip


@operation("amax")
def _amax(E: Elements, x: np.ndarray, dim: Any = None, keepdim: bool = False) -> Any:
    return _fold(x, dim, keepdim, E.greatest)


@operation("amin")
def _amin(E: Elements, x: np.ndarray, dim: Any = None, keepdim: bool = False) -> Any:
    return _fold(x, dim, keepdim, lambda line: -E.greatest([-c for c in line]))


@operation("max")
def _max(E: Elements, x: np.ndarray, dim: int | None = None, keepdim: bool = False) -> Any:
    y = _amax(E, x, dim, keepdim)
    return y if dim is None else (y, None)  # and where, which no derivative depends on


@operation("min")
def _min(E: Elements, x: np.ndarray, dim: int | None = None, keepdim: bool = False) -> Any:
    y = _amin(E, x, dim, keepdim)
    return y if dim is None else (y, None)


@operation("logsumexp")
def _logsumexp(E: Elements, x: np.ndarray, dim: Any = None, keepdim: bool = False) -> Any:
    return _fold(x, dim, keepdim, lambda line: E.call("log", E.total(E.call("exp", c) for c in line)))


@operation("_softmax")
def _softmax(E: Elements, x: np.ndarray, dim: int, half_to_float: bool = False) -> Any:
    powers = each(E, functools.partial(E.call, "exp"), x)
    return _div(E, powers, _sum(E, powers, dim, True))


@operation("_log_softmax")
def _log_softmax(E: Elements, x: np.ndarray, dim: int, half_to_float: bool = False) -> Any:
    return _sub(E, x, _logsumexp(E, x, dim, True))


@operation("embedding")
def _embedding(E: Elements, weight: np.ndarray, indices: np.ndarray, *_: Any) -> Any:
    return weight[indices]


@operation("_new_zeros_with_same_feature_meta")
def _zeros(E: Elements, x: Any, like: Any, *, self_num_batch_dims: int = 0) -> Any:
    shape = (*x.shape[:self_num_batch_dims], *like.shape)
    return filled(shape, [E.number(0)] * math.prod(shape))


@operation("cumsum")
def _cumsum(E: Elements, x: np.ndarray, dim: int, dtype: Any = None) -> Any:
    return np.cumsum(x, axis=dim) if x.ndim else x


@operation("scatter_add")
def _scatter_add(E: Elements, x: np.ndarray, dim: int, index: np.ndarray, source: np.ndarray) -> Any:
    y = x.copy()
    for place in np.ndindex(index.shape):
        at = (*place[:dim], index[place], *place[dim + 1 :])
        y[at] = y[at] + source[place]
    return y


@operation("index_put", "_unsafe_index_put")
def _index_put(E: Elements, x: np.ndarray, indices: Any, values: np.ndarray, accumulate: bool = False) -> Any:
    positions = torch.arange(x.size).reshape(x.shape)
    places = positions[tuple(slice(None) if i is None else to_torch(i) for i in indices)].numpy()
    y = x.copy().reshape(-1)
    for place, new in zip(places.flat, np.broadcast_to(values, places.shape).flat, strict=True):
        y[place] = y[place] + new if accumulate else new
    return y.reshape(x.shape)
