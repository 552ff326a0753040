"""What a piece of work takes of memory: read off the record of torch's allocators.

The record is kept by torch's profiler of one thread, in C++: it counts every byte, those inside kernels too, on any
device, and nothing of ours runs (so nothing of ours can fail) while torch differentiates. A mode around the work would
count less, and torch 2.13 reads address 0 under any dispatch mode where a tangent is known to be 0.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.autograd import (  # noqa: TID251, nothing is differentiated with it
    ProfilerConfig,
    ProfilerState,
    _disable_profiler_legacy,
    _enable_profiler_legacy,
    _profiler_enabled,
)


class Weight(NamedTuple):
    """Bytes: the most that were alive at a time, beside what was there before, and all that were ever asked for."""

    peak: int
    made: int


def can_weigh() -> bool:
    """Whether nobody else, such as the user's own profiler, keeps a record in this thread."""
    return not _profiler_enabled()


def weighed(work: Callable[[], Any]) -> tuple[Any, Weight]:
    """What `work` returns, and its weight."""
    nothing = torch._C._profiler._ExperimentalConfig()
    _enable_profiler_legacy(ProfilerConfig(ProfilerState.CPU, False, True, False, False, False, nothing))
    try:
        result = work()
    finally:
        record = _disable_profiler_legacy()
    steps = [
        event.cpu_memory_usage() + event.cuda_memory_usage()
        for event in itertools.chain.from_iterable(record)
        if event.kind() == "memory_alloc"
    ]
    alive = peak = 0
    for step in steps:
        alive = max(0, alive + step)  # what was there before may be freed, too
        peak = max(peak, alive)
    return result, Weight(peak, sum(step for step in steps if step > 0))
