"""The operations of ATen over arrays of any elements: what runs a traced function in exact arithmetic.

Most operations only move elements: torch itself performs those on an array of the elements' positions.
What holds no elements at all (masks, indices, fresh constants) torch computes, too. The rest is the table `OPERATIONS`.
"""

import functools
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from riemann._digits import Digits
from riemann._functions import FUNCTIONS, Inexpressible
from riemann._symbols import Symbols

Elements = Symbols | Digits
OPERATIONS: dict[str, Callable[..., Any]] = {}
MOVES = frozenset(
    "view _unsafe_view reshape expand permute transpose t squeeze unsqueeze select slice diagonal unbind split "
    "split_with_sizes alias clone detach lift_fresh lift_fresh_copy _to_copy contiguous cat stack flip roll repeat "
    "select_scatter slice_scatter diagonal_scatter select_backward slice_backward diagonal_backward index index_select "
    "gather take index_fill copy fill masked_fill masked_scatter scatter tril triu diag_embed block_diag "
    "constant_pad_nd new_zeros new_ones new_empty new_full zeros_like ones_like empty_like full_like unfold "
    "as_strided_copy view_copy broadcast_tensors expand_copy permute_copy trace_copy".split()
)

def operation(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function of the elements' arithmetic and the operation's arguments."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        OPERATIONS.update(dict.fromkeys(names, function))
        return function

    return register


def perform(E: Elements, target: Any, args: tuple, kwargs: dict) -> Any:
    """One node of a graph: an operation, by name, on arrays of elements and of integers."""
    if target is operator.getitem:
        return args[0][args[1]]
    name = target._schema.name.split("::")[1]
    arrays = list(_arrays((args, tuple(kwargs.values()))))
    if not any(a.dtype == object for a in arrays):
        target = torch.ops.aten.zeros.default if name in ("empty", "_efficientzerotensor") else target
        return elements(E, target(*_mapped(_to_torch, args), **_mapped(_to_torch, kwargs)))
    if name in OPERATIONS:
        return _array(OPERATIONS[name](E, *args, **kwargs))
    if name in MOVES:
        return _moved(E, target, args, kwargs)
    raise Inexpressible("is no operation that can be expressed")


def elements(E: Elements, y: Any) -> Any:
    """What torch computed: floats become elements."""
    if isinstance(y, tuple | list):
        return type(y)(elements(E, part) for part in y)
    if not isinstance(y, Tensor):
        return y
    if y.is_complex():
        raise Inexpressible("makes complex numbers")
    a = y.detach().resolve_neg().cpu()
    if not a.is_floating_point():
        return a.numpy()
    a = (a if a.dtype == torch.float32 else a.double()).numpy()
    return np.array([*map(E.number, a.flat), None], dtype=object)[:-1].reshape(a.shape)


# ------------------------------------------------------------------------------------------------------ moving elements


def _moved(E: Elements, target: Any, args: tuple, kwargs: dict) -> Any:
    """The operation on positions in a pool of elements, whose first are 0 and 1."""
    pool: list[Any] = [E.number(0), E.number(1)]

    def deposit(a: Any) -> Any:
        if isinstance(a, np.ndarray) and a.dtype == object:
            start = len(pool)
            pool.extend(a.flat)
            return torch.arange(start, len(pool)).reshape(a.shape)
        return _to_torch(a)

    def deposit_number(a: Any) -> Any:
        pool.append(E.number(a))
        return len(pool) - 1

    names = [argument.name for argument in target._schema.arguments]
    fills = ("value", "fill_value")
    args = tuple(
        deposit_number(a) if names[k] in fills and not isinstance(a, np.ndarray) else _mapped(deposit, a)
        for k, a in enumerate(args)
    )
    kwargs = {
        key: deposit_number(a) if key in fills and not isinstance(a, np.ndarray) else _mapped(deposit, a)
        for key, a in kwargs.items()
        if key in fills or key not in ("dtype", "device", "layout", "pin_memory", "memory_format")
    }

    def withdraw(y: Any) -> Any:
        if isinstance(y, Tensor):
            source = np.array([*pool, None], dtype=object)
            return source[y.numpy()] if y.ndim else np.array(pool[int(y)], dtype=object)
        return y

    moved = target(*args, **kwargs)
    if target._schema.name.endswith(("empty", "empty_like")):
        moved = torch.zeros_like(moved)
    return _mapped(withdraw, moved)


def _mapped(f: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, tuple | list):
        return type(tree)(_mapped(f, branch) for branch in tree)
    if isinstance(tree, dict):
        return {key: _mapped(f, branch) for key, branch in tree.items()}
    return f(tree)


def _arrays(tree: Any) -> Iterator[np.ndarray]:
    if isinstance(tree, tuple | list):
        for branch in tree:
            yield from _arrays(branch)
    elif isinstance(tree, np.ndarray):
        yield tree


def _to_torch(a: Any) -> Any:
    if isinstance(a, np.ndarray) and a.dtype == object:
        raise Inexpressible("needs numbers where there are expressions")
    return torch.from_numpy(np.array(a)) if isinstance(a, np.ndarray) else a


def _array(y: Any) -> Any:
    """Numpy makes scalars of what has no axes; masks that are known are masks."""
    if isinstance(y, tuple):
        return tuple(map(_array, y))
    y = y if isinstance(y, np.ndarray) else _filled((), [y])
    return y.astype(bool) if y.dtype == object and y.size and all(isinstance(c, bool) for c in y.flat) else y


def _filled(shape: tuple[int, ...], entries: list[Any]) -> np.ndarray:
    y = np.empty(len(entries), dtype=object)
    for k, entry in enumerate(entries):
        y[k] = entry
    return y.reshape(shape)


# ----------------------------------------------------------------------------------------------------- elementwise


def _each(E: Elements, f: Callable[..., Any], *args: Any) -> np.ndarray:
    """`f` entry by entry, over arrays and numbers, broadcast."""
    arrays = [_of_elements(E, a) for a in args]
    shaped = np.broadcast_arrays(*arrays)
    return _filled(shaped[0].shape, [f(*entries) for entries in zip(*(a.flat for a in shaped), strict=True)])


def _of_elements(E: Elements, a: Any) -> np.ndarray:
    if not isinstance(a, np.ndarray):
        return _filled((), [E.number(a)])
    return a if a.dtype == object else _filled(a.shape, [E.number(c) for c in a.flat])


def _elementwise(name: str, f: Callable[..., Any]) -> None:
    OPERATIONS[name] = lambda E, *args: _each(E, functools.partial(f, E), *args)


for _name in FUNCTIONS:
    OPERATIONS[_name] = lambda E, x, name=_name: _each(E, functools.partial(E.call, name), x)
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    OPERATIONS[_name] = lambda E, x, y, name=_name: _each(E, functools.partial(E.compare, name), x, y)
for _name, _f in {
    "neg": lambda E, x: -x,
    "reciprocal": lambda E, x: 1 / x,
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
    "log_sigmoid_forward": lambda E, x: -E.call("softplus", -x),
}.items():
    _elementwise(_name, _f)


@operation("add")
def _add(E: Elements, x: Any, y: Any, alpha: Any = 1) -> Any:
    y = y if alpha == 1 else _each(E, operator.mul, y, alpha)
    return _each(E, operator.add, x, y)


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
    return _each(E, operator.truediv, x, y)


@operation("clamp")
def _clamp(E: Elements, x: Any, low: Any = None, high: Any = None) -> Any:
    x = x if low is None else OPERATIONS["clamp_min"](E, x, low)
    return x if high is None else OPERATIONS["clamp_max"](E, x, high)


@operation("softplus")
def _softplus(E: Elements, x: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    """By its formula: past the threshold torch takes x, which is another function by e^-20 at most."""
    return _each(E, lambda x, b: E.call("softplus", b * x) / b, x, beta)


@operation("where")
def _where(E: Elements, condition: Any, x: Any, y: Any) -> Any:
    condition = condition if condition.dtype == object else condition.astype(object)
    x, y = _of_elements(E, x), _of_elements(E, y)
    condition, x, y = np.broadcast_arrays(condition, x, y)
    return _filled(x.shape, [E.choose(*entries) for entries in zip(condition.flat, x.flat, y.flat, strict=True)])


@operation("isnan")
def _isnan(E: Elements, x: Any) -> Any:
    return _each(E, lambda x: E.compare("ne", x, x), x)


@operation("isinf")
def _isinf(E: Elements, x: Any) -> Any:
    return _each(E, lambda x: E.compare("eq", E.absolute(x), E.number(math.inf)), x)


# ------------------------------------------------------------------------------------------------------ reductions


def _fold(x: np.ndarray, dims: Any, keepdim: bool, f: Callable[[list[Any]], Any]) -> np.ndarray:
    """`f` of the entries along axes."""
    dims = range(x.ndim) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    over = sorted({d % x.ndim for d in dims}) if x.ndim else []
    kept = [d for d in range(x.ndim) if d not in over]
    shape = tuple(x.shape[d] for d in kept)
    lines = x.transpose(kept + over).reshape(math.prod(shape), -1) if x.size else np.empty((math.prod(shape), 0))
    y = _filled(shape, [f(list(line)) for line in lines])
    return np.expand_dims(y, tuple(over)) if keepdim else y


@operation("sum")
def _sum(E: Elements, x: np.ndarray, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:
    return _fold(x, dim, keepdim, E.total)


@operation("mean")
def _mean(E: Elements, x: np.ndarray, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:
    return _fold(x, dim, keepdim, lambda line: E.total(line) / E.number(len(line)))


@operation("prod")
def _prod(E: Elements, x: np.ndarray, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:
    return _fold(x, dim, keepdim, lambda line: functools.reduce(operator.mul, line, E.number(1)))


@operation("var")
def _var(E: Elements, x: np.ndarray, dim: Any = None, *, correction: Any = 1, keepdim: bool = False) -> Any:
    centred = _sub(E, x, _mean(E, x, dim, True))
    return _fold(
        _each(E, lambda c: c * c, centred), dim, keepdim,
        lambda line: E.total(line) / E.number(len(line) - (1 if correction is None else correction)),
    )  # fmt: skip


@operation("amax", "max")
def _amax(E: Elements, x: np.ndarray, dim: Any = None, keepdim: bool = False) -> Any:
    return _fold(x, dim, keepdim, E.greatest)


@operation("amin", "min")
def _amin(E: Elements, x: np.ndarray, dim: Any = None, keepdim: bool = False) -> Any:
    return _fold(x, dim, keepdim, lambda line: -E.greatest([-c for c in line]))


@operation("logsumexp")
def _logsumexp(E: Elements, x: np.ndarray, dim: Any = None, keepdim: bool = False) -> Any:
    return _fold(x, dim, keepdim, lambda line: E.call("log", E.total(E.call("exp", c) for c in line)))


@operation("_softmax")
def _softmax(E: Elements, x: np.ndarray, dim: int, half_to_float: bool = False) -> Any:
    powers = _each(E, functools.partial(E.call, "exp"), x)
    return _div(E, powers, _sum(E, powers, dim, True))


@operation("_log_softmax")
def _log_softmax(E: Elements, x: np.ndarray, dim: int, half_to_float: bool = False) -> Any:
    return _sub(E, x, _logsumexp(E, x, dim, True))


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
    places = positions[tuple(slice(None) if i is None else _to_torch(i) for i in indices)].numpy()
    y = x.copy().reshape(-1)
    for place, new in zip(places.flat, np.broadcast_to(values, places.shape).flat, strict=True):
        y[place] = y[place] + new if accumulate else new
    return y.reshape(x.shape)


# -------------------------------------------------------------------------------------------------- linear algebra


def _over_matrices(f: Callable[..., Any], *arrays: np.ndarray) -> Any:
    """`f` of the matrices on the last two axes, over the axes before them, which broadcast."""
    batch = np.broadcast_shapes(*(a.shape[:-2] for a in arrays))
    flat = [np.broadcast_to(a, batch + a.shape[-2:]).reshape(-1, *a.shape[-2:]) for a in arrays]
    results = [f(*matrices) for matrices in zip(*flat, strict=True)]
    return _filled((*batch, *results[0].shape), [c for result in results for c in result.flat])


@operation("mm", "bmm")
def _matmul(E: Elements, A: Any, B: Any) -> np.ndarray:
    return _over_matrices(E.matmul, _of_elements(E, A), _of_elements(E, B))


@operation("mv")
def _mv(E: Elements, A: Any, v: Any) -> np.ndarray:
    return _matmul(E, A, v[:, None])[:, 0]


@operation("dot", "vdot")
def _dot(E: Elements, u: Any, v: Any) -> np.ndarray:
    return _matmul(E, u[None, :], v[:, None])[0, 0]


@operation("addmm", "baddbmm", "addmv")
def _addmm(E: Elements, C: Any, A: Any, B: Any, beta: Any = 1, alpha: Any = 1) -> np.ndarray:
    product = _mv(E, A, B) if B.ndim == 1 else _matmul(E, A, B)
    scaled = C if beta == 1 else _each(E, operator.mul, C, beta)
    return _add(E, scaled, product, alpha)


@operation("linalg_cross")
def _cross(E: Elements, u: np.ndarray, v: np.ndarray, dim: int = -1) -> np.ndarray:
    (a, b, c), (d, e, f) = (np.moveaxis(w, dim, 0) for w in np.broadcast_arrays(u, v))
    return np.stack([b * f - c * e, c * d - a * f, a * e - b * d], axis=dim)


@operation("linalg_inv_ex")
def _inverse(E: Elements, A: np.ndarray, check_errors: bool = False) -> Any:
    return _over_matrices(E.inverse, A), np.zeros(A.shape[:-2], dtype=int)


@operation("linalg_cholesky_ex")
def _cholesky(E: Elements, A: np.ndarray, upper: bool = False, check_errors: bool = False) -> Any:
    def factor(A: np.ndarray) -> np.ndarray:
        L = _filled(A.shape, [E.number(0)] * A.size)
        for j in range(len(A)):
            L[j, j] = E.call("sqrt", E.clean(A[j, j] - E.total(c * c for c in L[j, :j])))
            for i in range(j + 1, len(A)):
                products = E.total(a * b for a, b in zip(L[i, :j], L[j, :j], strict=True))
                L[i, j] = E.clean((A[i, j] - products) / L[j, j])
        return L.T if upper else L

    return _over_matrices(factor, A.swapaxes(-2, -1) if upper else A), np.zeros(A.shape[:-2], dtype=int)


@operation("linalg_solve_triangular")
def _solve_triangular(
    E: Elements, A: np.ndarray, B: np.ndarray, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> np.ndarray:
    def solve(A: np.ndarray, B: np.ndarray) -> np.ndarray:
        X, n = _filled(B.shape, [E.number(0)] * B.size), len(A)
        for i in reversed(range(n)) if upper else range(n):
            done = slice(i + 1, n) if upper else slice(0, i)
            for k in range(B.shape[1]):
                rest = B[i, k] - E.total(a * x for a, x in zip(A[i, done], X[done, k], strict=True))
                X[i, k] = E.clean(rest if unitriangular else rest / A[i, i])
        return X

    A, B = _of_elements(E, A), _of_elements(E, B)
    if left:
        return _over_matrices(solve, A, B)
    upper = not upper
    return _over_matrices(lambda A, B: solve(A.T, B.T).T, A, B)


@operation("cholesky_solve")
def _cholesky_solve(E: Elements, B: np.ndarray, L: np.ndarray, upper: bool = False) -> np.ndarray:
    L = L.swapaxes(-2, -1) if upper else L
    Y = _solve_triangular(E, L, B, upper=False)
    return _solve_triangular(E, L.swapaxes(-2, -1), Y, upper=True)


@operation("linalg_lu_factor_ex")
def _lu_factor(E: Elements, A: np.ndarray, pivot: bool = True, check_errors: bool = False) -> Any:
    def factor(A: np.ndarray) -> np.ndarray:
        LU, pivots = A.copy(), []
        for k in range(len(A)):
            p = k + (E.pivot(list(LU[k:, k])) if pivot else 0)
            pivots.append(p + 1)
            LU[[k, p]] = LU[[p, k]]
            for i in range(k + 1, len(A)):
                LU[i, k] = E.clean(LU[i, k] / LU[k, k])
                LU[i, k + 1 :] = [E.clean(a - LU[i, k] * b) for a, b in zip(LU[i, k + 1 :], LU[k, k + 1 :], strict=True)]
        return np.column_stack([LU, _filled((len(A),), pivots)])

    n = A.shape[-1]
    both = _over_matrices(factor, A)
    return both[..., :n], both[..., n].astype(int), np.zeros(A.shape[:-2], dtype=int)


@operation("lu_unpack")
def _lu_unpack(
    E: Elements, LU: np.ndarray, pivots: np.ndarray, unpack_data: bool = True, unpack_pivots: bool = True
) -> Any:
    n, zero, one = LU.shape[-1], E.number(0), E.number(1)
    eye = np.eye(n, dtype=bool)
    L = np.where(eye, one, np.where(np.tri(n, k=-1, dtype=bool), LU, zero))
    U = np.where(np.tri(n, k=-1, dtype=bool), zero, LU)
    P, _, _ = torch.lu_unpack(torch.zeros(LU.shape), torch.from_numpy(pivots.astype(np.int32)), unpack_data=False)
    return elements(E, P), L, U


@operation("linalg_matrix_exp")
def _matrix_exp(E: Elements, A: np.ndarray) -> np.ndarray:
    return _over_matrices(E.exponential, A)


KNOWN = frozenset((*MOVES, *OPERATIONS))  # what torch need not decompose
