"""Between the numeric and the exact side."""

from riemann._emit import to_torch as to_torch
