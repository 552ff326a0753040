"""Pictures of metrics: each function takes a metric and a coordinate box, draws, and returns the axes.

matplotlib is an extra: `pip install riemann-torch[plot]`. Every function takes `ax=` to draw into axes of yours, and
leaves the rest (limits, titles, saving) to matplotlib.
"""

from typing import TYPE_CHECKING

from riemann._messages.names import only as _only

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError("`riemann.plot` needs matplotlib; install it with `pip install 'riemann-torch[plot]'`") from error

from riemann.plot._levels import curvature as curvature
from riemann.plot._levels import level_set as level_set
from riemann.plot._maps import curvature_map as curvature_map
from riemann.plot._maps import surface as surface
from riemann.plot._maps import volume_map as volume_map
from riemann.plot._paths import geodesic as geodesic
from riemann.plot._paths import geodesic_fan as geodesic_fan
from riemann.plot._paths import light_rays as light_rays
from riemann.plot._paths import metric_ellipses as metric_ellipses
from riemann.plot._paths import parallel_transport as parallel_transport
from riemann.plot._paths import poincare_disc as poincare_disc

__all__ = [
    "curvature",
    "curvature_map",
    "geodesic",
    "geodesic_fan",
    "level_set",
    "light_rays",
    "metric_ellipses",
    "parallel_transport",
    "poincare_disc",
    "surface",
    "volume_map",
]


if not TYPE_CHECKING:  # which knows the names
    __dir__, __getattr__ = _only(__name__, __all__)
