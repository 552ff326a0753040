"""Sums over indices are `einsum`'s, whatever the layout of the tensors; formulas give the same in both layouts."""

import pytest
import torch

import riemann as rm
from riemann import formulas
from riemann._contraction import MANY, contract, has_points_last, points_last

from .helpers import assert_close, random_metric

FORMULAS = [
    "...ef,...fad->...ead",
    "...ebc,...ead->...abcd",
    "...abcd,...cdab->...",
    "...ac,...adbc->...bd",
    "...lij,...i,...j->...l",
    "...ai,...ijm,...jb->...mab",
    "...kji->...kij",
    "...bd,...b,...d->...",
    "...i,...j->...ij",
]


def operands(formula, n, batch, dtype=torch.float64):
    names = formula.replace("...", "").split("->")[0].split(",")
    return [torch.randn(*batch, *[n] * len(name), dtype=dtype) for name in names], [len(name) for name in names]


@pytest.mark.parametrize("n", [2, 3, 6, 7])
@pytest.mark.parametrize("batch", [(MANY,), (3, MANY), (5,), ()])
@pytest.mark.parametrize("formula", FORMULAS)
def test_contractions_are_those_of_einsum(formula, batch, n):
    tensors, ranks = operands(formula, n, batch)
    expected = torch.einsum(formula, *tensors)
    last = [points_last(T, rank) for T, rank in zip(tensors, ranks, strict=True)]
    assert_close(contract(formula, *tensors), expected)
    assert_close(contract(formula, *last), expected)
    assert_close(contract(formula, *last[:1], *tensors[1:]), expected)


def test_results_keep_the_layout():
    (a, b), _ = operands("...ef,...fad->...ead", 3, (MANY,))
    assert has_points_last(contract("...ef,...fad->...ead", points_last(a, 2), points_last(b, 3)), 3)
    assert not has_points_last(contract("...ef,...fad->...ead", a, b), 3)


@pytest.mark.parametrize(
    "other",
    [
        lambda T: T.expand(MANY, 3, 3),
        lambda T: T[0].expand(MANY, 3, 3),
        lambda T: T.unsqueeze(0),
        lambda T: T[:4],
        lambda T: T.clone().requires_grad_(),
    ],
    ids=["batch first", "one matrix", "another batch axis", "few points", "with gradients"],
)
def test_what_looks_like_points_last(other):
    T = torch.randn(MANY, 3, 3)
    assert not has_points_last(other(T), 2) or torch.equal(other(T), T)
    assert has_points_last(points_last(T, 2), 2)


def test_points_of_different_batches_broadcast():
    a, b = torch.randn(MANY, 3, 3), torch.randn(2, MANY, 3, 3)
    expected = torch.einsum("...ij,...jk->...ik", a, b)
    assert_close(contract("...ij,...jk->...ik", points_last(a, 2), points_last(b, 2)), expected)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_formulas_are_the_same_in_both_layouts(n):
    metric = random_metric(n, 0, seed=1)
    x = 0.3 * torch.randn(MANY, n, dtype=torch.float64)
    jets = [y.contiguous() for y in rm.jet(metric, x, 2)]
    last = [points_last(y, y.ndim - 1) for y in jets]
    for formula in (
        formulas.riemann_tensor, formulas.ricci_tensor, formulas.scalar_curvature, formulas.kretschmann_scalar,
        formulas.weyl_tensor, formulas.einstein_tensor,
    ):  # fmt: skip
        assert_close(formula(*last), formula(*jets), rtol=1e-8, atol=1e-8)
    v = torch.randn(MANY, n, dtype=torch.float64)
    assert_close(formulas.christoffel_vector(*last[:2], v, v), formulas.christoffel_vector(*jets[:2], v, v))
    assert_close(formulas.geodesic_acceleration(*last[:2], v), formulas.geodesic_acceleration(*jets[:2], v))


@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_riemann_by_pairs_is_that_of_single_points(n):
    g = random_metric(n, 1, 0)
    x = 0.1 * torch.randn(3, MANY, n, dtype=torch.float64)
    for indices in ("ulll", "llll"):
        R = rm.riemann_tensor(g, x, indices=indices)
        assert_close(R[2, :3], torch.stack([rm.riemann_tensor(g, p, indices=indices) for p in x[2, :3]]))
        assert torch.equal(R, -R.mT)
    assert torch.equal(R, -R.transpose(-4, -3))


def test_riemann_by_pairs_is_nan_where_there_is_no_metric():
    g = lambda x: torch.eye(3, dtype=x.dtype) * torch.where(x[0] > 0, 1 + x[1] ** 2, 0.0)  # noqa: E731
    x = torch.randn(2 * MANY, 3, dtype=torch.float64)
    with pytest.warns(UserWarning, match="singular|not finite|degenerate"):
        R = rm.riemann_tensor(g, x)
    assert torch.equal(R.isnan().all(dim=(1, 2, 3, 4)), x[:, 0] <= 0)
    assert torch.equal(R.isnan().flatten(1).any(1), x[:, 0] <= 0)


def test_formulas_of_riemann_inside_a_map():
    g, x = random_metric(3, 1, 0), 0.1 * torch.randn(4, MANY, 3, dtype=torch.float64)
    jets = tuple(points_last(y, k) for k, y in enumerate(rm.jet(g, x, 2), start=2))
    assert_close(torch.func.vmap(formulas.riemann_tensor)(*jets), rm.riemann_tensor(g, x))
