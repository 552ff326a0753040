"""Modules of torch: whether a call of one is its `forward`, and which function is inside a wrapper."""

from typing import Any

import torch
from torch.nn.modules import module as _torch


def is_hooked(module: torch.nn.Module) -> bool:
    """Whether a hook, of the module or of all modules, may change what a call gives: one without `keeps_values`."""
    hooks = (
        *module._forward_hooks.values(),
        *module._forward_pre_hooks.values(),
        *_torch._global_forward_hooks.values(),
        *_torch._global_forward_pre_hooks.values(),
    )
    return not all(getattr(hook, "keeps_values", False) for hook in hooks)


def runs_as_written(module: torch.nn.Module) -> bool:
    """Whether a call is the `forward` of the module's class: none is assigned to it, and it is not hooked."""
    return "forward" not in vars(module) and not is_hooked(module)


def unwrapped(f: Any) -> Any:
    """The function inside wrappers of torch that keep its meaning (DistributedDataParallel, `torch.compile`)."""
    if isinstance(f, torch.nn.Module) and is_hooked(f):
        return f
    for where, name in (("torch._dynamo", "_orig_mod"), ("torch.nn.parallel", "module")):
        if type(f).__module__.startswith(where) and hasattr(f, name):
            return unwrapped(getattr(f, name))
    compiled = getattr(f, "_torchdynamo_orig_callable", None)  # of what is not a module
    return f if compiled is None else unwrapped(getattr(compiled, "__wrapped__", compiled))
