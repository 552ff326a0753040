"""The precision of a computation is that of its tensors."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def full_precision(*devices: str) -> Iterator[None]:
    """Autocast off: products in half precision have no digits left for curvature."""
    on = [d for d in devices or ("cpu", "cuda") if torch.amp.is_autocast_available(d) and torch.is_autocast_enabled(d)]
    with contextlib.ExitStack() as stack:
        for device in on:
            stack.enter_context(torch.autocast(device, enabled=False))
        yield
