"""Open functions: a function of a metric whose type may bring a cheaper exact route of its own."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor

from riemann._jets import weight_of
from riemann._modules import runs_as_written, unwrapped
from riemann._points.checks import alike, broadcast_vectors, door
from riemann._points.chunks import in_chunks
from riemann._precision import full_precision
from riemann._types import Metric

VECTORS = ("u", "v", "w")  # arguments that are vectors, and broadcast against the points
P = ParamSpec("P")
R = TypeVar("R", covariant=True)
F = TypeVar("F", bound=Callable[..., Any])


class OpenFunction(Protocol[P, R]):
    """A function of a metric that takes routes: see `route`."""

    __name__: str
    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function."""
        ...

    def register(self, kind: type) -> Callable[[F], F]:
        """A decorator for the route of a type of metric, in the manner of `functools.singledispatch`."""
        ...

    def route(self, metric: Metric) -> str:
        """The name of the route that a call with this metric would take; `"generic"` if it has none of its own."""
        ...


_OPEN: list[OpenFunction[..., Any]] = []


def open_function(
    rank: int | None, judge: Callable[..., Tensor] | None = None, checked: bool = False
) -> Callable[[Callable[P, R]], OpenFunction[P, R]]:
    """A function `(metric, x, …)`, dispatched on the type of the metric in the manner of `functools.singledispatch`.

    The result has `.register(Type)`, a decorator for the route of that type, and `.route(metric)`, the name of the
    route that a call would take. Wrappers that keep a metric's meaning (DDP, `torch.compile`) are seen through. A
    metric that is evaluated otherwise than its type takes the generic route: see `dispatched`.

    Args:
        rank: the largest arrays hold `n**rank` numbers a point. The function and its routes are called piece by piece
            (`in_chunks`); `chunk_size` and `progress` stop here. None: the function cuts its points itself.
        judge: looks at each result, whatever its route: `judge(metric, x, vectors, result)`.
        checked: points come from inside, and were checked at the door.
    """

    def opened(generic: Any) -> Any:
        table = functools.singledispatch(generic)
        parameters = inspect.signature(generic).parameters.values()
        names = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY][1:]

        @functools.wraps(generic)
        def function(metric: Any, *args: Any, **kwargs: Any) -> Any:
            inner = unwrapped(metric)
            route = dispatched(table, inner)
            with full_precision():
                body = route if rank is not None or checked else door(route)
                call = functools.partial(body, metric if route is generic else inner)
                if rank is not None:
                    judged = functools.partial(judge, inner) if judge else lambda x, vectors, result: result
                    return _piecewise(call, judged, names, rank, weight_of(inner), args, kwargs)
                return call(*args, **kwargs)

        def route(metric: Any) -> str:
            chosen = dispatched(table, unwrapped(metric))
            return "generic" if chosen is generic else f"{chosen.__module__}.{chosen.__name__}"

        function.register = table.register  # type: ignore[attr-defined]
        function.route = route  # type: ignore[attr-defined]
        _OPEN.append(function)
        return function

    return opened


def open_functions() -> tuple[OpenFunction[..., Any], ...]:
    """The functions of this package that take routes: see `route`.

    Example:
        >>> import riemann as rm
        >>> rm.ricci_tensor in open_functions()
        True
    """
    return tuple(_OPEN)


def route(function: Callable[..., Any], kind: type, *, calls_parts: bool = False) -> Callable[[F], F]:
    """Registers what it decorates as the route of an open function for a type of metric.

    The route is written for points and vectors of one batch shape; its name is of no account.

    Args:
        function: one of `open_functions()`, or `riemann.at`, whose routes take `(metric, x, order)` and return the
            jets `(g, dg, …)`.
        kind: the type of metric.
        calls_parts: whether the route takes values and derivatives of submodules by calling them, so that hooks on
            them and patched methods do not matter; else the generic route is taken where there are such.

    Raises:
        TypeError: `function` is not open, `kind` is not a class, or what is decorated has an argument that `function`
            does not have.

    Note:
        A subclass of `kind` with a `forward` or `__call__` of its own takes the generic route, unless it says
        `inherits_routes = True`; so does a metric whose own method `routes_hold()` says False.

    Example:
        >>> import riemann as rm
        >>> class Round(torch.nn.Module):
        ...     def forward(self, x):
        ...         return 4 * torch.eye(2) / (1 + x @ x) ** 2
        >>> @route(rm.scalar_curvature, Round)
        ... def two(metric, x):
        ...     return torch.full_like(x[..., 0], 2.0)
        >>> rm.scalar_curvature(Round(), torch.zeros(3, 2))
        tensor([2., 2., 2.])
    """
    if not callable(getattr(function, "register", None)):
        raise TypeError(f"`function` is {function!r}, expected an open function of riemann, as `scalar_curvature`")
    if not isinstance(kind, type):
        raise TypeError(f"`kind` is {kind!r}, expected a class: the type of the metrics that take this route")
    known = inspect.signature(function).parameters

    def register(f: F) -> F:
        parameters = list(inspect.signature(f).parameters.values())[2:]
        names = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        if unknown := [p.name for p in parameters if p.name not in known]:
            raise TypeError(
                f"a route of `{function.__name__}` has the argument `{unknown[0]}`, expected those of the function: "
                f"{', '.join(known)}"
            )

        @functools.wraps(f)
        def routed(metric: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
            options = {**dict(zip(names, args, strict=False)), **kwargs}
            if len(options) < len(args) + len(kwargs):
                return f(metric, x, *args, **kwargs)  # which says what is wrong
            vectors = {name: options.pop(name) for name in VECTORS if name in options}
            x, *given = alike(x, **vectors)
            return f(metric, x, **dict(zip(vectors, given, strict=True)), **options)

        routed.calls_parts = calls_parts  # type: ignore[attr-defined]
        function.register(kind)(routed)  # type: ignore[attr-defined]
        return f

    return register


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
