"""What a piece of work does that no mode of ours may watch: read off a record that torch keeps.

The record is that of torch's profiler of one thread, in C++: it has every byte that is asked for, inside kernels too,
on any device, and every script that runs. Nothing of ours runs (so nothing of ours can fail) while torch
differentiates. A dispatch mode would see less, and torch 2.13 reads address 0 under any, where a tangent
is known to be 0.
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

SCRIPT = 2  # the scope of an event, torch's `RecordScope::TORCHSCRIPT_FUNCTION`
DEFAULTS = "defaults"  # what torch runs to find default arguments, when it first compiles scripts of its own


class Weight(NamedTuple):
    """Of the record of some work.

    Attributes:
        peak: the most bytes that were alive at a time, beside what was there before.
        made: all bytes that were ever asked for.
        scripts: the names of what ran that `torch.jit` has compiled; not what torch itself runs inside an operation.
    """

    peak: int
    made: int
    scripts: tuple[str, ...]


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
    return result, _read(record)


def _read(record: list[list[Any]]) -> Weight:
    alive = peak = made = inside = 0
    scripts: list[str] = []
    for event in itertools.chain.from_iterable(record):
        kind = event.kind()
        if kind == "push":
            if inside == 0 and event.scope() == SCRIPT and event.name() != DEFAULTS:
                scripts.append(event.name())
            inside += 1
        elif kind == "pop":
            inside -= 1
        elif kind == "memory_alloc":
            step = event.cpu_memory_usage() + event.cuda_memory_usage()
            alive = max(0, alive + step)  # what was there before may be freed, too
            peak, made = max(peak, alive), made + max(0, step)
    return Weight(peak, made, tuple(scripts))
