"""Curvature of a metric at points."""

from typing import TYPE_CHECKING

from riemann._curvature import derivatives, eigenpairs, estimate, quantities, snapshot, tensors, vectors, volume
from riemann._curvature.derivatives import *  # noqa: F403
from riemann._curvature.eigenpairs import *  # noqa: F403
from riemann._curvature.estimate import *  # noqa: F403
from riemann._curvature.quantities import *  # noqa: F403
from riemann._curvature.snapshot import *  # noqa: F403
from riemann._curvature.tensors import *  # noqa: F403
from riemann._curvature.vectors import *  # noqa: F403
from riemann._curvature.volume import *  # noqa: F403

if not TYPE_CHECKING:  # which takes the names of a star import as public
    __all__ = []
    __all__ += derivatives.__all__
    __all__ += eigenpairs.__all__
    __all__ += estimate.__all__
    __all__ += quantities.__all__
    __all__ += snapshot.__all__
    __all__ += tensors.__all__
    __all__ += vectors.__all__
    __all__ += volume.__all__
