"""Curvature of any metric you can write in PyTorch.

A metric is a callable: one point of shape `(n,)` in, a symmetric nonsingular `(n, n)` out. Everything here is a
function whose first argument is such a callable.
"""

from importlib import import_module as _import_module
from importlib.metadata import PackageNotFoundError as _PackageNotFoundError
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

from riemann import _curvature as _curvature
from riemann import conventions as conventions
from riemann import formulas as formulas
from riemann import metrics as metrics
from riemann._calculus.connection import covariant_derivative as covariant_derivative
from riemann._calculus.connection import divergence as divergence
from riemann._calculus.connection import gradient as gradient
from riemann._calculus.connection import hessian as hessian
from riemann._calculus.connection import laplacian as laplacian
from riemann._calculus.conserved import ConservedQuantity as ConservedQuantity
from riemann._calculus.conserved import conserved_quantities as conserved_quantities
from riemann._calculus.coordinates import change_coordinates as change_coordinates
from riemann._calculus.forms import codifferential as codifferential
from riemann._calculus.forms import exterior_derivative as exterior_derivative
from riemann._calculus.forms import hodge_star as hodge_star
from riemann._calculus.forms import interior_product as interior_product
from riemann._calculus.forms import wedge as wedge
from riemann._calculus.integrate import Integral as Integral
from riemann._calculus.integrate import integrate as integrate
from riemann._calculus.integrate import random_uniform as random_uniform
from riemann._calculus.integrate import volume as volume
from riemann._calculus.killing_fields import KillingFields as KillingFields
from riemann._calculus.killing_fields import killing_fields as killing_fields
from riemann._calculus.killing_rank import KillingRank as KillingRank
from riemann._calculus.killing_rank import killing_dimension as killing_dimension
from riemann._calculus.killing_rank import killing_rank as killing_rank
from riemann._calculus.killing_spectrum import KillingSpectrum as KillingSpectrum
from riemann._calculus.killing_spectrum import killing_spectrum as killing_spectrum
from riemann._calculus.laplacians import bochner_laplacian as bochner_laplacian
from riemann._calculus.laplacians import hodge_laplacian as hodge_laplacian
from riemann._calculus.laplacians import lichnerowicz_laplacian as lichnerowicz_laplacian
from riemann._calculus.lie import killing_operator as killing_operator
from riemann._calculus.lie import lie_bracket as lie_bracket
from riemann._calculus.lie import lie_derivative as lie_derivative
from riemann._compiling import networks as _networks  # noqa: F401, its routes
from riemann._compiling.compile import Compiled as Compiled
from riemann._compiling.compile import Components as Components
from riemann._compiling.compile import compile as compile
from riemann._curvature import *  # noqa: F403
from riemann._curves.geodesic import Geodesic as Geodesic
from riemann._curves.geodesic import exp_map as exp_map
from riemann._curves.geodesic import geodesic as geodesic
from riemann._curves.geodesic import geodesic_acceleration as geodesic_acceleration
from riemann._curves.jacobi import JacobiField as JacobiField
from riemann._curves.jacobi import jacobi_field as jacobi_field
from riemann._curves.logarithm import Logarithm as Logarithm
from riemann._curves.logarithm import distance as distance
from riemann._curves.logarithm import log_map as log_map
from riemann._curves.ode import Status as Status
from riemann._curves.transport import Transport as Transport
from riemann._curves.transport import holonomy as holonomy
from riemann._curves.transport import parallel_transport as parallel_transport
from riemann._interop.adapt import adapt as adapt
from riemann._interop.geomstats import to_geomstats as to_geomstats
from riemann._jets import jet as jet
from riemann._jets import jvp as jvp
from riemann._jets import recorded_gradients as recorded_gradients
from riemann._jets import vjp as vjp
from riemann._messages.names import no_such_name as _no_such_name
from riemann._moved import belong as _belong
from riemann._open import open_functions as open_functions
from riemann._open import route as route
from riemann._rounding import rounding_floor as rounding_floor
from riemann._statistics.components import KMeans as KMeans
from riemann._statistics.components import PrincipalGeodesics as PrincipalGeodesics
from riemann._statistics.components import k_means as k_means
from riemann._statistics.components import principal_geodesics as principal_geodesics
from riemann._statistics.mean import FrechetMean as FrechetMean
from riemann._statistics.mean import frechet_mean as frechet_mean
from riemann._statistics.mean import frechet_variance as frechet_variance
from riemann._statistics.regression import GeodesicRegression as GeodesicRegression
from riemann._statistics.regression import geodesic_regression as geodesic_regression
from riemann._structure.finding import Finding as Finding
from riemann._structure.finding import Structure as Structure
from riemann._structure.found import structure as structure
from riemann._structure.found import structured as structured
from riemann._submanifolds.extrinsic import gauss_curvature as gauss_curvature
from riemann._submanifolds.extrinsic import mean_curvature_vector as mean_curvature_vector
from riemann._submanifolds.extrinsic import principal_curvatures as principal_curvatures
from riemann._submanifolds.extrinsic import second_fundamental_form as second_fundamental_form
from riemann._submanifolds.extrinsic import shape_operator as shape_operator
from riemann._submanifolds.level_sets import level_set_gauss_curvature as level_set_gauss_curvature
from riemann._submanifolds.level_sets import level_set_mean_curvature as level_set_mean_curvature
from riemann._submanifolds.level_sets import level_set_principal_curvatures as level_set_principal_curvatures
from riemann._submanifolds.normal_bundle import normal_connection as normal_connection
from riemann._submanifolds.normal_bundle import normal_curvature as normal_curvature
from riemann._submanifolds.normal_bundle import normal_frame as normal_frame
from riemann._submanifolds.normal_bundle import normal_projector as normal_projector
from riemann._verification.check import MetricReport as MetricReport
from riemann._verification.check import check_metric as check_metric
from riemann._verification.verify import Comparison as Comparison
from riemann._verification.verify import VerificationReport as VerificationReport
from riemann._verification.verify import verify as verify
from riemann.metrics._alpha import alpha_christoffel as alpha_christoffel

