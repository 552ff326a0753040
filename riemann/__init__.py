"""Curvature of any metric you can write in PyTorch.

A metric is a callable: one point of shape `(n,)` in, a symmetric nonsingular `(n, n)` out. Everything here is a
function whose first argument is such a callable.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from riemann import formulas as formulas
from riemann import metrics as metrics
from riemann._check import MetricReport as MetricReport
from riemann._check import check_metric as check_metric
from riemann._connection import covariant_derivative as covariant_derivative
from riemann._connection import divergence as divergence
from riemann._connection import gradient as gradient
from riemann._connection import hessian as hessian
from riemann._connection import laplacian as laplacian
from riemann._curvature import change_indices as change_indices
from riemann._curvature import christoffel as christoffel
from riemann._curvature import christoffel_vector as christoffel_vector
from riemann._curvature import cotton_tensor as cotton_tensor
from riemann._curvature import curvature_endomorphism as curvature_endomorphism
from riemann._curvature import einstein_tensor as einstein_tensor
from riemann._curvature import inverse_metric as inverse_metric
from riemann._curvature import kretschmann_scalar as kretschmann_scalar
from riemann._curvature import log_volume_element as log_volume_element
from riemann._curvature import nabla_riemann as nabla_riemann
from riemann._curvature import ricci_curvature as ricci_curvature
from riemann._curvature import ricci_tensor as ricci_tensor
from riemann._curvature import riemann_tensor as riemann_tensor
from riemann._curvature import scalar_curvature as scalar_curvature
from riemann._curvature import schouten_tensor as schouten_tensor
from riemann._curvature import sectional_curvature as sectional_curvature
from riemann._curvature import sectional_form as sectional_form
from riemann._curvature import volume_element as volume_element
from riemann._curvature import weyl_tensor as weyl_tensor
from riemann._estimate import Estimate as Estimate
from riemann._estimate import estimate_ricci_curvature as estimate_ricci_curvature
from riemann._estimate import estimate_scalar_curvature as estimate_scalar_curvature
from riemann._geometry import LocalGeometry as LocalGeometry
from riemann._geometry import at as at
from riemann._integrate import Integral as Integral
from riemann._integrate import integrate as integrate
from riemann._integrate import volume as volume
from riemann._jets import jet as jet
from riemann._jets import jvp as jvp
from riemann._jets import recorded_gradients as recorded_gradients
from riemann._jets import vjp as vjp
from riemann._verify import Comparison as Comparison
from riemann._verify import VerificationReport as VerificationReport
from riemann._verify import verify as verify

if TYPE_CHECKING:
    from riemann import bridge as bridge
    from riemann import spaces as spaces
    from riemann import symbolic as symbolic


def __getattr__(name: str) -> Any:
    """Rooms that need SymPy are opened when they are first entered."""
    if name in ("bridge", "spaces", "symbolic"):
        return import_module(f"riemann.{name}")
    raise AttributeError(f"module 'riemann' has no attribute {name!r}")


try:
    __version__ = version("riemann-torch")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"
