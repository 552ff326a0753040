"""The arithmetic in which riemann differentiates: torch tensors of Taylor coefficients, pushed through any function."""

from riemann._arithmetic import (  # noqa: F401, which register rules
    choices,
    determinants,
    elementwise,
    linear_algebra,
    moves,
    powers,
    products,
    reductions,
    refusals,
    selections,
    spectra,
    views,
)
from riemann._arithmetic.dispatch import at_the_surface as at_the_surface
from riemann._arithmetic.evaluation import evaluated as evaluated
from riemann._arithmetic.evaluation import weight as weight
from riemann._arithmetic.jet import Jet as Jet
from riemann._arithmetic.jet import Refusal as Refusal
from riemann._arithmetic.jet import frozen as frozen
from riemann._arithmetic.orders import Orders as Orders
from riemann._arithmetic.orders import generic as generic
from riemann._arithmetic.orders import orders as orders
from riemann._arithmetic.orders import outside as outside
from riemann._arithmetic.recording import values_at_a_point as values_at_a_point
