"""Open functions: a function of a metric whose type may bring a cheaper exact route of its own."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._jets import weight_of
from riemann._modules import runs_as_written, unwrapped
from riemann._points.checks import broadcast_vectors, check_points
from riemann._points.chunks import in_chunks
from riemann._precision import full_precision

VECTORS = ("u", "v", "w")  # arguments that are vectors, and broadcast against the points


def open_function(rank: int | None, judge: Callable[..., Tensor] | None = None) -> Callable[[Callable[..., Any]], Any]:
    """A function `(metric, x, …)`, dispatched on the type of the metric in the manner of `functools.singledispatch`.

    The result has `.register(Type)`, a decorator for the route of that type, and `.route(metric)`, the name of the
    route that a call would take. Wrappers that keep a metric's meaning (DDP, `torch.compile`) are seen through. A
    metric that is evaluated otherwise than its type takes the generic route: see `dispatched`.

    Args:
        rank: the largest arrays hold `n**rank` numbers a point. The function and its routes are called piece by piece
            (`in_chunks`); `chunk_size` and `progress` stop here. None: the function cuts its points itself.
        judge: looks at each result, whatever its route: `judge(metric, x, vectors, result)`.
    """

    def opened(generic: Callable[..., Any]) -> Any:
        table = functools.singledispatch(generic)
        parameters = inspect.signature(generic).parameters.values()
        names = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY][1:]

        @functools.wraps(generic)
        def function(metric: Any, *args: Any, **kwargs: Any) -> Any:
            inner = unwrapped(metric)
            route = dispatched(table, inner)
            with full_precision():
                call = functools.partial(route, metric if route is generic else inner)
                if rank is not None:
                    judged = functools.partial(judge, inner) if judge else lambda x, vectors, result: result
                    return _piecewise(call, judged, names, rank, weight_of(inner), args, kwargs)
                if route is not generic and (args or "x" in kwargs):
                    check_points(args[0] if args else kwargs["x"])
                return call(*args, **kwargs)

        def route(metric: Any) -> str:
            chosen = dispatched(table, unwrapped(metric))
            return "generic" if chosen is generic else f"{chosen.__module__}.{chosen.__qualname__}"

        function.register = table.register  # type: ignore[attr-defined]
        function.route = route  # type: ignore[attr-defined]
        return function

    return opened


def dispatched(table: Any, metric: Any) -> Callable[..., Any]:
    """The function registered for the type of a metric, in a `functools.singledispatch`, if its values are those.

    They may not be, and the function for `object` is taken, where a subclass has a `forward` or `__call__` of its own,
    unless it says `inherits_routes = True`; where a module or one of its submodules does not run as it is written; and
    where its own method `routes_hold()` says so.
    """
    kind, generic = type(metric), table.dispatch(object)
    chosen = table.dispatch(kind)
    *below, _ = [base for base in kind.__mro__ if table.dispatch(base) is chosen]  # the type that is registered is last
    own = any("forward" in vars(base) or "__call__" in vars(base) for base in below)
    if chosen is generic or (own and not getattr(kind, "inherits_routes", False)):
        return generic
    if isinstance(metric, torch.nn.Module):
        calls_parts = getattr(chosen, "calls_parts", False)  # then what is odd about them is in the values
        if not all(map(runs_as_written, (metric,) if calls_parts else metric.modules())):
            return generic
    holds = getattr(metric, "routes_hold", None)
    return generic if holds is not None and not holds() else chosen


def _piecewise(
    call: Callable[..., Any],
    judged: Callable[..., Any],
    names: list[str],
    rank: int,
    light: Callable[[Tensor], float],
    args: tuple,
    kwargs: dict,
) -> Any:
    """`call(*args, **kwargs)` over pieces of the points; `names` are those of positional arguments."""
    loop = {name: kwargs.pop(name) for name in ("chunk_size", "progress") if name in kwargs}
    named = dict(zip(names, args, strict=False))
    options = {**named, **kwargs}
    if len(named) < len(args) or named.keys() & kwargs or not {"x", *VECTORS} & set(names) <= options.keys():
        return call(*args, **kwargs)  # which says what is wrong
    x = options.pop("x")
    vectors = {name: options.pop(name) for name in VECTORS if name in options}
    whole, *given = broadcast_vectors(x, **vectors)
    extra = whole.ndim - x.ndim
    tensors = dict(zip(vectors, given, strict=True))
    if isinstance(T := options.get("T"), Tensor) and T.shape[: x.ndim - 1] == x.shape[:-1]:
        tensors["T"] = options.pop("T")

    def piece(x: Tensor, *given: Tensor) -> Any:
        return judged(x, given, call(x, **dict(zip(tensors, given, strict=True)), **options))

    x = x.expand(whole.shape[extra:])
    return in_chunks(piece, x, *tensors.values(), rank=rank, extra=extra, light=light, **loop)
