"""What `structure` finds is the metric, however it is written; what only looks alike is not taken for it."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from torch.func import hessian, jacfwd, jacrev, jvp, vjp, vmap

import riemann as rm
import riemann_nn
from riemann import metrics
from tests.helpers import assert_equal

F = torch.nn.functional
N, H = 3, 6
M = N * (N + 1) // 2
ROWS, COLUMNS = torch.tril_indices(N, N)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def points(n, k=4, seed=1):
    return 0.2 + 0.5 * torch.rand(k, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def value(metric, x):
    """As riemann sees it: fresh tensors have the dtype of the point."""
    return rm.jet(metric, x, 0)[0]


W0, W1, W2 = draw(H, N), 0.4 * draw(H, H, seed=1), 0.4 * draw(M, H, seed=2)
B0, B1, B2 = draw(H, seed=3), draw(H, seed=4), draw(M, seed=5)
A = draw(M, M, seed=6)
A = A @ A.mT + torch.eye(M)
torch.manual_seed(0)
NET = torch.nn.Sequential(
    torch.nn.Linear(N, H), torch.nn.Tanh(), torch.nn.Linear(H, H), torch.nn.Tanh(), torch.nn.Linear(H, M)
).double()


def head(o):
    L = torch.zeros(N, N).index_put((ROWS, COLUMNS), o)
    return torch.tril(L, -1) + torch.diag(F.softplus(torch.diagonal(L)) + 0.1)


def square(L):
    return L @ L.mT


# ------------------------------------------------------------------------------------- metrics, by what they are


def sphere(x):
    return torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))


def filled_sphere(x):
    g = torch.zeros(2, 2)
    g[0, 0], g[1, 1] = 1.0, torch.sin(x[0]) * torch.sin(x[0])
    return g


def three_sphere(x):
    s = torch.sin(x[0]) ** 2
    return torch.diag(torch.stack([x[0] ** 0, s, s * torch.sin(x[1]) ** 2]))


def schwarzschild(x):
    f = 1 - 0.01 / x[1]
    return torch.diag(torch.stack([-f, 1 / f, x[1] ** 2, x[1] ** 2 * torch.sin(x[2]) ** 2]))


def half_plane(x):
    return torch.eye(2) / x[1] ** 2


def stacked_half_plane(x):
    zero = torch.zeros_like(x[0])
    return torch.stack([torch.stack([1 / (x[1] * x[1]), zero]), torch.stack([zero, x[1] ** -2])])


def scaled(x):
    return torch.exp(NET(x)[0]) * torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, -1.0]])


def scaled_sphere(x):
    return (1 + x @ x) * three_sphere(x)


def product(x):
    return torch.block_diag(half_plane(x[:2]), sphere(x[2:]))


def written_product(x):
    g = torch.zeros(4, 4)
    g[:2, :2], g[2:, 2:] = half_plane(x[:2]), torch.outer(torch.sin(x[2:]), torch.cos(x[2:])).abs() + torch.eye(2)
    g[2:, 2:] = torch.eye(2) + torch.outer(x[2:], x[2:])
    return g


def diagonal(x):
    return torch.diag(torch.exp(torch.stack([x[0] * x[1], x[1] * x[2], x[2] * x[0]])))


def of_one_sign_nowhere(x):
    return (x[0] - 0.4) * torch.eye(2)


def network(x):
    return square(head(NET(x)))


def by_matrices(x):
    h = torch.tanh(W1 @ torch.tanh(W0 @ x + B0) + B1)
    return torch.einsum("ik,jk->ij", *[head(W2 @ h + B2)] * 2)


def by_loops(x):
    h = torch.sin(3 * (W0 @ x) + B0)
    o = [(W2[k] * h).sum() + B2[k] for k in range(M)]
    rows, zero = [], torch.zeros_like(x[0])
    for i in range(N):
        start = i * (i + 1) // 2
        row = [0.3 * torch.tanh(a) for a in o[start : start + i]] + [torch.exp(o[start + i])] + [zero] * (N - 1 - i)
        rows.append(torch.stack(row))
    L = torch.stack(rows)
    return sum(torch.outer(L[:, k], L[:, k]) for k in range(N))


def residual(x):
    h = torch.tanh(W0 @ x + B0)
    h = h + W1 @ F.silu(W1 @ h + B1)
    return square(head(W2 @ h + B2))


def with_skips(x):
    z = W0 @ x + B0
    h = torch.cat([F.softplus(W1 @ (z * torch.sigmoid(z))), x])
    return square(head(W2 @ h[:H] + W2[:, :N] @ h[H:]))


def by_rows(x):
    o = (torch.tanh(W0 @ x) @ W2.mT).flip(0)  # the outputs in another order
    return square(head(o))


def linear_network(x):
    return square(head(W2[:, :N] @ x + B2))


def f(x):
    return NET(x)


def forward_jacobian(x):
    return jacfwd(f)(x).mT @ jacfwd(f)(x)


def reverse_jacobian(x):
    J = jacrev(f)(x)
    return torch.einsum("ai,aj->ij", J, J)


def jacobian_by_jvp(x):
    J = torch.stack([jvp(f, (x,), (e,))[1] for e in torch.eye(N, dtype=x.dtype)], 1)
    return sum(torch.outer(row, row) for row in J)


def jacobian_by_vjp(x):
    J = vmap(vjp(f, x)[1])(torch.eye(M, dtype=x.dtype))[0]
    return J.mT @ J


def jacobian_by_hand(x):
    h = torch.tanh(W0 @ x + B0)
    J = W2 @ ((1 - h**2)[:, None] * W0)
    return J.mT @ J


def with_constant_ambient(x):
    J = jacfwd(f)(x)
    return J.mT @ A @ J


def with_ambient(x):
    J = jacrev(f)(x)
    return J.mT @ torch.diag(1 + f(x) ** 2) @ J


def polar(x):
    J = jacfwd(lambda y: torch.stack([y[0] * torch.cos(y[1]), y[0] * torch.sin(y[1]), y[0] ** 1.5]))(x)
    return J.mT @ J + 0 * torch.outer(x, x)


def potential(y):
    return F.softplus(NET(y)).sum() + y @ y


def hessian_metric(x):
    return hessian(potential)(x)


def nested_hessian(x):
    return jacrev(jacrev(potential))(x)


def paraboloid(x):
    return torch.eye(3) + 4 * torch.outer(x, x)


def low_rank(x):
    U = torch.stack([x, torch.sin(x)], 1)
    return torch.diag(torch.exp(x)) + U @ U.mT


def lowered(x):
    return torch.eye(3) - 0.1 * torch.outer(torch.sin(x), torch.sin(x)) / (1 + x @ x)


def constant(x):
    return torch.tensor([[2.0, 1.0], [1.0, 3.0]]) + 0 * x[0]


FOUND = [
    (constant, 2, "Constant"),
    (half_plane, 2, "Conformal"),
    (stacked_half_plane, 2, "Conformal"),
    (scaled, 3, "Conformal"),
    (scaled_sphere, 3, "Conformal"),
    (sphere, 2, "Warped"),
    (filled_sphere, 2, "Warped"),
    (three_sphere, 3, "Warped"),
    (schwarzschild, 4, "Warped"),
    (product, 4, "Product"),
    (written_product, 4, "Product"),
    (diagonal, 3, "Diagonal"),
    (of_one_sign_nowhere, 2, "Diagonal"),
    (network, 3, "MLPCholesky"),
    (by_matrices, 3, "MLPCholesky"),
    (by_loops, 3, "MLPCholesky"),
    (residual, 3, "MLPCholesky"),
    (with_skips, 3, "MLPCholesky"),
    (by_rows, 3, "MLPCholesky"),
    (linear_network, 3, "MLPCholesky"),
    (forward_jacobian, 3, "Pullback"),
    (reverse_jacobian, 3, "Pullback"),
    (jacobian_by_jvp, 3, "Pullback"),
    (jacobian_by_vjp, 3, "Pullback"),
    (jacobian_by_hand, 3, "Pullback"),
    (with_constant_ambient, 3, "Pullback"),
    (with_ambient, 3, "Pullback"),
    (hessian_metric, 3, "Hessian"),
    (nested_hessian, 3, "Hessian"),
    (paraboloid, 3, "LowRankPlusDiagonal"),
    (low_rank, 3, "LowRankPlusDiagonal"),
    (lowered, 3, "LowRankPlusDiagonal"),
]


@pytest.mark.parametrize("metric, n, name", FOUND, ids=[m.__name__ for m, _, _ in FOUND])
def test_what_is_found_is_the_metric(metric, n, name):
    x = points(n)
    found = rm.structure(metric, n, x=x)
    assert found.findings[0].name == name and isinstance(found.metric, getattr(metrics, name)), str(found)
    assert len(str(found).splitlines()) == len(found.findings)
    there = points(n, 2, seed=2)  # others than those it was looked at
    for quantity in (rm.scalar_curvature, rm.ricci_tensor, rm.christoffel, rm.log_volume_element):
        torch.testing.assert_close(quantity(found.metric, there), quantity(metric, there), rtol=1e-8, atol=1e-9)
    u, v = points(n, 2, 5).flip(0)
    torch.testing.assert_close(
        rm.sectional_curvature(found.metric, there, u, v),
        rm.sectional_curvature(metric, there, u, v),
        rtol=1e-8,
        atol=1e-9,
    )


def test_parts_have_structures_of_their_own():
    found = rm.structured(three_sphere, 3)
    assert isinstance(found.base, metrics.Constant) and isinstance(found.fibre, metrics.Warped)
    two = rm.structured(product, 4, x=points(4))
    assert isinstance(two.metric0, metrics.Conformal) and isinstance(two.metric1, metrics.Warped)
    assert isinstance(rm.structured(with_ambient, 3).ambient, metrics.Product | metrics.Diagonal)
    assert isinstance(rm.structured(scaled_sphere, 3).base, metrics.Warped)


def test_all_findings_are_listed_and_the_cost_is_said():
    found = rm.structure(schwarzschild, 4, x=points(4))
    assert [finding.name for finding in found.findings] == ["Warped", "Diagonal", "ignorable"]
    assert "x0, x3" in str(found) and "second derivatives" in str(found)
    none = rm.structure(lambda x: square(head(NET(x) + x.sum() * torch.softmax(NET(x), 0))) + 0.1 * torch.eye(3), 3)
    assert not none.findings and "no structure was found" in str(none)


def test_the_metric_itself_is_returned_where_nothing_was_found():
    def metric(x):
        return torch.eye(2) + 0.1 * torch.cos(x[0] * x[1]) * torch.ones(2, 2) + 0.1 * torch.outer(x, x.flip(0) * x)

    metric_ = lambda x: 0.5 * (metric(x) + metric(x).mT)
    assert rm.structured(metric_, 2) is metric_


# --------------------------------------------------------------------------------------------- parameters, copies


def test_parameters_stay_those_of_the_metric():
    net = copy.deepcopy(NET)
    structured, x = rm.structured(lambda x: square(head(net(x))), 3), points(3)
    assert {id(p) for p in structured.parameters()} == {id(p) for p in net.parameters()}
    with torch.no_grad():
        net[0].weight.mul_(1.5)
    assert_equal(rm.scalar_curvature(structured, x), rm.scalar_curvature(lambda x: square(head(net(x))), x))
    rm.scalar_curvature(structured, x).sum().backward()
    gradients = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    rm.scalar_curvature(lambda x: square(head(net(x))), x).sum().backward()
    for ours, theirs in zip(gradients, (p.grad for p in net.parameters()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    "metric",
    [
        lambda x, p: jacfwd(NET)(x).mT @ (torch.eye(M) + p @ p.mT) @ jacfwd(NET)(x),
        lambda x, p: torch.exp(2 * (p[0, :3] @ x)) * torch.eye(3),
        lambda x, p: torch.diag(torch.exp(p[:3, 0] * x.flip(0))),
        lambda x, p: torch.diag(torch.exp(p[:3, 0])) + torch.outer(x, x),
        lambda x, p: square(head(p @ torch.tanh(W0 @ x + B0) * p[0, 0])),
        lambda x, p: hessian(lambda y: torch.exp(p[:, :3] @ y).sum())(x),
    ],
    ids=["ambient", "conformal", "diagonal", "low rank", "network", "hessian"],
)
def test_gradients_reach_tensors_that_ask_for_them(metric, monkeypatch):
    p = (0.3 * draw(M, M, seed=8)).requires_grad_()
    plain = lambda x: metric(x, p)
    structured, x = rm.structured(plain, 3), points(3)
    assert structured is not plain
    ours, theirs = (torch.autograd.grad(rm.ricci_tensor(g, x).square().sum(), p)[0] for g in (structured, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


def test_other_tensors_are_copied_as_they_are():
    scale = torch.tensor([1.0, 2.0], dtype=torch.float64)
    structured = rm.structured(lambda x: torch.diag(scale) * torch.exp(x[0]), 2)
    before = structured(points(2)[0])
    scale.mul_(3)
    assert_equal(structured(points(2)[0]), before)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = copy.deepcopy(NET)

    def forward(self, x):
        return square(head(self.net(x)))


def test_copies_and_pickles():
    structured, x = rm.structured(Net(), 3), points(3)
    for other in (copy.deepcopy(structured), pickle.loads(pickle.dumps(structured))):
        assert_equal(rm.scalar_curvature(other, x), rm.scalar_curvature(structured, x))


def test_single_precision():
    net = copy.deepcopy(Net()).float()
    structured, x = rm.structured(net, 3), points(3).float()
    assert isinstance(structured, metrics.MLPCholesky)
    torch.testing.assert_close(rm.scalar_curvature(structured, x), rm.scalar_curvature(net, x), rtol=1e-2, atol=1e-2)
    with pytest.raises(ValueError, match="float32.*structure"):
        rm.structured(half_plane, 2)(x[0, :2])


# ------------------------------------------------------------------------------------------------------ look-alikes


def look_alikes(seed):
    """Metrics that almost have a structure: by one term, of a size that differs, or far away."""
    generator = torch.Generator().manual_seed(seed)
    e = float(10 ** (-1 - 8 * torch.rand((), generator=generator)))
    i, j = torch.randperm(3, generator=generator)[:2].tolist()
    w = torch.randn(H, N, generator=generator, dtype=torch.float64)
    b = torch.randn(H, generator=generator, dtype=torch.float64)
    V = 0.4 * torch.randn(M, H, generator=generator, dtype=torch.float64)
    hidden = lambda x: torch.tanh(w @ x + b)
    net = lambda x: V @ hidden(x)

    def mixed_head(x):
        o = net(x)
        return square(head(o + e * o[i] * o.roll(1)))

    def mixing_layer(x):
        h = hidden(x)
        return square(head(V @ (h + e * h[0] * h[1])))

    def softmax_layer(x):
        return square(head(V @ torch.softmax(w @ x, 0)))

    def normal_layer(x):
        return square(head(V @ F.layer_norm(w @ x, (H,))))

    def another_factor(x):
        L = head(net(x))
        return square(L) + e * torch.outer(x, x)

    def another_map(x):
        J, K = jacfwd(net)(x), jacfwd(lambda y: V @ torch.tanh(w @ y + b * (1 + e)))(x)
        return 0.5 * (J.mT @ K + K.mT @ J) + torch.eye(3)

    def not_integrable(x):
        h = torch.tanh(w @ x + b)
        J = V @ ((1 - h**2 * (1 + e))[:, None] * w)
        return J.mT @ J

    def ambient_elsewhere(x):
        J = jacfwd(net)(x)
        return J.mT @ torch.diag(1 + net(x * (1 + e)) ** 2) @ J

    def shared_coordinate(x):
        return torch.block_diag((1 + x[0] ** 2 + e * x[2]).reshape(1, 1), torch.eye(2) * torch.exp(x[1] * x[2]))

    def mixed_warp(x):
        s = torch.sin(x[0] + 1) ** 2
        return torch.diag(torch.stack([1 + 0 * s, s, s * torch.exp(x[1]) + e * x[1] * x[0]]))

    def almost_conformal(x):
        return torch.exp(x @ x) * (torch.eye(3) + e * torch.diag(torch.sin(x)))

    def almost_diagonal(x):
        g = torch.diag(torch.exp(x.roll(1)))
        return g + e * (x[i] * x[j]) * (torch.ones(3, 3) - torch.eye(3))

    def almost_hessian(x):
        g = hessian(lambda y: torch.exp(w @ y).sum())(x)
        return g + e * torch.outer(x, x)

    def almost_low_rank(x):
        U = torch.stack([x, x.square()], 1)
        return torch.diag(torch.exp(x)) + U @ U.mT + e * torch.outer(torch.sin(x), torch.sin(x))

    def changing_sign(x):
        return torch.sinh(x[i] - 1 + e) * torch.eye(3)

    def far_away(x):
        return torch.eye(3) * torch.where(x[i] > 2, 1 + (x[i] - 2) ** 3 * x[j], torch.exp(0 * x[j]))

    def bent_far_away(x):
        far = F.relu(x[i] - 2) ** 3
        return square(head(net(x) + far * net(x).roll(1)))

    def piecewise_pullback(x):
        J = jacfwd(net)(x)
        return J.mT @ J + F.relu(x[i] - 2) ** 4 * torch.eye(3)

    def coupled_far_away(x):
        return torch.diag(torch.exp(x)) * (1 + F.relu(x[i] - 2) ** 4 * x[j])

    def sorted_coordinates(x):
        return torch.diag(torch.exp(torch.sort(x)[0]))

    return [f for f in locals().values() if callable(f) and getattr(f, "__code__", None) and f.__name__ != "<lambda>"]


WRONG = {
    "mixed_head": "MLPCholesky", "mixing_layer": "MLPCholesky", "softmax_layer": "MLPCholesky",
    "normal_layer": "MLPCholesky", "another_factor": "MLPCholesky", "another_map": "Pullback",
    "not_integrable": "Pullback", "ambient_elsewhere": "Pullback", "shared_coordinate": "Product",
    "mixed_warp": "Warped", "almost_diagonal": "Diagonal", "almost_hessian": "Hessian",
    "changing_sign": "Conformal", "far_away": "Constant", "bent_far_away": "MLPCholesky",
    "piecewise_pullback": "Pullback", "coupled_far_away": "Product", "sorted_coordinates": "Product",
}  # fmt: skip


def check_look_alikes(seed, step=1):
    x = 2 * points(3, 3, seed) - 0.4
    far = torch.cat([points(3, 2, seed + 1), points(3, 2, seed + 2) + 2.5])
    for metric in look_alikes(seed)[::step]:
        found = rm.structure(metric, 3, x=x)
        assert WRONG.get(metric.__name__) not in [finding.name for finding in found.findings], (metric.__name__, found)
        for finding in found.findings:
            if finding.metric is not None:
                ours, theirs = value(finding.metric, far), value(metric, far)
                torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


def test_look_alikes_are_not_taken_for_what_they_look_like():
    check_look_alikes(0, step=3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_two_hundred_look_alikes(seed):
    check_look_alikes(seed)


# ------------------------------------------------------------------------------------------ large, class, refusals


def large(n):
    V, w = 0.2 * draw(n * (n + 1) // 2, H, seed=7), draw(H, n, seed=8) / n**0.5
    rows, columns = torch.tril_indices(n, n)

    def metric(x):
        L = torch.zeros(n, n).index_put((rows, columns), V @ torch.tanh(w @ x))
        return square(torch.tril(L, -1) + torch.diag(F.softplus(torch.diagonal(L)) + 0.1))

    return metric


def test_the_warning_in_many_dimensions_names_what_was_found():
    from riemann._curvature import snapshot

    snapshot._SAID.clear()
    metric, x = large(32), 0.1 * draw(1, 32)
    with pytest.warns(UserWarning, match=r"`kretschmann_scalar`.*a `MLPCholesky`: `riemann.structured\(metric, 32\)`"):
        plain = rm.kretschmann_scalar(metric, x)
    torch.testing.assert_close(rm.kretschmann_scalar(rm.structured(metric, 32, x=x), x), plain)


def test_a_network_in_many_dimensions():
    structured, x = rm.structured(large(100), 100, x=0.1 * draw(2, 100)), 0.1 * draw(1, 100)
    assert isinstance(structured, metrics.MLPCholesky)
    assert_equal(value(structured, x), value(large(100), x))
    assert rm.scalar_curvature(structured, x).isfinite().all()


def test_the_class_of_networks_is_one():
    assert riemann_nn.MLPCholesky is metrics.MLPCholesky
    script = "import riemann, sys; print([m for m in sys.modules if m.startswith('riemann_nn') or m == 'sympy'])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_pickles_of_before_load(old="riemann_nn._mlp_cholesky"):
    metric = riemann_nn.MLPCholesky(2, (4,), off_diagonal=riemann_nn.Bounded(0.5)).double()
    saved = pickle.dumps(metric, 0).replace(b"criemann.metrics\nMLPCholesky", f"c{old}\nMLPCholesky".encode())
    saved = saved.replace(b"riemann.metrics.elementwise", b"riemann_nn._elementwise")
    assert old.encode() in saved and b"riemann_nn._elementwise" in saved
    assert_equal(rm.scalar_curvature(pickle.loads(saved), points(2)), rm.scalar_curvature(metric, points(2)))


def test_a_metric_of_known_type_is_returned():
    metric = riemann_nn.MLPCholesky(2, (4,)).double()
    found = rm.structure(metric, 2)
    assert found.metric is metric and [finding.name for finding in found.findings] == ["MLPCholesky"]


@pytest.mark.parametrize(
    "metric",
    [
        lambda x: torch.linalg.matrix_exp(torch.diag(x)),
        lambda x: torch.eye(2) * (torch.linalg.svdvals(torch.eye(2) + x).sum()),
    ],
    ids=["matrix exponential", "singular values"],
)
def test_operations_without_a_rule_are_never_in_the_way(metric):
    structured, x = rm.structured(metric, 2, x=points(2)), points(2, 2, 3)
    torch.testing.assert_close(rm.scalar_curvature(structured, x), rm.scalar_curvature(metric, x), rtol=1e-8, atol=1e-9)


def test_modules_that_take_batches_only():
    class Normed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).double().eval()

        def forward(self, x):
            return torch.diag_embed(torch.exp(self.net(x)[..., :2]))

    metric, x = Normed(), points(2, 2, 3)
    structured = rm.structured(metric, 2, x=points(2))
    assert isinstance(structured, metrics.Diagonal)
    torch.testing.assert_close(rm.scalar_curvature(structured, x), rm.scalar_curvature(metric, x))


def test_one_dimension():
    line = rm.structured(lambda x: torch.exp(x[0]).reshape(1, 1), 1)
    assert rm.scalar_curvature(line, points(1)).abs().max() == 0


def test_what_cannot_be_recorded_is_said():
    def branching(x):
        return torch.eye(2) * (1.0 if x[0] > 0 else 2.0)

    found = rm.structure(branching, 2, x=points(2))
    assert found.metric is branching and "cannot be recorded" in str(found)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="`dim`"):
        rm.structure(sphere, 0)
    with pytest.raises(ValueError, match=r"`x` has shape \(4, 3\), expected \(\*batch, 2\)"):
        rm.structure(sphere, 2, x=points(3))
    with pytest.raises(TypeError, match="`metric`"):
        rm.structured(3, 2)
