"""Neural differential manifolds, built from `riemann`'s public names."""

from riemann_nn import _routes as _routes
from riemann_nn._chart import Chart as Chart
from riemann_nn._coordinate import CoordinateLayer as CoordinateLayer
from riemann_nn._curvature_loss import CurvatureLoss as CurvatureLoss
from riemann_nn._curvature_loss import curvature_loss as curvature_loss
from riemann_nn._elementwise import Bounded as Bounded
from riemann_nn._elementwise import BoundedExp as BoundedExp
from riemann_nn._elementwise import Softplus as Softplus
from riemann_nn._heads import KernelHead as KernelHead
from riemann_nn._heads import LinearHead as LinearHead
from riemann_nn._heads import MahalanobisHead as MahalanobisHead
from riemann_nn._induced import InducedMetric as InducedMetric
from riemann_nn._manifold import ManifoldLayer as ManifoldLayer
from riemann_nn._manifold import NeuralDifferentialManifold as NeuralDifferentialManifold
from riemann_nn._measure import mixed as mixed
from riemann_nn._metric_net import MetricNet as MetricNet
from riemann_nn._mlp_cholesky import MLPCholesky as MLPCholesky
from riemann_nn._volume_loss import VolumeLoss as VolumeLoss
from riemann_nn._volume_loss import volume_loss as volume_loss
