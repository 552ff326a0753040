"""Neural differential manifolds, built from `riemann`'s public names."""

import importlib as _importlib
from typing import TYPE_CHECKING, Any

from riemann._shared import belong as _belong
from riemann._shared import no_such_name as _no_such_name
from riemann.metrics import MLPCholesky as MLPCholesky
from riemann.metrics.elementwise import Bounded as Bounded
from riemann.metrics.elementwise import BoundedExp as BoundedExp
from riemann.metrics.elementwise import Softplus as Softplus
from riemann_nn._charts.chart import Chart as Chart
from riemann_nn._charts.coordinate import CoordinateLayer as CoordinateLayer
from riemann_nn._charts.heads import KernelHead as KernelHead
from riemann_nn._charts.heads import LinearHead as LinearHead
from riemann_nn._charts.heads import MahalanobisHead as MahalanobisHead
from riemann_nn._charts.induced import InducedMetric as InducedMetric
from riemann_nn._discovery.fit_metric import fit_metric as fit_metric
from riemann_nn._discovery.fitted import FitReport as FitReport
from riemann_nn._discovery.fitted import FittedMetric as FittedMetric
from riemann_nn._discovery.fitted import MetricUncertainty as MetricUncertainty
from riemann_nn._discovery.symmetry import symmetry_loss as symmetry_loss
from riemann_nn._fields import compiled as _compiled  # noqa: F401, its routes
from riemann_nn._fields import factored as _factored  # noqa: F401, its routes
from riemann_nn._fields.metric_net import MetricNet as MetricNet
from riemann_nn._generation.generative import GenerativeManifold as GenerativeManifold
from riemann_nn._losses.compatibility import compatibility_loss as compatibility_loss
from riemann_nn._losses.curvature import CurvatureLoss as CurvatureLoss
from riemann_nn._losses.curvature import curvature_loss as curvature_loss
from riemann_nn._losses.fisher import fisher_loss as fisher_loss
from riemann_nn._losses.fisher import fisher_metrics as fisher_metrics
from riemann_nn._losses.means import mixed as mixed
from riemann_nn._losses.monitor import CollapseMonitor as CollapseMonitor
from riemann_nn._losses.monitor import Health as Health
from riemann_nn._losses.monitor import health as health
from riemann_nn._losses.volume import VolumeLoss as VolumeLoss
from riemann_nn._losses.volume import volume_loss as volume_loss
from riemann_nn._model.evolution import EvolutionLoss as EvolutionLoss
from riemann_nn._model.evolution import TrainingStep as TrainingStep
from riemann_nn._model.manifold import ManifoldLayer as ManifoldLayer
from riemann_nn._model.manifold import NeuralDifferentialManifold as NeuralDifferentialManifold
from riemann_nn._model.tensors import TensorLayer as TensorLayer
from riemann_nn._model.tensors import charts_of as charts_of
from riemann_nn._optim.natural_gradient import NaturalGradient as NaturalGradient
from riemann_nn._optim.representation import pulled_back_fisher as pulled_back_fisher
from riemann_nn._optim.representation import riemannian_gradient as riemannian_gradient

if TYPE_CHECKING:
    from riemann_nn._estimators.estimators import NDMClassifier as NDMClassifier
    from riemann_nn._estimators.estimators import NDMRegressor as NDMRegressor

__all__ = [
    "Bounded",
    "BoundedExp",
    "Chart",
    "CollapseMonitor",
    "CoordinateLayer",
    "CurvatureLoss",
    "EvolutionLoss",
    "FitReport",
    "FittedMetric",
    "GenerativeManifold",
    "Health",
    "InducedMetric",
    "KernelHead",
    "LinearHead",
    "MLPCholesky",
    "MahalanobisHead",
    "ManifoldLayer",
    "MetricNet",
    "MetricUncertainty",
    "NaturalGradient",
    "NeuralDifferentialManifold",
    "Softplus",
    "TensorLayer",
    "TrainingStep",
    "VolumeLoss",
    "charts_of",
    "compatibility_loss",
    "curvature_loss",
    "fisher_loss",
    "fisher_metrics",
    "fit_metric",
    "health",
    "mixed",
    "pulled_back_fisher",
    "riemannian_gradient",
    "symmetry_loss",
    "volume_loss",
]


def __dir__() -> list[str]:
    return sorted([*__all__, "NDMClassifier", "NDMRegressor"])


if not TYPE_CHECKING:  # which knows the names

    def __getattr__(name: str) -> Any:
        if name in ("NDMClassifier", "NDMRegressor"):  # scikit-learn is imported by those who use it
            try:
                return getattr(_importlib.import_module("riemann_nn._estimators.estimators"), name)
            except ModuleNotFoundError as error:
                raise ImportError(f"{name} needs scikit-learn: pip install 'riemann-torch[sklearn]'") from error
        raise _no_such_name("riemann_nn", name)


_belong("riemann_nn", __all__)
