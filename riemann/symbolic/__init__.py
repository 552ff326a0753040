"""Exact curvature with SymPy. Imports neither torch nor the numeric core, and shares no formula with it."""

from typing import TYPE_CHECKING, Any

from riemann._messages.names import no_such_name as _no_such_name
from riemann._moved import belong as _belong
from riemann.symbolic._metric import SymbolicMetric as SymbolicMetric

__all__ = [
    "SymbolicMetric",
]


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # which knows the names

    def __getattr__(name: str) -> Any:
        raise _no_such_name("riemann.symbolic", name)


_belong("riemann.symbolic", __all__)
