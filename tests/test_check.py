"""check_metric: right metrics pass, and each fault is found by the check that is meant for it."""

import pytest
import torch

import riemann as rm
from tests.cases import CASES


def failed(metric, x):
    return [finding.check for finding in rm.check_metric(metric, x).findings if not finding.ok]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_right_metrics_pass(case):
    report = rm.check_metric(case.metric, case.x())
    assert report.ok, str(report)
    report.raise_if_failed()


X = torch.rand(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.3


FAULTS = {
    "shape": lambda x: torch.sin(x),
    "symmetry": lambda x: torch.stack([torch.stack([x[0], x[1]]), torch.stack([0 * x[0], x[1]])]),
    "signature": lambda x: torch.diag(torch.stack([x[0] - 0.7, x[1]])),
    "conditioning": lambda x: torch.ones(2, 2) + torch.diag(torch.stack([1e-14 * x[0], 0 * x[1]])),
    "smoothness": lambda x: torch.eye(2) * (2 + torch.relu(x[0] - 0.31)),
}


@pytest.mark.parametrize("check", FAULTS)
def test_faults_are_found(check):
    assert check in failed(FAULTS[check], X)


@pytest.mark.parametrize(
    "kink", [torch.abs, torch.relu, lambda y: torch.clamp(y, min=0), lambda y: torch.where(y > 0, y, -y)]
)
def test_kinks_between_the_points_are_found(kink):
    assert failed(lambda x: torch.eye(2) * (2 + kink(x[0] - 0.5)), X) == ["smoothness"]


def test_a_relu_network_is_found():
    net = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1)).double()
    report = rm.check_metric(lambda x: torch.exp(net(x)) * torch.eye(2), X)
    assert not report.ok and "relu" in str(report) and "tanh" in str(report)


def test_wrong_derivatives_do_not_pass(monkeypatch):
    from riemann._arithmetic.series import FUNCTIONS

    monkeypatch.setitem(FUNCTIONS, "atan", (torch.atan, lambda v, y: 1.003 / (1 + v * v)))
    assert not rm.check_metric(lambda x: torch.eye(2) * (1 + torch.atan(x[0])), X).ok


def test_values_that_plain_torch_gets_wrong_are_told():
    def inner(x):  # g from an inner derivative of logdet
        f = lambda y: torch.linalg.slogdet(torch.eye(2) * (3 + y @ y) + torch.outer(y, y)).logabsdet
        return torch.func.hessian(f)(x) + torch.eye(2)

    report = rm.check_metric(inner, X)
    assert [f.check for f in report.findings if not f.ok] == ["plain torch"]


def test_the_report_prints_a_line_a_check_with_remedies():
    text = str(rm.check_metric(FAULTS["symmetry"], X))
    assert "FAIL  symmetry" in text and "0.5 * (g + g.T)" in text
    with pytest.raises(ValueError, match="failed its checks"):
        rm.check_metric(FAULTS["symmetry"], X).raise_if_failed()


def test_derivatives_that_are_not_finite_are_named():
    report = rm.check_metric(lambda x: torch.eye(2) * (1 + (x[0] - 1).abs().sqrt()), torch.ones(1, 2).double())
    assert not report.ok and "dg is not finite at [1.0, 1.0]" in str(report)


def test_the_value_of_a_metric_outlives_its_derivatives():
    kink = lambda x: torch.eye(2) * (1 + (x[0] - 1).abs().sqrt())
    with pytest.warns(UserWarning, match="has derivatives that are not finite at this point"):
        here = rm.at(kink, torch.ones(2).double(), 1)
    assert torch.equal(here.g, torch.eye(2).double()) and here.dg.isnan().all() and here.christoffel().isnan().all()
