"""Exact curvature with SymPy. Imports neither torch nor the numeric core, and shares no formula with it."""

from typing import TYPE_CHECKING

from riemann._messages.names import only as _only
from riemann._moved import belong as _belong
from riemann.symbolic._metric import SymbolicMetric as SymbolicMetric

__all__ = [
    "SymbolicMetric",
]


if not TYPE_CHECKING:  # which knows the names
    __dir__, __getattr__ = _only(__name__, __all__)


_belong("riemann.symbolic", __all__)