if TYPE_CHECKING:
    from riemann import bridge as bridge
    from riemann import plot as plot
    from riemann import spaces as spaces
    from riemann import symbolic as symbolic
    from riemann._certified import Certificate as Certificate
    from riemann._certified import Enclosure as Enclosure
    from riemann._certified import GeodesicEnclosure as GeodesicEnclosure
    from riemann._certified import InjectivityBound as InjectivityBound
    from riemann._certified import Signs as Signs
    from riemann._certified import Witness as Witness
    from riemann._certified import bound_injectivity_radius as bound_injectivity_radius
    from riemann._certified import bound_rounding as bound_rounding
    from riemann._certified import certified_signs as certified_signs
    from riemann._certified import certify as certify
    from riemann._certified import check_certificate as check_certificate
    from riemann._certified import enclose as enclose
    from riemann._certified import enclose_geodesic as enclose_geodesic


_CERTIFIED = (
    "Certificate", "Enclosure", "GeodesicEnclosure", "InjectivityBound", "Signs", "Witness",
    "bound_injectivity_radius", "bound_rounding", "certified_signs", "certify", "check_certificate", "enclose",
    "enclose_geodesic",
)  # fmt: skip

if not TYPE_CHECKING:  # which knows the names by the imports
    __all__ = [
        "Comparison",
        "Compiled",
        "Components",
        "ConservedQuantity",
        "Finding",
        "FrechetMean",
        "Geodesic",
        "GeodesicRegression",
        "Integral",
        "JacobiField",
        "KMeans",
        "KillingFields",
        "KillingRank",
        "KillingSpectrum",
        "Logarithm",
        "MetricReport",
        "PrincipalGeodesics",
        "Status",
        "Structure",
        "Transport",
        "VerificationReport",
        "adapt",
        "alpha_christoffel",
        "bochner_laplacian",
        "bridge",
        "change_coordinates",
        "check_metric",
        "codifferential",
        "compile",
        "conserved_quantities",
        "conventions",
        "covariant_derivative",
        "distance",
        "divergence",
        "exp_map",
        "exterior_derivative",
        "formulas",
        "frechet_mean",
        "frechet_variance",
        "gauss_curvature",
        "geodesic",
        "geodesic_acceleration",
        "geodesic_regression",
        "gradient",
        "hessian",
        "hodge_laplacian",
        "hodge_star",
        "holonomy",
        "integrate",
        "interior_product",
        "jacobi_field",
        "jet",
        "jvp",
        "k_means",
        "killing_dimension",
        "killing_fields",
        "killing_operator",
        "killing_rank",
        "killing_spectrum",
        "laplacian",
        "level_set_gauss_curvature",
        "level_set_mean_curvature",
        "level_set_principal_curvatures",
        "lichnerowicz_laplacian",
        "lie_bracket",
        "lie_derivative",
        "log_map",
        "mean_curvature_vector",
        "metrics",
        "normal_connection",
        "normal_curvature",
        "normal_frame",
        "normal_projector",
        "open_functions",
        "parallel_transport",
        "plot",
        "principal_curvatures",
        "principal_geodesics",
        "random_uniform",
        "recorded_gradients",
        "rounding_floor",
        "route",
        "second_fundamental_form",
        "shape_operator",
        "spaces",
        "structure",
        "structured",
        "symbolic",
        "to_geomstats",
        "verify",
        "vjp",
        "volume",
        "wedge",
    ]
    __all__ += [*_CERTIFIED, *_curvature.__all__]

    def __dir__() -> list[str]:
        return sorted(__all__)

    def __getattr__(name: str) -> Any:
        """Rooms that need SymPy or matplotlib are opened when they are first entered."""
        if name in _CERTIFIED:
            room = _import_module("riemann._certified")
            _belong("riemann", _CERTIFIED, room.__name__)
            return vars(room)[name]
        if name in ("bridge", "plot", "spaces", "symbolic"):
            return _import_module(f"riemann.{name}")
        raise _no_such_name("riemann", name)

    _belong("riemann", __all__)

try:
    __version__ = _version("riemann-torch")
except _PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"
