"""Between torch and the exact side: metrics traced into SymPy or into many digits, and expressions run by torch."""

from riemann.bridge._emit import to_torch as to_torch
from riemann.bridge._trace import Trace as Trace
from riemann.bridge._trace import high_precision as high_precision
from riemann.bridge._trace import to_symbolic as to_symbolic
from riemann.bridge._trace import trace as trace
