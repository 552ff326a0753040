"""Where classes stood before: pickles name modules, and models that were saved then are to load now."""

import sys
from importlib import import_module

MOVED = {
    "riemann.metrics._mlp_cholesky": ("_mlp_cholesky", "_fields.mlp_cholesky"),
    "riemann.metrics.elementwise": ("_elementwise", "_fields.elementwise"),
    "riemann_nn._fields.metric_net": ("_metric_net",),
    "riemann_nn._fields.smooth": ("_smooth",),
    "riemann_nn._charts.chart": ("_chart",),
    "riemann_nn._charts.coordinate": ("_coordinate",),
    "riemann_nn._charts.heads": ("_heads",),
    "riemann_nn._charts.induced": ("_induced",),
    "riemann_nn._losses.curvature": ("_curvature_loss",),
    "riemann_nn._losses.volume": ("_volume_loss",),
    "riemann_nn._model.manifold": ("_manifold",),
    "riemann_nn._model.evolution": ("_evolution",),
}

for now, before in MOVED.items():
    for name in before:
        sys.modules.setdefault(f"riemann_nn.{name}", import_module(now))
