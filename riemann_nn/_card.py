"""The card of a model: what it is made of, whether its metrics matter, and whose equations these are."""

from typing import Any

from riemann_nn._coordinate import rough_parts

_COUPLING = {
    "forward": "forward: the head measures distances with every g, so the task has gradients in all of them (ours)",
    "fisher": "Fisher: the prediction reads no g; `fisher_loss` is to fit each to J^T (diag(p) - p p^T) J (ours)",
    None: "none: the metrics are DECORATIVE, the task has gradient 0 in them (as in the article)",
}

_EQUATIONS = """equations
  chart transitions z' = phi(z), a metric g_i(z_i) = L L^T on each chart      the paper's
  L = L_task + lambda L_geo, E[R^2], Var(sqrt det g)                            the paper's (EvolutionLoss "paper")
  bounded heads, start at the identity                                          ours (the paper names none)
  scale-free losses, E[K^2], |Ric|^2, |Riem|^2, Var(log sqrt det g)             ours (EvolutionLoss "scale_free")
  coupling of g to the task, compatibility of neighbouring charts               ours (the paper has none)
  G = E[J^T g J] on parameters                                                  ours (the paper has none)"""


def card(model: Any) -> str:
    """The text of `NeuralDifferentialManifold.card`."""
    lines = [f"NeuralDifferentialManifold, {sum(p.numel() for p in model.parameters()):,} parameters", "charts"]
    for i, layer in enumerate(model.layers):
        rough = rough_parts(layer.map)
        bounds = getattr(layer.metric, "bounds", None)
        lines.append(
            f"  {i}  {layer.kind:<10}  dim {layer.metric.dim:<4} {type(layer.metric).__name__} "
            f"{getattr(layer.metric, 'family', '')}"
            + (f"  {bounds[0]:.2g} <= g <= {bounds[1]:.2g}" if bounds else "  not bounded")
            + (f"  {', '.join(rough)}: no curvature through this map" if rough else "")
        )
    lines += [f"head      {type(model.head).__name__}", f"coupling  {_COUPLING[model.coupling]}"]
    linears = len(model.induced_metrics())
    lines += [f"linear layers with an induced metric on their output: {linears}", _EQUATIONS]
    return "\n".join(lines)
