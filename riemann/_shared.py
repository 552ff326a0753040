"""What `riemann_nn` takes beside the public names: the one private module of this package that it imports."""

from riemann._calculus.bases import places as places
from riemann._calculus.bases import vector_fields as vector_fields
from riemann._calculus.killing_fields import enough as enough
from riemann._calculus.killing_fields import independent as independent
from riemann._calculus.killing_fields import operators as operators
from riemann._curves.logarithm import along as along
from riemann._curves.logarithm import followed_log as followed_log
from riemann._jets import field as field
from riemann._jets import jets_along as jets_along
from riemann._jets import jets_at as jets_at
from riemann._jets import with_tensors as with_tensors
from riemann._messages.frames import warn as warn
from riemann._messages.names import no_such_name as no_such_name
from riemann._metric import jets_of as jets_of
from riemann._moved import belong as belong
from riemann._points.checks import check_count as check_count
from riemann._points.checks import door as door
from riemann._types import Field as Field
