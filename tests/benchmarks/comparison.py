"""One row of the results: values are compared first, then sides work in turn, then memory is measured."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from tests.benchmarks import worker
from tests.benchmarks.measures import Others, check_quiet, compared, ratios, spread
from tests.benchmarks.problems import Arrays

ROUND_SECONDS = 3.0  # for all rounds of a row
SHORT = 0.25  # seconds; a shorter call has one before it that is not timed, to warm the caches

Where = dict[str, tuple[str, str]]
"""Sides and their problems, by the names that they have in the row."""


class Comparison:
    """What a problem costs us, under pytest-benchmark, and the peers.

    Args:
        benchmark: the fixture of pytest-benchmark.
        workers: the workers of peers, from their names and their sides.
        core: where fresh processes run.
        quick: whether a few rounds do, and no memory that nobody aims at.
        busy: whether other processes may be at work.
    """

    def __init__(self, benchmark: Any, workers: Callable[..., worker.Worker], core: int, *, quick: bool, busy: bool):
        self.benchmark, self.workers, self.core, self.quick, self.busy = benchmark, workers, core, quick, busy

    def long(self) -> None:
        """Leaves the case out of quick runs."""
        if self.quick:
            pytest.skip("a long case")

    def __call__(
        self,
        problem: str,
        arrays: Arrays,
        *,
        group: str,
        title: str,
        peers: Iterable[str] | Mapping[str, str] = (),
        targets: Mapping[str, float] | None = None,
        per: Mapping[str, float] | None = None,
        memory: bool = False,
        rtol: float = 1e-9,
        rounds: int = 5,
    ) -> None:
        """Measures a row.

        Args:
            problem: its name in `sides/riemann.py`.
            arrays: what it gets.
            group: the table that the row is in.
            title: of the row.
            peers: names of sides that have the same problem, or `{name: "side:problem"}`.
            targets: the most that is aimed at: `{"jax": 0.5}` times that peer, `{"fastest": 0.5}` times the fastest,
                `{"seconds": …}`, `{"bytes": …}`.
            per: where the row stands on an axis of a plot, `{"n": 16}`.
            memory: whether peak memory is measured.
            rtol: of values, against the largest.
            rounds: the fewest.

        Raises:
            AssertionError: values differ.
            Busy: other processes are at work.
        """
        named = peers if isinstance(peers, Mapping) else {name: f"{name}:{problem}" for name in peers}
        where: Where = {name: tuple(place.split(":")) for name, place in named.items()}
        work, difference = self._agreeing(problem, where, arrays, rtol)
        seconds, others = self._in_turn(work, where, rounds)
        targets = targets or {}
        weighed: Where = {}
        if memory and (not self.quick or "bytes" in targets):
            weighed = {"riemann": ("riemann", problem)} | where
        peak = {name: self._memory(*place, arrays) for name, place in weighed.items()}
        ratio = {name: ratios(seconds["riemann"], seconds[name]) for name in where}
        got = {name: r.median for name, r in ratio.items()}
        got |= {"seconds": spread(seconds["riemann"]).median, "bytes": peak.get("riemann", 0)}
        if where:
            got["fastest"] = got[min(where, key=lambda name: spread(seconds[name]).median)]
        self.benchmark.extra_info.update(
            group=group,
            title=title,
            per=dict(per or {}),
            seconds={name: [float(f"{t:.4g}") for t in times] for name, times in seconds.items()},
            ratios=ratio,
            difference=difference,
            bytes=peak,
            targets=[{"of": of, "at_most": m, "got": got[of], "met": got[of] <= m} for of, m in targets.items()],
            others=round(others, 3),
        )

    def _agreeing(
        self, problem: str, where: Where, arrays: Arrays, rtol: float
    ) -> tuple[Callable[[], Any], dict[str, float]]:
        """Our work, once it has the values of the peers, and how far they are apart."""
        work = worker.problem("riemann", problem)(**arrays)
        ours, difference = worker.values(work()), {}
        for name, (side, theirs) in where.items():
            difference[name] = apart = compared(ours, self.workers(name, side).load(theirs, arrays))
            assert apart <= rtol, f"{name} differs by {apart:.1e}, at most {rtol:.0e} is allowed"
        return work, difference

    def _in_turn(
        self, work: Callable[[], Any], where: Where, rounds: int
    ) -> tuple[dict[str, list[float]], float]:  # fmt: skip
        """Seconds of each side, measured A-B-A-B, and how many cores other processes used meanwhile."""
        peers = {name: self.workers(name, side) for name, (side, _) in where.items()}
        once = {name: peer.time(warm=False) for name, peer in peers.items()} | {"riemann": worker.seconds(work)}
        short = {name: t < SHORT for name, t in once.items()}
        total = sum(t * (2 if short[name] else 1) for name, t in once.items())
        count = min(3, rounds) if self.quick else max(rounds, min(int(ROUND_SECONDS / total), 40))
        seconds: dict[str, list[float]] = {name: [] for name in ("riemann", *peers)}

        def turn() -> None:
            for name, peer in peers.items():
                seconds[name].append(peer.time(warm=short[name]))
            if short["riemann"]:
                work()

        before = Others()
        time.sleep(0.3)
        check_quiet(before.cores(), "now", allowed=self.busy)
        during = Others(peer.process.pid for peer in peers.values())
        self.benchmark.pedantic(work, setup=turn, rounds=count)
        seconds["riemann"] = list(self.benchmark.stats.stats.data)
        others = during.cores()
        check_quiet(others, "while this was measured", allowed=self.busy)
        return seconds, others

    def _memory(self, side: str, problem: str, arrays: Arrays) -> int:
        """Bytes at the peak of a call, in a fresh process."""
        fresh = worker.Worker(side, self.core)
        fresh.load(problem, arrays)
        peak = fresh.memory()
        fresh.close()
        return peak
