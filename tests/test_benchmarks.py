"""The harness of the benchmarks: its statistics, its refusals, its page. No test here depends on a time."""

import copy
import hashlib

import numpy as np
import pytest

from tests.benchmarks import measures, problems, report, worker


def test_ratios_are_of_neighbours_so_that_drift_cancels():
    drift = np.linspace(1, 3, 21)
    assert measures.ratios(list(0.25 * drift), list(drift)) == pytest.approx((0.25, 0.25, 0.25))


def test_spread_is_median_between_quartiles():
    assert measures.spread([5.0, 1.0, 2.0, 4.0, 300.0]) == (2.0, 4.0, 5.0)


def test_sides_that_were_not_measured_in_turn_have_no_ratio():
    with pytest.raises(ValueError):
        measures.ratios([1.0, 2.0], [1.0])


def test_exponent_of_a_power_law():
    n = [16, 32, 64, 128]
    assert measures.exponent(n, [3e-5 * k**2.5 for k in n]) == pytest.approx((2.5, 0.0), abs=1e-6)
    p, error = measures.exponent(n, [3e-5 * k**2.5 * f for k, f in zip(n, (1.1, 0.9, 1.1, 0.9), strict=True)])
    assert abs(p - 2.5) < 3 * error and error > 0


def test_seconds_of_the_machine_leave_out_waiting_and_count_what_was_stolen():
    stat = "cpu  100 10 20 5000 300 3 4 50 7 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
    assert measures.machine_seconds(stat) == (100 + 10 + 20 + 3 + 4 + 50) / measures.TICK


def test_seconds_of_a_process_count_its_children_whatever_its_name():
    stat = "42 (a) (b c) S 1 42 42 0 -1 4194304 10 0 0 0 11 22 33 44 20 0 1 0 500"
    assert measures.process_seconds(stat) == (11 + 22 + 33 + 44) / measures.TICK


def test_a_busy_machine_is_refused_unless_that_is_allowed():
    with pytest.raises(measures.Busy, match=r"0\.80 cores now, at most 0\.1 .*make bench BUSY=1"):
        measures.check_quiet(0.8, "now")
    measures.check_quiet(0.8, "now", allowed=True)
    measures.check_quiet(0.02, "now")


def test_values_are_compared_against_the_largest():
    assert measures.compared(np.array([1.0, 1e-12]), np.array([1.0, 0.0])) == 1e-12
    with pytest.raises(AssertionError, match="shapes"):
        measures.compared(np.zeros(2), np.zeros(3))
    with pytest.raises(AssertionError, match="finite"):
        measures.compared(np.array([np.nan]), np.array([1.0]))


def test_weights_are_those_that_figures_were_taken_with():
    arrays = problems.network(4, 8)
    digest = hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays)))
    assert digest.hexdigest()[:16] == "4c57f254a8ebb39c"
    assert np.array_equal(problems.network(4, 100)["x"][:8], arrays["x"])


# ------------------------------------------------------------------------------------------------ a side


def test_a_worker_gives_the_values_of_this_process_and_measures_itself():
    arrays = problems.network(2, 3)
    one = worker.Worker("riemann", core=max(worker.os.sched_getaffinity(0)))
    here = worker.values(worker.problem("riemann", "scalar_curvature")(**arrays)())
    assert measures.compared(here, one.load("scalar_curvature", arrays)) < 1e-12
    assert one.time() > 0 and one.memory() >= 0
    with pytest.raises(RuntimeError, match="riemann: AttributeError: .*no_such_problem"):
        one.load("no_such_problem", arrays)
    one.close()
    assert one.process.returncode == 0


def test_a_side_without_environment_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(worker, "ROOT", tmp_path)
    with pytest.raises(RuntimeError, match=r"`jax` has no environment: run `make \.peers/jax/ready`"):
        worker.Worker("jax", core=0)


# ------------------------------------------------------------------------------------------------ the page

ROW = {
    "group": "Network",
    "title": "n = 16",
    "per": {"n": 16},
    "seconds": {"riemann": [0.001, 0.002, 0.003], "jax": [0.04, 0.05, 0.06]},
    "ratios": {"jax": [0.03, 0.04, 0.05]},
    "difference": {"jax": 2e-15},
    "bytes": {"riemann": 3e6, "jax": 2e9},
    "targets": [
        {"of": "jax", "at_most": 0.1, "got": 0.04, "met": True},
        {"of": "seconds", "at_most": 0.001, "got": 0.002, "met": False},
    ],
    "others": 0.01,
}
RESULTS = {
    "environment": {
        "date": "2030-01-01", "processor": "abacus", "cores": 2, "threads": 1, "system": "Linux", "busy": False,
        "quick": False, "versions": {"torch": "2.13.0"}, "revision": "abc",
    },
    "rows": [ROW, *(ROW | {"title": f"n = {n}", "per": {"n": n}, "targets": [], "bytes": {},
                           "seconds": {"riemann": [0.002 * (n / 16) ** 2], "jax": [0.05 * (n / 16) ** 4]}}
                    for n in (32, 64))],
    "failed": {"test_x": "jax differs by 1.0e-03, at most 1e-09 is allowed"},
}  # fmt: skip


def test_the_page_says_what_was_met_and_what_was_not():
    page = report.page(RESULTS)
    assert "**1 of 2 targets are met.** Not met:\n\n- Network, n = 16: 2 ms, at most 1 ms: **not met**" in page
    assert "| n = 16 | 2 ms | 50 ms (0.04 × [0.03, 0.05]) | riemann 3 MB, jax 2 GB | 2e-15 |" in page
    assert "riemann $n^{2.00 \\pm 0.00}$ (n = 16 to 64); jax $n^{4.00 \\pm 0.00}$" in page
    assert "- `test_x`: jax differs by 1.0e-03" in page
    assert "rough" not in page


@pytest.mark.parametrize("flag", ["busy", "quick"])
def test_the_page_warns_of_rough_figures(flag):
    results = copy.deepcopy(RESULTS)
    results["environment"][flag] = True
    assert "!!! warning" in report.page(results)


def test_the_page_comes_with_a_plot(tmp_path):
    report.plots(RESULTS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["benchmarks-n.svg"]
