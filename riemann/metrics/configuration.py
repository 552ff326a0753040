"""What a module was made with, in names and numbers: it goes into state dicts, and tells them apart."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from riemann._messages.names import only as _only
from riemann.metrics.elementwise import described

__all__ = [
    "check_same", "name_of", "of_weights_alone", "plain",
]  # fmt: skip


def name_of(activation: Any) -> Any:
    """The name in `torch.nn` of an activation that its default arguments make, or in `torch`; itself if it has none."""
    if activation is getattr(torch, name := getattr(activation, "__name__", ""), None):
        return name
    kind = type(activation)
    if getattr(torch.nn, kind.__name__, None) is kind and repr(kind()) == repr(activation):
        return kind.__name__
    return activation


def plain(value: Any) -> Any:
    """Names and numbers, in lists and dictionaries: what `torch.load(weights_only=True)` reads."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Tensor):
        return value.detach().tolist()
    return value if value is None or isinstance(value, str | int | float) else described(value)


def check_same(what: str, mine: Any, state: Any) -> None:
    """Raises unless two configurations are one."""
    different = [
        f"`{key}` is {mine.get(key)!r} here and {state.get(key)!r} there"
        for key in dict.fromkeys((*mine, *state))
        if not _same(mine.get(key), state.get(key))
    ]
    if different:
        raise ValueError(
            f"the state is of a {what} of another configuration: {'; '.join(different)}. The same numbers would be "
            f"another {what}; make one with the arguments of the state"
        )


def of_weights_alone(module: torch.nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """A hook: states without a configuration, of parameters alone or of before there was one, are taken as they are."""
    state.setdefault(prefix + "_extra_state", module.get_extra_state())


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-6)
    return a == b


if not TYPE_CHECKING:  # which knows the names
    __dir__, __getattr__ = _only(__name__, __all__)
