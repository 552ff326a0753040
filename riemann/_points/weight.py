"""How much memory a piece of work takes, read off a record that torch keeps.

The record is that of torch's profiler of one thread, in C++: it has every byte that is asked for, inside kernels too,
on any device. Nothing of ours runs (so nothing of ours can fail) while torch differentiates. What operations ran is
left out of it: thousands of small notes between large arrays would keep the C library from using these again.
"""

import contextlib
import gc
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch.autograd import (  # noqa: TID251, nothing is differentiated with it
    ProfilerConfig,
    ProfilerState,
    _disable_profiler_legacy,
    _enable_profiler_legacy,
    _enable_record_function,
    _profiler_enabled,
)


class Weight(NamedTuple):
    """Of the record of some work.

    Attributes:
        peak: the most bytes that were alive at a time, beside what was there before.
        made: all bytes that were ever asked for.
        arrays: how often some were.
    """

    peak: int
    made: int
    arrays: int


def can_weigh() -> bool:
    """Whether nobody else, such as the user's own profiler, keeps a record in this thread."""
    return not _profiler_enabled()


def weighed(work: Callable[[], Any]) -> tuple[Any, Weight]:
    """What `work` returns, and its weight."""
    nothing = torch._C._profiler._ExperimentalConfig()
    with _nothing_collected():
        _enable_profiler_legacy(ProfilerConfig(ProfilerState.CPU, False, True, False, False, False, nothing))
        _enable_record_function(False)
        try:
            result = work()
        finally:
            _enable_record_function(True)
            record = _disable_profiler_legacy()
    return result, _read(record)


class _Collector:
    """Of Python's garbage: how many threads let it wait, and whether it was on before."""

    lock = threading.Lock()
    waiting = 0
    was_on = True


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """Inside, no tensor in a cycle dies: torch writes to stderr where memory is freed that is not in the record."""
    with _Collector.lock:
        if not _Collector.waiting:
            _Collector.was_on = gc.isenabled()
            gc.disable()
        _Collector.waiting += 1
    try:
        yield
    finally:
        with _Collector.lock:
            _Collector.waiting -= 1
            if not _Collector.waiting and _Collector.was_on:
                gc.enable()


def _read(record: list[list[Any]]) -> Weight:
    alive = peak = made = arrays = 0
    for event in itertools.chain.from_iterable(record):
        if event.kind() == "memory_alloc":
            step = event.cpu_memory_usage() + event.cuda_memory_usage()
            alive = max(0, alive + step)  # what was there before may be freed, too
            peak, made, arrays = max(peak, alive), made + max(0, step), arrays + (step > 0)
    return Weight(peak, made, arrays)
