"""The card of a model: what it is made of, whether its metrics matter, and whose equations these are."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import riemann
from riemann_nn._charts.coordinate import rough_parts
from riemann_nn._charts.heads import TASKS
from riemann_nn._losses.compatibility import compatibility_loss
from riemann_nn._losses.curvature import curvature_loss, sampled_squares
from riemann_nn._losses.monitor import health

_COUPLING = {
    "forward": "forward: the head measures distances with every g, so the task has gradients in all of them (ours)",
    "fisher": "Fisher: the prediction reads no g; `fisher_loss` is to fit each to J^T (diag(p) - p p^T) J (ours)",
    None: "none: the metrics are DECORATIVE, the task has gradient 0 in them (as in the article)",
}

_EQUATIONS = """equations
  chart transitions z' = phi(z), a metric g_i(z_i) = L L^T on each chart        the paper's
  L = L_task + lambda L_geo, E[R^2], Var(sqrt det g)                            the paper's (EvolutionLoss "paper")
  bounded heads, start at the identity                                          ours (the paper names none)
  scale-free losses, E[K^2], |Ric|^2, |Riem|^2, Var(log sqrt det g)             ours (EvolutionLoss "scale_free")
  coupling of g to the task, compatibility of neighbouring charts               ours (the paper has none)
  G = E[J^T g J] on parameters                                                  ours (the paper has none)"""


def card(model: Any, x: Tensor | None) -> str:
    """The text of `NeuralDifferentialManifold.card`."""
    lines = [f"NeuralDifferentialManifold, {sum(p.numel() for p in model.parameters()):,} parameters", "charts"]
    for i, (layer, n) in enumerate(zip(model.layers, model.dims, strict=True)):
        rough = rough_parts(layer.map)
        bounds = getattr(layer.metric, "bounds", None)
        lines.append(
            f"  {i}  {layer.kind:<10}  dim {n:<4} {type(layer.metric).__name__} {getattr(layer.metric, 'family', '')}"
            + (f"  {bounds[0]:.2g} <= g <= {bounds[1]:.2g}" if bounds else "  not bounded")
            + (f"  {', '.join(rough)}: no curvature through this map" if rough else "")
        )
    lines += [
        f"head      {type(model.head).__name__}: {_predicted(model.head)}",
        f"coupling  {_COUPLING[model.coupling]}",
    ]
    lines += [f"linear layers with an induced metric on their output: {len(model.induced_metrics())}", _EQUATIONS]
    return "\n".join(lines if x is None else lines + _at(model, x))


def _predicted(head: Any) -> str:
    """What the head's outputs are."""
    units = getattr(head, "units", None)
    if units is None:
        return TASKS[None]
    start = " (mean and deviation of the first targets are its offset and unit)" if units.started else ""
    return f"{units.task or 'open task'}: {TASKS[units.task]}{start}"


def _at(model: Any, x: Tensor) -> list[str]:
    """What is measured on data."""
    lines = [f"at {len(x)} points"]
    _, charts = model(x)
    for i, chart in enumerate(charts):
        now, z = health(chart), chart.coordinates.detach()
        with torch.no_grad():
            squares = sampled_squares(chart.metric, z, "sectional", 4, torch.Generator(z.device).manual_seed(0))
        lines.append(
            f"  {i}  mean log sqrt det g {now.log_volume:.2f}, condition {now.condition:.1e}, variation "
            f"{now.variation:.2f}, median |S| {now.curvature:.2g}, E[K^2] {float(squares.mean()):.2g} +- "
            f"{float(squares.std() / len(z) ** 0.5):.1g}"
        )
    if len(charts) > 1:
        residual = float(compatibility_loss(charts).detach()) ** 0.5
        lines.append(
            f"  neighbouring metrics differ by a factor of e^{residual:.2f} along a direction (root mean square)"
        )

    def coordinates() -> Tensor:
        z = x
        for layer in model.layers:
            z = layer.map(z)
        return z.square().sum()

    def curvature() -> Tensor:
        return torch.stack([curvature_loss(c.metric, c.coordinates, "sectional", "sampled") for c in model(x)[1]]).sum()

    plain, whole, curved = (_seconds(model, f) for f in (coordinates, lambda: model(x)[0].square().sum(), curvature))
    lines.append(
        f"  forward and backward, in times of the coordinate maps alone: the model {whole / plain:.1f}, a curvature "
        f"loss at all points {curved / plain:.1f}"
    )
    return lines


def _seconds(model: torch.nn.Module, loss: Callable[[], Tensor]) -> float:
    """The least of three runs, forward and backward."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        riemann.recorded_gradients(loss(), list(model.parameters()))
        best = min(best, time.perf_counter() - start)
    return best
