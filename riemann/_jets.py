"""The one room that differentiates: jets, Jacobian-vector and vector-Jacobian products of a user's function.

Everything is forward mode over `vmap` (also for one point: a data-dependent branch or a number taken out of a tensor
raises there instead of being differentiated to 0), with the function under `riemann._safe.Safe`.
"""

import contextlib
import functools
import math
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch._C import _functorch

from riemann import _arithmetic, _safe
from riemann._points.chunks import has_values as has_values
from riemann._points.chunks import in_chunks
from riemann._points.faults import first as first
from riemann._points.one_point import at_one_point, explained
from riemann._precision import full_precision
from riemann._recorder import recorded
from riemann._types import ChunkSize, Field, Progress

# ----------------------------------------------------------------------------------------- the public functions


def jet(
    f: Field,
    x: Float[Tensor, "*batch n"],
    order: int = 2,
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> tuple[Tensor, ...]:
    r"""Value and derivatives of a tensor field: $f,\ \partial_i f,\ \partial_i \partial_j f$, and so on.

    Args:
        f: field, one point `(n,)` to a tensor of any shape `(*s)`; called once a piece, and once to be weighed.
        x: points, `(*batch, n)`, floating point.
        order: highest derivative, 0 or more.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `order + 1` tensors: `(*batch, *s)`, `(*batch, *s, n)`, `(*batch, *s, n, n)`, …, derivative axes last.

    Raises:
        TypeError: `x` is no floating-point tensor, or `f` does not return a tensor.
        ValueError: `x` is not finite, `f` drops derivatives, or it calls what torch differentiates wrongly.

    Note:
        Forward mode throughout: `n**order` tangents a point. Differentiable again, `vmap`-able.

    Example:
        >>> jet(lambda x: x[0] * x[1], torch.tensor([2.0, 3.0]), 1)
        (tensor(6.), tensor([3., 2.]))
    """
    check_count("order", order, 0)

    check_points(x)

    def jets(x: Tensor) -> tuple[Tensor, ...]:
        return jets_at(f, x, order)

    return in_chunks(jets, x, rank=2 + order, light=weight_of(f), chunk_size=chunk_size, progress=progress)


def jvp(
    f: Field,
    x: Float[Tensor, "*#batch n"],
    v: Float[Tensor, "*#batch n"],
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> tuple[Tensor, Tensor]:
    r"""Value and derivative along a vector: $f(x),\ v^i \partial_i f(x)$.

    Args:
        f: field, one point `(n,)` to a tensor of any shape `(*s)`.
        x: points, `(*batch, n)`.
        v: vectors, broadcast against `x`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        Two tensors `(*batch, *s)`.

    Raises:
        TypeError, ValueError: as `jet`.

    Example:
        >>> jvp(lambda x: x**2, torch.tensor([2.0, 3.0]), torch.tensor([1.0, 0.0]))
        (tensor([4., 9.]), tensor([4., 0.]))
    """
    x, v = broadcast_vectors(x, v=v)

    def pushed(x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return over_points(lambda p, v: along(safe(f, p, 1), p, v), x, v)

    return in_chunks(pushed, x, v, rank=2, light=weight_of(f), chunk_size=chunk_size, progress=progress)


def vjp(
    f: Field,
    x: Float[Tensor, "*batch n"],
    w: Float[Tensor, "..."],
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> tuple[Tensor, Tensor]:
    r"""Value and pulled-back covector: $f(x),\ w_A \partial_i f^A(x)$.

    Args:
        f: field, one point `(n,)` to a tensor of any shape `(*s)`.
        x: points, `(*batch, n)`.
        w: covectors, `(*batch, *s)`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch, *s)` and `(*batch, n)`.

    Raises:
        TypeError, ValueError: as `jet`.

    Example:
        >>> vjp(lambda x: x**2, torch.tensor([2.0, 3.0]), torch.tensor([1.0, 1.0]))
        (tensor([4., 9.]), tensor([4., 6.]))
    """

    def at_point(p: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        y, pull = pulling(safe(f, p, 1), p)
        if (w.shape, w.dtype, w.device) != (y.shape, y.dtype, y.device):
            raise ValueError(
                f"`w` is {tuple(w.shape)}, {w.dtype} on {w.device} at one point, where the function is "
                f"{tuple(y.shape)}, {y.dtype} on {y.device}; a covector has the shape of the value, and leads with the "
                "batch of `x`"
            )
        return y, pull(w)

    check_points(x)
    if not isinstance(w, Tensor) or w.shape[: x.ndim - 1] != x.shape[:-1]:
        shape = tuple(w.shape) if isinstance(w, Tensor) else type(w).__name__
        raise ValueError(f"`w` is {shape}, expected a tensor {tuple(x.shape[:-1])} + the shape of the function's value")
    check_dense("w", w)

    def pulled(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        return over_points(at_point, x, w)

    return in_chunks(pulled, x, w, rank=2, light=weight_of(f), chunk_size=chunk_size, progress=progress)


def recorded_gradients(value: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of a scalar with respect to tensors that it was computed from, such as parameters.

    Args:
        value: a scalar with a graph, which is kept.
        tensors: what to differentiate by.

    Returns:
        One gradient a tensor, of its shape; zeros where the value does not depend on it. `.grad` is not touched.

    Example:
        >>> w = torch.ones(2, requires_grad=True)
        >>> recorded_gradients((w**2).sum(), [w])
        (tensor([2., 2.]),)
    """
    return torch.autograd.grad(value, tensors, retain_graph=True, allow_unused=True, materialize_grads=True)


# ------------------------------------------------------------------------------------------- many points at once


def jets_at(f: Field, x: Tensor, order: int, name: str = "function") -> tuple[Tensor, ...]:
    """`(f, df, ddf, …)` at points `(*batch, n)`, derivative axes last; messages call the function `name`."""
    _load_decompositions()
    batch, n = x.shape[:-1], x.shape[-1]
    flat = x.reshape(-1, n) if batch.numel() else x.new_ones(1, n)  # shapes come from a point that stands in
    with _explaining(flat), full_precision(x.device.type):
        push = _arithmetic.derivatives
        if "torch._dynamo" in sys.modules:
            push = torch.compiler.disable(push)
        found = push(safe(f, x, order, name), flat, order, name)
    return tuple(y[: batch.numel()].reshape((*batch, *y.shape[1:])) for y in found)


@contextlib.contextmanager
def _explaining(x: Tensor) -> Iterator[None]:
    """Errors of a user's function at points `(points, n)`, told in the user's terms by the outermost call."""
    try:
        yield
    except Exception as error:
        if not has_values(x):
            raise
        raise explained(error, x[0]) from None


def _at_the_surface(f: Field, y: Tensor, name: str) -> Any:
    """A user's function of a jet; its errors are marked, for the outermost call to explain."""
    try:
        with _safe._eager():
            return _arithmetic.at_the_surface(f, y, name)
    except Exception as error:
        if "INTERNAL ASSERT FAILED" in str(error):
            raise _safe.Refusal(
                f"the {name} takes derivatives, or maps, in a way that torch does not over values which are "
                "differentiated outside, too: use `torch.func.jacrev` instead of `jacfwd`, and give tensors of a "
                "transform around riemann as parameters of a module, with `backward`"
            ) from error
        if not hasattr(error, "riemann_call"):
            error.riemann_call = f, name  # type: ignore[attr-defined]
        raise


# --------------------------------------------------------------------- one point, inside `over_points`


def safe(f: Field, x: Tensor, order: int, name: str = "function", traced: _safe.Traced = None) -> Field:
    """`f` as it may be differentiated at points like x (or be traced there); its value is checked to be like x."""
    if not callable(f):
        raise TypeError(f"`{name}` is a {type(f).__name__}, expected a callable of one point of shape (n,)")
    level, dtype, device = _functorch.maybe_get_level(x), x.dtype, x.device
    inner = _safe.unwrapped(f)
    if isinstance(inner, torch.nn.Module):
        inner = functools.partial(at_one_point, inner)

    def field(y: Tensor) -> Tensor:
        if isinstance(y, _arithmetic.Jet):
            value = _at_the_surface(inner, y, name)
        else:
            if not traced:
                _safe.audit(f, lambda: _safe.call(inner, x.clone(), level, name, 0), name)
            value = _safe.call(inner, y, level, name, order, traced)
        if not isinstance(value, Tensor):
            raise TypeError(f"`{name}` returned {type(value).__name__} at one point, expected a torch.Tensor")
        if value.dtype != dtype or value.device != device:
            raise ValueError(
                f"`{name}` returned {value.dtype} on {value.device} for a point in {dtype} on {device}; make its "
                "constants with `dtype=x.dtype, device=x.device`, or move x"
            )
        return value

    return field


def derivatives(f: Field, x: Tensor, order: int) -> tuple[Tensor, ...]:
    """`(f, df, ddf, …)` at one point by nested forward mode: one call of `f`."""

    def lift(lower: Callable[[Tensor], tuple[Tensor, ...]]) -> Callable[[Tensor], tuple[Tensor, ...]]:
        def highest_first(y: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            jets = lower(y)
            return jets[-1], jets

        def lifted(y: Tensor) -> tuple[Tensor, ...]:
            d, jets = torch.func.jacfwd(highest_first, has_aux=True)(y)
            return (*jets, d)

        return lifted

    jets: Callable[[Tensor], tuple[Tensor, ...]] = lambda y: (f(y),)  # noqa: E731
    for _ in range(order):
        jets = lift(jets)
    return jets(x)


def along(f: Callable[[Tensor], Any], x: Tensor, v: Tensor) -> tuple[Any, Any]:
    """`f` and its derivative along `v` at one point."""
    return torch.func.jvp(f, (x,), (v,))


def along_twice(f: Field, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`f, D_u f, D_v f, D_u D_v f` at one point."""
    (y, dv), (du, dudv) = along(lambda p: along(f, p, v), x, u)
    return y, du, dv, dudv


def pulling(f: Field, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """`f` at one point, and the map that pulls covectors of its values back to the point."""
    y, pull, *_ = torch.func.vjp(f, x)
    return y, lambda w: pull(w)[0]


def second_derivatives_in_blocks(f: Field, x: Tensor, size: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """`D_k f` and `D_l D_k f` at one point for `size` values of l at a time: half of the second derivatives is enough.

    Yields:
        The first l of the block, `[k, ...]` and `[l, k, ...]` for the l of the block and all k up to its last l. The
        inner tangents are shared by the l of a block.
    """
    basis = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    for start in range(0, len(basis), size):
        block, upto = basis[start : start + size], basis[: start + size]

        def first(y: Tensor, upto: Tensor = upto) -> Tensor:
            return over_vectors(lambda k: along(f, y, k)[1], upto)

        df, ddf = over_vectors(lambda l: along(first, x, l), block)
        yield start, df[0], ddf


def over_vectors(f: Callable[..., Any], *vectors: Any, chunk_size: int | None = None) -> Any:
    """`f` at many vectors (first axis of each argument) and one point."""
    return torch.func.vmap(f, chunk_size=chunk_size)(*vectors)


def frozen(f: Callable[..., Any], *tensors: Tensor) -> Any:
    """`f` of the values of tensors, a constant: for choices (of a frame, of a sign) that no derivative goes through."""
    with torch._C.DisableTorchFunction(), torch.no_grad():
        return f(*map(_arithmetic.frozen, tensors))


def detached(x: Tensor) -> Tensor:
    """`x` cut off from its gradients; as it is inside transforms, which see that it is no output."""
    return x.detach() if torch.compiler.is_compiling() or has_values(x) else x


# ------------------------------------------------------------------------------ tensors whose derivatives are given


def once(x: Tensor, name: str) -> Tensor:
    """`x`, whose first derivatives are right and whose second would not be: they raise."""
    return _Once.apply(x, name)


class _Once(torch.autograd.Function):
    """The identity, of which derivatives go through `_Never`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, name: str) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.name = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Never.apply(grad, ctx.name), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return _Never.apply(tangent, ctx.name)


class _Never(_Once):
    """The identity, of which derivatives raise."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        raise RuntimeError(f"`{ctx.name}` has first derivatives only, those of the implicit function")

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return _Never.backward(ctx, tangent)[0]


# ------------------------------------------------------------------------------------------------- many points


_ALONE = threading.RLock()  # torch's levels of forward mode are those of the process, not of the thread


def over_points(f: Callable[..., Any], x: Tensor, *arguments: Tensor) -> Any:
    """`f(x, *arguments)`, a function of one point, over `x` of shape `(*batch, n)`; arguments lead with `batch`.

    Under `vmap`, where `along` and its like take forward-mode derivatives: of given vectors, without full jets.
    """
    check_points(x)
    _load_decompositions()
    batch = x.shape[:-1]
    count = math.prod(batch)
    flat = [a.reshape((count, *a.shape[len(batch) :])) for a in (x, *arguments)]
    flat[0] = flat[0].clone()  # the user's function may write into its point
    if count == 0:  # shapes come from a point that stands in
        flat = [a.new_ones(1, *a.shape[1:]) for a in flat]
    mapped = torch.func.vmap(f)
    if "torch._dynamo" in sys.modules:
        mapped = torch.compiler.disable(mapped)
    with _explaining(flat[0]), _ALONE, full_precision(x.device.type):
        results = mapped(*flat)

    def unflatten(y: Any) -> Any:
        if isinstance(y, tuple):
            parts = [unflatten(part) for part in y]
            return type(y)(*parts) if hasattr(y, "_fields") else tuple(parts)
        if y._is_zerotensor():  # what torch gives for no derivative cannot be written to
            y = torch.zeros_like(y)
        elif any(step == 0 and size > 1 for step, size in zip(y.stride(), y.shape, strict=True)):  # nor this
            y = y.clone(memory_format=torch.contiguous_format)
        return y[:count].reshape((*batch, *y.shape[1:]))

    return unflatten(results)


def weight_of(*functions: Any) -> Callable[[Tensor], float]:
    """The bytes that functions of a point make at points, for their values; remembered while the functions live."""

    def of_one(f: Any, x: Tensor) -> float:
        key = x.shape, x.dtype, x.device
        try:
            known = _WEIGHTS.setdefault(f, {})
        except TypeError:  # it has no hash, or cannot be referred to weakly
            known = {}
        if key not in known:
            try:
                with torch.no_grad():
                    known[key] = float(_arithmetic.weight(safe(f, x, 0), x))
            except Exception:  # the call itself says it better
                return math.inf
        return known[key]

    return lambda x: sum((of_one(f, x.detach()) for f in functions), 0.0)


_WEIGHTS: weakref.WeakKeyDictionary[Any, dict[tuple, float]] = weakref.WeakKeyDictionary()


def unsafe_values(f: Field, x: Tensor) -> Tensor:
    """What plain `torch.func.vmap` makes of f, points `(points, n)`, for comparison."""
    with _ALONE:
        return torch.func.vmap(f)(x)


def with_tensors(module: torch.nn.Module, tensors: dict[str, Tensor], x: Tensor) -> Any:
    """`module(x)` with other parameters and buffers, by name."""
    return torch.func.functional_call(module, tensors, (x,))


def operations(f: Callable[..., Tensor], known: Container[str], *arguments: Tensor) -> torch.fx.GraphModule:
    """The ATen operations of a function of one point, without side effects; what is not `known` torch decomposes.

    Tensors lead with one axis of length 1, that of `vmap`. Nothing is checked at the arguments: their values are used
    for no more than shapes.
    """
    from torch._decomp import core_aten_decompositions

    _load_decompositions()
    table = {op: rule for op, rule in core_aten_decompositions().items() if op._schema.name.split("::")[1] not in known}
    table[torch.ops.aten._linalg_check_errors.default] = lambda *_, **__: None
    with torch.no_grad(), _ALONE:
        return recorded(torch.func.functionalize(torch.func.vmap(f)), [a.unsqueeze(0) for a in arguments], table)


@functools.cache
def _load_decompositions() -> None:
    """Loads what forward mode loads at its first use, without the deprecation warnings that torch gives itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch._decomp.decompositions_for_jvp  # noqa: F401


def check_count(name: str, value: int, least: int) -> None:
    """Raises unless an argument is a whole number, `least` or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"`{name}` is {value!r}, expected a whole number, {least} or more")


def check_points(x: Tensor) -> None:
    """Raises unless `x` is a tensor of finite floating-point coordinates `(*batch, n)`."""
    if not isinstance(x, Tensor):
        make = "torch.from_numpy(x)" if type(x).__module__ == "numpy" else "torch.tensor(x)"
        raise TypeError(f"`x` is a {type(x).__name__}, expected a torch.Tensor of shape (*batch, n); use `{make}`")
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"`x` has dtype {x.dtype}, expected float64 (or float32); use `x.double()`")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"`x` has shape {tuple(x.shape)}, expected (*batch, n): coordinates on the last axis")
    check_dense("x", x)
    if has_values(x) and not bool(torch.isfinite(x).all()):
        where = first(~torch.isfinite(x).all(-1))
        raise ValueError(f"`x` is not finite at {where}: {x[where].tolist()}; remove such points")


def check_dense(name: str, x: Tensor) -> None:
    """Raises for sparse tensors, of which torch can do little here."""
    if x.layout != torch.strided:
        raise TypeError(f"`{name}` is sparse, expected a dense tensor; use `{name}.to_dense()`")


def check_unmapped(*tensors: Tensor) -> None:
    """Raises under a `vmap` that hides values from an algorithm that needs them."""
    for x in tensors:
        if x.is_meta:
            raise ValueError("a solver looks at values, and tensors on the device `meta` have none")
        while _functorch.is_functorch_wrapped_tensor(x):
            if _functorch.is_batchedtensor(x):
                raise RuntimeError(
                    "a solver that chooses its steps looks at values, which `vmap` hides: give it all points at once, "
                    "of shape (*batch, n). `backward`, `torch.func.grad` and `torch.func.jvp` work"
                )
            x = _functorch.get_unwrapped(x)


def carry_derivatives(*tensors: Tensor) -> bool:
    """Whether derivatives of one of the tensors may be asked for."""
    return any(x.requires_grad or not has_values(x) for x in tensors)


def broadcast_vectors(x: Tensor, **vectors: Tensor) -> tuple[Tensor, ...]:
    """`x` and vectors with one common batch shape; raises unless all are alike in n, dtype and device."""
    check_points(x)
    for name, v in vectors.items():
        if not isinstance(v, Tensor):
            raise TypeError(f"`{name}` is a {type(v).__name__}, expected a torch.Tensor of shape (*batch, n)")
        check_dense(name, v)
        if v.ndim == 0 or v.shape[-1] != x.shape[-1]:
            raise ValueError(f"`{name}` has shape {tuple(v.shape)}, expected (*batch, {x.shape[-1]}), as `x`")
        if v.dtype != x.dtype or v.device != x.device:
            raise ValueError(
                f"`{name}` is {v.dtype} on {v.device}, but `x` is {x.dtype} on {x.device}; use `{name}.to(x)`"
            )
    try:
        return torch.broadcast_tensors(x, *vectors.values())
    except RuntimeError as error:
        shapes = ", ".join(f"`{name}` {tuple(v.shape)}" for name, v in {"x": x, **vectors}.items())
        raise ValueError(f"batch shapes do not broadcast: {shapes}") from error
