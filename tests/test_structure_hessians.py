"""Hessians of functions that torch computes by choices of its own; and of such as choose themselves, seen or not."""

import warnings

import pytest
import torch
from torch.func import grad, hessian, jacfwd, jacrev
from torch.testing import assert_close

import riemann as rm
from riemann._structure.analytic import is_analytic

D = torch.float64
F = torch.nn.functional
X = torch.tensor([[0.7, 0.4, 0.9], [0.3, 1.1, 0.6]], dtype=D)
A = torch.sin(torch.arange(15.0, dtype=D)).view(5, 3)

SYMMETRIC = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(3), dtype=D)
SYMMETRIC = SYMMETRIC + SYMMETRIC.mT
LABELS = torch.tensor([0.0, 1, 1, 0, 1], dtype=D)


def pencil(x):
    return 9 * torch.eye(4, dtype=D) + (x[:, None, None] * SYMMETRIC).sum(0)


POTENTIALS = {
    "a product": lambda x: (x**4).sum() + x.prod() + (x**2).sum(),
    "a cubed norm": lambda x: x.norm() ** 3 + (x**2).sum(),
    "lgamma": lambda x: torch.lgamma(x).sum() - torch.lgamma(x.sum() + 1) + 3 * (x**2).sum(),
    "powers and logarithms": lambda x: torch.log(torch.exp(A @ x).sum()) + (x**2).sum(),
    "a log-partition": lambda x: torch.logsumexp(A @ x, 0) + x @ x,
    "a log-likelihood": lambda x: F.binary_cross_entropy_with_logits(A @ x, LABELS) + x @ x,
    "a class": lambda x: x @ x - torch.log_softmax(A @ x, 0)[2],
    "cross entropy": lambda x: F.cross_entropy((A @ x)[None], torch.tensor([1])) + x @ x,
    "logarithms of sums": lambda x: torch.logaddexp(A @ x, 1 - A @ x).sum() + x @ x,
    "a barrier": lambda x: -torch.logdet(pencil(x)),
    "a barrier by a factor": lambda x: -2 * torch.linalg.cholesky(pencil(x)).diagonal().log().sum(),
    "an entropy": lambda x: torch.xlogy(x, x).sum() + x.prod(),
    "quotients": lambda x: 1 / (1 + x @ x) + 2 ** x.sum() + 4 * x @ x,
}


@pytest.mark.parametrize("name, reverse", [(name, k % 2) for k, name in enumerate(POTENTIALS)], ids=POTENTIALS)
def test_hessians_are_found(name, reverse):
    P = POTENTIALS[name]
    g = lambda x: jacrev(jacrev(P))(x) if reverse else hessian(P)(x)
    found = rm.structure(g, 3, x=X)
    assert isinstance(found.metric, rm.metrics.Hessian), found
    assert_close(rm.scalar_curvature(found.metric, X), rm.scalar_curvature(g, X))


@pytest.mark.parametrize("name", ["a product", "a cubed norm"])
def test_hessians_are_found_at_points_on_axes(name):
    """There torch has no derivatives of the Hessian, and riemann looks there first."""
    found = rm.structure(lambda x: jacfwd(grad(POTENTIALS[name]))(x), 3)
    assert isinstance(found.metric, rm.metrics.Hessian), found


def test_a_logarithm_of_a_negative_determinant_has_no_derivatives():
    g = lambda x: hessian(lambda y: torch.logdet(pencil(y) - 20 * torch.eye(4, dtype=D)[0].diag()))(x)
    assert rm.jet(g, X, 0)[0].isnan().all()


# --------------------------------------------------------------------- the same near the points that are looked at


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its age

    @torch.jit.script
    def bent(y: torch.Tensor) -> torch.Tensor:
        return torch.where((y > 9.1) & (y < 9.2), y, torch.zeros_like(y))


def smooth(x):
    return (x**4).sum() + x.prod() + 5 * (x**2).sum()


KINKED = {
    "a script": lambda x: hessian(smooth)(x) + bent(x[0]) * torch.eye(3, dtype=D),
    "where": lambda x: hessian(smooth)(x) + torch.where((x[0] > 9) & (x[0] < 9.2), x[0], 0.0) * torch.eye(3, dtype=D),
    "clamp": lambda x: (
        hessian(smooth)(x) + (x[0].clamp(9.1, 9.2) - 9.1) * (9.2 - x[0].clamp(9.1, 9.2)) * A[:3].T @ A[:3]
    ),
    "greatest": lambda x: hessian(smooth)(x) * (1 + (x.amax() - x[2]) * (x.amax() - x[0]) * (x.amax() - x[1])),
    "a sum of sizes": lambda x: hessian(smooth)(x) * (1 + torch.linalg.norm(x, 1) - x.sum()),
    "a whole part": lambda x: hessian(smooth)(x) * (1 + (x[0] * 1e-3).to(torch.int64)),
}


@pytest.mark.parametrize("name", KINKED)
def test_what_chooses_is_no_hessian(name):
    found = rm.structure(KINKED[name], 3)
    assert "Hessian" not in str(found.findings), found


def test_names_are_whole():
    """`isin` is no sine that is computed in place, nor is a norm of sizes Euclid's."""
    assert not any(is_analytic(f, (), {}) for f in (torch.isin, torch.relu, torch.sign, torch.Tensor.__gt__))
    assert all(is_analytic(f, (), {}) for f in (torch.sin, torch.Tensor.sin_, torch.Tensor.__iadd__, torch.norm))
    assert not is_analytic(torch.norm, (None, 1), {}) and not is_analytic(torch.norm, (), {"p": torch.inf})
    assert not is_analytic(torch.Tensor.to, (None, torch.int64), {})
