"""The precision of a computation is that of its tensors."""

import contextlib
from collections.abc import Iterator

import torch


def lowered(*devices: str) -> list[str]:
    """The devices on which autocast is on."""
    there = filter(torch.amp.is_autocast_available, devices or ("cpu", "cuda"))
    return [device for device in there if torch.is_autocast_enabled(device)]


@contextlib.contextmanager
def full_precision(*devices: str) -> Iterator[None]:
    """Autocast off: products in half precision have no digits left for curvature."""
    on = lowered(*devices)
    with contextlib.ExitStack() as stack:
        for device in on:
            stack.enter_context(torch.autocast(device, enabled=False))
        yield
