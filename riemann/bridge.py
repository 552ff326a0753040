"""Between torch and the exact side: metrics traced into SymPy expressions, and into numbers of many digits."""

from riemann._trace import Trace as Trace
from riemann._trace import high_precision as high_precision
from riemann._trace import to_symbolic as to_symbolic
from riemann._trace import trace as trace
