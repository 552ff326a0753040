"""The arithmetic in which riemann differentiates: torch tensors of Taylor coefficients, pushed through any function."""

from riemann._arithmetic import elementwise, linear_algebra, moves, products, refusals, selections  # noqa: F401, their rules
from riemann._arithmetic.jet import derivatives as derivatives
from riemann._arithmetic.jet import pushed as pushed
