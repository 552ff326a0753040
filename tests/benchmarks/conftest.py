"""Options, the environment and the results of the benchmarks; the fixture `compare`."""

import datetime
import os
import platform
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import riemann
from tests.benchmarks.comparison import Comparison
from tests.benchmarks.measures import Busy, Others, check_quiet
from tests.benchmarks.worker import Worker


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="few rounds and no long cases")
    parser.addoption("--busy", action="store_true", help="measure on a busy machine, and say so in the results")


def pytest_configure(config):
    config.core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {config.core})
    torch.set_num_threads(1)
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    packages = {"numpy": np.__version__, "torch": torch.__version__, "riemann": riemann.__version__}
    config.environment = {
        "date": datetime.date.today().isoformat(),
        "processor": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "busy": config.getoption("busy"),
        "quick": config.getoption("quick"),
        "versions": {"python": platform.python_version(), **packages},
    }


def pytest_sessionstart(session):
    others = Others()
    time.sleep(1)
    try:
        check_quiet(others.cores(), "now", allowed=session.config.getoption("busy"))
    except Busy as refusal:
        pytest.exit(f"refused: {refusal}", returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def workers(request):
    """Workers that stay, by the names that they have in rows and by their sides."""
    found = {}

    def of(name, side):
        if (name, side) not in found:
            found[name, side] = Worker(side, request.config.core)
            request.config.environment["versions"] |= found[name, side].versions()
        return found[name, side]

    yield of
    for worker in found.values():
        worker.close()


@pytest.fixture
def compare(request, benchmark, workers):
    """Measures a row; see `Comparison`."""
    option = request.config.getoption
    return Comparison(benchmark, workers, request.config.core, quick=option("quick"), busy=option("busy"))


def pytest_benchmark_update_json(config, benchmarks, output_json):
    """What is kept: the environment, the rows, and the cases that gave none."""
    commit = output_json["commit_info"]
    reports = config.pluginmanager.get_plugin("terminalreporter").stats
    failed = {
        report.nodeid.rpartition("::")[2]: _reason(report)
        for report in (*reports.get("failed", ()), *reports.get("error", ()))
    }
    rows = [benchmark["extra_info"] for benchmark in output_json["benchmarks"] if benchmark["extra_info"]]
    revision = commit["id"][:12] + (", changed" if commit["dirty"] else "")
    output_json.clear()
    output_json.update(environment=config.environment | {"revision": revision}, rows=rows, failed=failed)


def _reason(report):
    """The first line of the exception."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message if crash else str(report.longrepr)).partition("\n")[0]
