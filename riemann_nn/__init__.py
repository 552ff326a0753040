"""Neural differential manifolds, built from `riemann`'s public names."""

import difflib as _difflib
from typing import TYPE_CHECKING, Any

from riemann_nn import _plain as _plain
from riemann_nn import _routes as _routes
from riemann_nn._chart import Chart as Chart
from riemann_nn._compatibility import compatibility_loss as compatibility_loss
from riemann_nn._coordinate import CoordinateLayer as CoordinateLayer
from riemann_nn._curvature_loss import CurvatureLoss as CurvatureLoss
from riemann_nn._curvature_loss import curvature_loss as curvature_loss
from riemann_nn._elementwise import Bounded as Bounded
from riemann_nn._elementwise import BoundedExp as BoundedExp
from riemann_nn._elementwise import Softplus as Softplus
from riemann_nn._evolution import EvolutionLoss as EvolutionLoss
from riemann_nn._evolution import TrainingStep as TrainingStep
from riemann_nn._fisher import fisher_loss as fisher_loss
from riemann_nn._fisher import fisher_metrics as fisher_metrics
from riemann_nn._heads import KernelHead as KernelHead
from riemann_nn._heads import LinearHead as LinearHead
from riemann_nn._heads import MahalanobisHead as MahalanobisHead
from riemann_nn._induced import InducedMetric as InducedMetric
from riemann_nn._manifold import ManifoldLayer as ManifoldLayer
from riemann_nn._manifold import NeuralDifferentialManifold as NeuralDifferentialManifold
from riemann_nn._measure import mixed as mixed
from riemann_nn._metric_net import MetricNet as MetricNet
from riemann_nn._mlp_cholesky import MLPCholesky as MLPCholesky
from riemann_nn._monitor import CollapseMonitor as CollapseMonitor
from riemann_nn._monitor import Health as Health
from riemann_nn._monitor import health as health
from riemann_nn._natural_gradient import NaturalGradient as NaturalGradient
from riemann_nn._representation import pulled_back_fisher as pulled_back_fisher
from riemann_nn._representation import riemannian_gradient as riemannian_gradient
from riemann_nn._volume_loss import VolumeLoss as VolumeLoss
from riemann_nn._volume_loss import volume_loss as volume_loss

if not TYPE_CHECKING:  # which knows the names

    def __getattr__(name: str) -> Any:
        alike = [] if name.startswith("_") else _difflib.get_close_matches(name, globals(), n=1)
        hint = f"; did you mean `{alike[0]}`?" if alike else ""
        raise AttributeError(f"module 'riemann_nn' has no attribute {name!r}{hint}")
