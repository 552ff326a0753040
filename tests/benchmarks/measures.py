"""The numbers of a comparison: ratios with their spread, growth, and whether the machine was ours."""

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

TICK = os.sysconf("SC_CLK_TCK")
QUIET = 0.1  # cores that others may use


class Spread(NamedTuple):
    """A median between its quartiles."""

    low: float
    median: float
    high: float


def spread(numbers: Sequence[float]) -> Spread:
    """Median and quartiles."""
    return Spread(*(float(q) for q in np.quantile(numbers, (0.25, 0.5, 0.75))))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Median and quartiles of the ratios of measurements that were taken in turn."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def exponent(n: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """p of seconds ~ n^p by least squares of logarithms, and its standard error; three sizes or more."""
    x, y = np.log(n), np.log(seconds)
    x, y = x - x.mean(), y - y.mean()
    p = float(x @ y / (x @ x))
    left = float(((y - p * x) ** 2).sum())
    return p, (left / (len(x) - 2) / float(x @ x)) ** 0.5


def compared(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference of values, against the largest value."""
    assert ours.shape == theirs.shape, f"values have shapes {ours.shape} and {theirs.shape}"
    assert np.isfinite(ours).all() and np.isfinite(theirs).all(), "values are not finite"
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), np.finfo(float).tiny))


class Busy(Exception):
    """The machine works for others, too; figures would be wrong."""


def machine_seconds(stat: str) -> float:
    """CPU seconds that the machine has worked, stolen ones included, from the text of /proc/stat."""
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.split("\n")[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICK


def process_seconds(stat: str) -> float:
    """CPU seconds of a process and of its children that ended, from the text of /proc/PID/stat."""
    return sum(map(int, stat.rpartition(")")[2].split()[11:15])) / TICK


class Others:
    """How many cores the processes that are not ours use, from here on."""

    def __init__(self, ours: Iterable[int] = ()):
        self.ours = [os.getpid(), *ours]
        self.start, self.used = time.monotonic(), self._used()

    def _used(self) -> float:
        ours = (process_seconds(Path(f"/proc/{pid}/stat").read_text()) for pid in self.ours)
        return machine_seconds(Path("/proc/stat").read_text()) - sum(ours)

    def cores(self) -> float:
        """The mean since the start."""
        return max(self._used() - self.used, 0.0) / (time.monotonic() - self.start)


def check_quiet(cores: float, when: str, *, allowed: bool = False) -> None:
    """Raises `Busy` where others use the machine, unless that is allowed."""
    if cores > QUIET and not allowed:
        raise Busy(
            f"other processes use {cores:.2f} cores {when}, at most {QUIET} are tolerated; stop them, or take figures "
            "that are marked as those of a busy machine: `make bench BUSY=1`"
        )
