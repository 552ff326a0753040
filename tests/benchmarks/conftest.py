"""The fixture `compare`: our side under pytest-benchmark, the peers in turn with it, correctness first."""

import datetime
import os
import platform
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import riemann
from tests.benchmarks import worker
from tests.benchmarks.measures import Others, check_quiet, ratios, spread

SHORT = 0.25  # seconds; a call that is shorter has a call before it that is not timed, to warm the caches


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="few rounds and no long cases")
    parser.addoption("--busy", action="store_true", help="measure on a busy machine, and say so in the results")


def pytest_configure(config):
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    config.environment = {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": 1,
        "system": f"{platform.system()} {platform.machine()}",
        "busy": config.getoption("busy"),
        "quick": config.getoption("quick"),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "riemann": riemann.__version__,
        },
    }
    config.core = core


def _processor():
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.processor()


# ------------------------------------------------------------------------------------------------ the results


def pytest_benchmark_update_json(config, benchmarks, output_json):
    """What is kept: the environment, the rows, and the cases that gave none."""
    commit = output_json["commit_info"]
    reports = config.pluginmanager.get_plugin("terminalreporter").stats
    failed = {
        report.nodeid.rpartition("::")[2]: str(report.longrepr).strip().split("\n")[-1]
        for report in (*reports.get("failed", ()), *reports.get("error", ()))
    }
    revision = f"{commit['id'][:12]}{' with changes' if commit['dirty'] else ''}"
    rows = [bench["extra_info"] for bench in output_json["benchmarks"]]
    output_json.clear()
    output_json.update(environment=config.environment | {"revision": revision}, rows=rows, failed=failed)


# ------------------------------------------------------------------------------------------------ the comparison


@pytest.fixture(scope="session")
def workers(request):
    """Workers that stay, by the names of rows and of sides."""
    found = {}

    def of(name, side):
        if (name, side) not in found:
            found[name, side] = worker.Worker(side, request.config.core)
            request.config.environment["versions"] |= found[name, side].versions()
        return found[name, side]

    yield of
    for one in found.values():
        one.close()


@pytest.fixture
def compare(request, benchmark, workers):
    """Compares values, then times, then, if asked, memory; see `Comparison`."""
    return Comparison(request.config, benchmark, workers)


class Comparison:
    """One row of the results: what a problem costs us and others.

    Args of a call:
        problem: its name in `sides/riemann.py`.
        arrays: what it gets.
        title: of the row; `group` is that of its table.
        peers: `{name: "side:problem"}`, the same problem where none is said, or a list of sides.
        targets: the most that is aimed at: `{"jax": 0.5}` times a peer, `{"fastest": …}` of the peers,
            `{"seconds": …}`, `{"bytes": …}`.
        per: what the row is of, numbers by name (`n=16`): the axes of plots.
        memory: whether peak memory is measured, each side in a fresh process.
        rtol: of values, against the largest.
        rounds: at least.
        budget: seconds for all rounds.
    """

    def __init__(self, config, benchmark, workers):
        self.config, self.benchmark, self.workers = config, benchmark, workers
        self.quick, self.busy = config.getoption("quick"), config.getoption("busy")

    def __call__(
        self, problem, arrays, *, title, group, peers=(), targets=(), per=(), memory=False, rtol=1e-9, rounds=5, budget=3.0
    ):  # fmt: skip
        targets, per = dict(targets), dict(per)
        peers = {name: name for name in peers} if not isinstance(peers, dict) else peers
        asked = {name: (*where.split(":"), problem)[:2] for name, where in peers.items()}
        work = worker.problem("riemann", problem)(**arrays)
        value = worker.values(work())
        others = {name: self.workers(name, side) for name, (side, _) in asked.items()}
        difference = {}
        for name, (_, theirs) in asked.items():
            difference[name] = _difference(value, others[name].load(theirs, arrays))
            assert difference[name] <= rtol, f"{name} differs by {difference[name]:.1e}, at most {rtol:.0e} is allowed"

        short = {name: other.time(warm=False) < SHORT for name, other in others.items()}
        once = worker.seconds(work)
        total = (1 + (once < SHORT)) * once + sum((1 + short[name]) * others[name].time(warm=False) for name in others)
        count = 3 if self.quick else max(rounds, min(int(budget / total), 40))
        theirs = {name: [] for name in others}

        def turn():
            for name, other in others.items():
                theirs[name].append(other.time(warm=short[name]))
            if once < SHORT:
                work()

        rest = Others()
        time.sleep(0.3)
        check_quiet(rest.cores(), "now", allowed=self.busy)
        during = Others(other.process.pid for other in others.values())
        self.benchmark.pedantic(work, setup=turn, rounds=count)
        ours = list(self.benchmark.stats.stats.data)
        cores = during.cores()
        check_quiet(cores, "while this was measured", allowed=self.busy)
        peak = {name: self._memory(*where, arrays) for name, where in {"riemann": ("riemann", problem), **asked}.items()} if memory else {}
        ratio = {name: ratios(ours, times) for name, times in theirs.items()}
        got = {name: r.median for name, r in ratio.items()}
        if theirs:
            got["fastest"] = got[min(theirs, key=lambda name: spread(theirs[name]).median)]
        got |= {"seconds": spread(ours).median, "bytes": peak.get("riemann")}
        self.benchmark.extra_info.update(
            group=group,
            title=title,
            per=per,
            seconds={name: [float(f"{t:.4g}") for t in times] for name, times in {"riemann": ours, **theirs}.items()},
            ratios=ratio,
            difference=difference,
            bytes=peak,
            targets=[
                {"of": of, "at_most": most, "got": got[of], "met": got[of] <= most} for of, most in targets.items()
            ],
            others=round(cores, 3),
        )

    def _memory(self, side, problem, arrays):
        fresh = worker.Worker(side, self.config.core)
        fresh.load(problem, arrays)
        peak = fresh.memory()
        fresh.close()
        return peak


def _difference(ours, theirs):
    """The largest difference of values, against the largest value."""
    assert ours.shape == theirs.shape, f"values have shapes {ours.shape} and {theirs.shape}"
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
