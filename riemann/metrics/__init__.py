"""Metrics that know their structure: callables like any other, whose types bring cheaper exact routes."""

from typing import TYPE_CHECKING

from riemann._messages.names import only as _only
from riemann._moved import belong as _belong
from riemann.metrics import _eigenpairs as _eigenpairs
from riemann.metrics import _mlp_routes as _mlp_routes
from riemann.metrics import _pullback_curves as _pullback_curves
from riemann.metrics import _pullback_wide as _pullback_wide
from riemann.metrics._cholesky import Cholesky as Cholesky
from riemann.metrics._conformal import Conformal as Conformal
from riemann.metrics._constant import Constant as Constant
from riemann.metrics._diagonal import Diagonal as Diagonal
from riemann.metrics._fisher import Fisher as Fisher
from riemann.metrics._hessian import Hessian as Hessian
from riemann.metrics._low_rank import LowRankPlusDiagonal as LowRankPlusDiagonal
from riemann.metrics._mlp_cholesky import MLPCholesky as MLPCholesky
from riemann.metrics._product import Product as Product
from riemann.metrics._pullback import Pullback as Pullback
from riemann.metrics._warped import Warped as Warped

__all__ = [
    "Cholesky",
    "Conformal",
    "Constant",
    "Diagonal",
    "Fisher",
    "Hessian",
    "LowRankPlusDiagonal",
    "MLPCholesky",
    "Product",
    "Pullback",
    "Warped",
]


if not TYPE_CHECKING:  # which knows the names
    __dir__, __getattr__ = _only(__name__, __all__)


_belong("riemann.metrics", __all__)
