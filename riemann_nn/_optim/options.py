"""Options of parameter groups: what they may be, and what they say."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def check_options(options: Mapping[str, Any]) -> None:
    """Raises unless each is in its range."""
    ranges = {
        "lr": (lambda v: v >= 0, "0 or more"),
        "inner_lr": (lambda v: v >= 0, "0 or more"),
        "damping": (lambda v: v >= 0, "0 or more"),
        "weight_decay": (lambda v: v >= 0, "0 or more"),
        "decay": (lambda v: 0 <= v < 1, "at least 0 and less than 1"),
        "momentum": (lambda v: 0 <= v < 1, "at least 0 and less than 1"),
        "refresh": (
            lambda v: isinstance(v, int) and v >= 1 or isinstance(v, float) and 0 < v < 1,
            "a whole number, 1 or more, or a share between 0 and 1",
        ),
        "clip": (lambda v: v is None or v > 0, "None or positive"),
    }
    for name, (holds, wanted) in ranges.items():
        if not holds(options[name]):
            raise ValueError(f"`{name}` is {options[name]!r}, expected {wanted}")


def parameters_of(params: Any) -> list[Tensor]:
    """The tensors of a parameter group: one, several, or named."""
    params = [params] if isinstance(params, Tensor) else list(params)
    return [p[1] if isinstance(p, tuple) else p for p in params]


def period(group: Mapping[str, Any]) -> int:
    """Steps between refreshes of a group; of a share they are known after the first."""
    return group["refresh"] if group["refresh"] >= 1 else group.get("period", 1)
