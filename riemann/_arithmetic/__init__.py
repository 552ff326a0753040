"""The arithmetic in which riemann differentiates: torch tensors of Taylor coefficients, pushed through any function."""

from riemann._arithmetic import choices, elementwise, linear_algebra, moves, powers, products, refusals, selections  # noqa: F401, rules  # noqa: F401
from riemann._arithmetic.jet import Jet as Jet
from riemann._arithmetic.jet import Refusal as Refusal
from riemann._arithmetic.jet import at_the_surface as at_the_surface
from riemann._arithmetic.jet import evaluated as evaluated
from riemann._arithmetic.jet import frozen as frozen
from riemann._arithmetic.jet import weight as weight
from riemann._arithmetic.orders import Orders as Orders
from riemann._arithmetic.orders import orders as orders
from riemann._arithmetic.recording import values_at_a_point as values_at_a_point
