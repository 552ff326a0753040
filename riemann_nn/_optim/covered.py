"""What of a model has an induced metric: its linear layers and convolutions whose weights are their own."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.nn import MultiheadAttention

from riemann_nn._losses.likelihoods import Metric

Layer = torch.nn.Linear | torch.nn.Conv1d | torch.nn.Conv2d
KINDS = ("learned", "identity", "fisher")


def nest(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The model in its wrappers (`DistributedDataParallel`, `torch.compile`), from the outside to the module itself."""
    nested = [model]
    while True:
        outer = nested[-1]
        is_parallel = isinstance(outer, torch.nn.parallel.DistributedDataParallel)
        inner = outer.module if is_parallel else getattr(outer, "_orig_mod", None)
        if inner is None:
            return nested
        nested.append(inner)


def bare(model: torch.nn.Module, process_group: Any) -> tuple[torch.nn.Module, Any]:
    """The module inside its wrappers, and the processes over which statistics are averaged; None for this one alone."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"`model` is a {type(model).__name__}, expected the module itself and not its parameters: the metric is "
            "gathered from its calls"
        )
    *wrappers, model = nest(model)
    for wrapper in wrappers:
        if isinstance(wrapper, torch.nn.parallel.DistributedDataParallel) and process_group is None:
            process_group = wrapper.process_group
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    several = several and torch.distributed.get_world_size() > 1
    if several and process_group is None:
        raise ValueError(
            "there are several processes, but `model` is not in DistributedDataParallel; pass the wrapped model, or "
            "`process_group=…` to average statistics over it, or `process_group=False` for processes of their own"
        )
    return model, process_group if several and process_group is not False else None


def metrics_of(model: torch.nn.Module, metric: str, metrics: Any) -> dict[torch.nn.Module, Metric]:
    """The metrics on the outputs of modules of the model, for `metric="learned"`."""
    if metric not in KINDS:
        raise ValueError(f"`metric` is {metric!r}, expected {', '.join(map(repr, KINDS))}")
    if metric != "learned":
        if metrics is not None:
            raise ValueError(f"`metrics` are for metric='learned', and `metric` is {metric!r}")
        return {}
    if metrics is None:
        induced, maps = (getattr(model, name, None) for name in ("induced_metrics", "map_metrics"))
        if induced is None:
            inside = [name for name, m in model.named_modules() if hasattr(m, "map_metrics")]
            if inside:
                raise ValueError(f"{type(model).__name__} has its learned metrics in `.{inside[0]}`: pass that module")
            raise ValueError(
                f"{type(model).__name__} has no method `induced_metrics()`, so that there is no learned metric. Choose "
                "metric='fisher' (with `likelihood=` by what the output is: 'categorical', 'bernoulli', 'gaussian') or "
                "metric='identity'; or pass `metrics={module: metric on its output}`"
            )
        metrics = {**(maps() if maps else {}), **induced()}
    modules = set(model.modules())
    if not metrics or not all(m in modules and callable(g) for m, g in metrics.items()):
        raise ValueError(
            "`metrics` is empty or has keys that are not modules of the model, or values that are not callables"
        )
    return dict(metrics)


def covered_layers(
    model: torch.nn.Module,
    metric: str,
    on_modules: Mapping[torch.nn.Module, Metric],
    exclude: Iterable[torch.nn.Module],
) -> dict[Layer, str]:
    """The layers on whose parameters a metric is induced, with their names."""
    inside = {m for module in model.modules() if isinstance(module, MultiheadAttention) for m in module.modules()}
    uses = [p for module in model.modules() for p in module._parameters.values() if p is not None]
    excluded = {m for module in exclude for m in module.modules()}
    if not excluded <= set(model.modules()):
        raise ValueError("`exclude` has modules that are not the model's")
    covered = {m for module in on_modules for m in module.modules()} if metric == "learned" else set(model.modules())

    def is_plain(layer: torch.nn.Module) -> bool:
        """Whether this is W a + b with parameters that are its own: not computed, not tied."""
        own = [p for p in layer._parameters.values() if p is not None]
        return (
            (_is_linear(layer) or _is_convolution(layer))
            and layer not in inside  # attention takes the weights of its output, and does not call the layer
            and layer._parameters.get("weight") is not None
            and all(sum(p is q for q in uses) == 1 for p in own)
        )

    layers = {m: name or "the model" for name, m in model.named_modules() if m in covered - excluded and is_plain(m)}
    if not layers:
        raise ValueError(
            f"no metric is induced on any linear layer of the model with metric={metric!r}: metric='fisher' and "
            "'identity' take all that are called as they are; where there is none, use torch.optim.AdamW"
        )
    return layers


def _is_linear(layer: Any) -> bool:
    return isinstance(layer, torch.nn.Linear) and type(layer).forward is torch.nn.Linear.forward


def _is_convolution(layer: Any) -> bool:
    """Whether this is a linear map of patches."""
    return (
        type(layer) in (torch.nn.Conv1d, torch.nn.Conv2d)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def widths(layer: Layer) -> tuple[int, int]:
    """Inputs and outputs of the linear map; of a convolution, of that of a patch."""
    return layer.weight[0].numel(), layer.weight.shape[0]


def inputs(layer: Layer, x: Tensor) -> Tensor:
    """What the linear map acts on, `(positions, in)`, data first."""
    x = x.detach().to(layer.weight.dtype)
    if isinstance(layer, torch.nn.Linear):
        return x.reshape(-1, layer.in_features)
    shape = [(1, *n) if len(n) == 1 else n for n in (layer.kernel_size, layer.dilation, layer.stride)]
    padding = (0, *layer.padding) if len(layer.padding) == 1 else layer.padding
    x = x.unsqueeze(0) if x.ndim == len(layer.kernel_size) + 1 else x
    x = x.unsqueeze(-2) if len(layer.kernel_size) == 1 else x
    patches = torch.nn.functional.unfold(x, shape[0], shape[1], padding, shape[2])
    return patches.mT.reshape(-1, patches.shape[1])


def outputs(layer: Layer, s: Tensor) -> Tensor:
    """What it gives, `(positions, out)`."""
    if not isinstance(layer, torch.nn.Linear):
        s = s.movedim(-len(layer.kernel_size) - 1, -1)
    return s.reshape(-1, s.shape[-1])
