"""What `riemann_nn` takes beside the public names: the one private module of this package that it imports."""

from riemann._calculus.bases import places as places
from riemann._calculus.bases import vector_fields as vector_fields
from riemann._calculus.killing_fields import enough as enough
from riemann._calculus.killing_fields import independent as independent
from riemann._calculus.killing_fields import operators as operators
from riemann._messages.frames import warn as warn
from riemann._points.checks import check_count as check_count
from riemann._points.checks import door as door
from riemann._types import Field as Field
