"""Between torch and the exact side: metrics traced into SymPy or into many digits, and expressions run by torch."""

from typing import TYPE_CHECKING

from riemann._messages.names import only as _only
from riemann._moved import belong as _belong
from riemann.bridge._emit import to_torch as to_torch
from riemann.bridge._trace import Trace as Trace
from riemann.bridge._trace import high_precision as high_precision
from riemann.bridge._trace import to_symbolic as to_symbolic
from riemann.bridge._trace import trace as trace

__all__ = [
    "Trace",
    "high_precision",
    "to_symbolic",
    "to_torch",
    "trace",
]


if not TYPE_CHECKING:  # which knows the names
    __dir__, __getattr__ = _only(__name__, __all__)


_belong("riemann.bridge", __all__)
