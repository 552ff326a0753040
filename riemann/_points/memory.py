"""Memory that is fresh from the system, and how to need little of it.

A fresh array costs a page fault for every 4 kB that is written to: for the million numbers of a large result more time
than computing them. Linux gives pages of 2 MB to who asks, and smaller arrays lie where others were freed.
"""

import contextlib
import functools
import mmap

import torch
from torch import Tensor

LARGE = 2**25  # bytes; what is smaller the C library uses again when it is freed, and costs no page faults then


@functools.cache
def reuse() -> None:
    """One large array made, never written to, and freed, from which glibc learns to keep what is freed.

    It gives all back to the system that is more than twice the largest array that was ever freed, up to 32 MiB: of a
    program that computes with small ones only, whatever a call has used, each time. Who has set glibc's limits
    (`mallopt`, `MALLOC_TRIM_THRESHOLD_`) has switched this off, and keeps them.
    """
    torch.empty(LARGE - 2**20, dtype=torch.uint8, device="cpu")


def room(y: Tensor, count: int) -> Tensor:
    """An uninitialised tensor for `count` results such as those of y, `(z, …)`; axes lie in memory as those of y."""
    shape = (count, *y.shape[1:])
    order = sorted(range(y.ndim), key=y.stride, reverse=True)
    lying = torch.Size([shape[axis] for axis in order])
    size = lying.numel() * y.element_size()
    if size <= LARGE or y.device.type != "cpu" or not hasattr(mmap, "MADV_HUGEPAGE"):
        flat = y.new_empty(lying.numel())
    else:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):  # a system that has none
            pages.madvise(mmap.MADV_HUGEPAGE)
        flat = torch.frombuffer(pages, dtype=y.dtype)
    return flat.view(lying).permute([order.index(axis) for axis in range(y.ndim)])
