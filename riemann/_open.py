"""Open functions: a function of a metric whose type may bring a cheaper exact route of its own."""

import functools
from collections.abc import Callable
from typing import Any

from riemann._jets import check_points
from riemann._precision import full_precision
from riemann._safe import unwrapped


def open_function(generic: Callable[..., Any]) -> Any:
    """`generic(metric, …)`, dispatched on the type of the metric in the manner of `functools.singledispatch`.

    The result has `.register(Type)`, a decorator for the route of that type, and `.route(metric)`, the name of the
    route that a call would take. Wrappers that keep a metric's meaning (DDP, `torch.compile`) are seen through.
    """
    table = functools.singledispatch(generic)

    @functools.wraps(generic)
    def function(metric: Any, *args: Any, **kwargs: Any) -> Any:
        inner = unwrapped(metric)
        route = table.dispatch(type(inner))
        with full_precision():
            if route is generic:
                return generic(metric, *args, **kwargs)
            if args or "x" in kwargs:
                check_points(args[0] if args else kwargs["x"])
            return route(inner, *args, **kwargs)

    def route(metric: Any) -> str:
        chosen = table.dispatch(type(unwrapped(metric)))
        return "generic" if chosen is generic else f"{chosen.__module__}.{chosen.__qualname__}"

    function.register = table.register  # type: ignore[attr-defined]
    function.route = route  # type: ignore[attr-defined]
    return function
