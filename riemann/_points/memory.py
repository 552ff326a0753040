"""Memory that is fresh from the system, and how to need little of it.

A fresh array costs a page fault for every 4 kB that is written to: for the million numbers of a large result more time
than computing them. Small arrays lie where others were freed, by the C library; a large one lies where the last large
one did, whose pages the system may take back when it wants them. Pages of 2 MB are no way out: those that a virtual
machine has not used for a while its host has taken back, and giving one again takes as long as twenty times the faults.
"""

import contextlib
import functools
import mmap
import weakref

import torch
from torch import Tensor

LARGE = 2**25  # bytes; what is smaller the C library uses again when it is freed, and costs no page faults then
KEPT = 2**30  # bytes; what is larger goes back to the system
_SPARE: list[mmap.mmap] = []  # the memory of the last large result that was freed


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
    if LARGE < size <= KEPT and y.device.type == "cpu" and hasattr(mmap, "MADV_FREE"):
        flat = torch.frombuffer(_pages(size), dtype=y.dtype)
    else:
        flat = y.new_empty(lying.numel())
    return flat.view(lying).permute([order.index(axis) for axis in range(y.ndim)])


def _pages(size: int) -> memoryview:
    """So many bytes; they are spare when nothing refers to them any more."""
    pages = None
    with contextlib.suppress(IndexError):
        pages = _SPARE.pop()
    if pages is None or not size <= len(pages) <= 4 * size:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    view = memoryview(pages)[:size]
    weakref.finalize(view, _free, pages).atexit = False
    return view


def _free(pages: mmap.mmap) -> None:
    with contextlib.suppress(OSError):  # a system that does not know what that is
        pages.madvise(mmap.MADV_FREE)
        _SPARE[:] = [pages]
