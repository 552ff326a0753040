"""Sums of outer products, in every spelling, and what looks like one: they have the numbers of a matrix product."""

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

import riemann as rm

N = 6
X = torch.tensor([[0.3, -0.2, 0.5, 0.1, -0.4, 0.2], [1.1, 0.4, -0.3, 0.2, 0.6, -0.7]], dtype=torch.float64)
EYE = torch.eye(N, dtype=torch.float64)
MIX = torch.sin(torch.arange(7.0 * N * N, dtype=torch.float64)).view(N * N + N, N)


def parts(x):
    """Numbers s `(n,)` and vectors, the rows of U `(n, n)`."""
    p = torch.tanh(0.4 * MIX.to(x.dtype) @ x)
    return torch.nn.functional.softplus(p[:N]), p[N:].reshape(N, N)


def weighted(x):
    s, U = parts(x)
    return EYE.to(x.dtype) + U.T @ torch.diag(s) @ U


def one_by_one(x, term):
    s, U = parts(x)
    total = EYE.to(x.dtype)
    for a in range(N):
        total = total + term(s[a], U[a])
    return total


def in_place(x):
    s, U = parts(x)
    total = torch.eye(N, dtype=x.dtype)
    for a in range(N):
        total += s[a] * torch.outer(U[a], U[a])
    return total


def backwards(x):
    s, U = parts(x)
    total = 2 * EYE
    for a in range(N):
        total = total - (-s[a]) * torch.outer(U[a], U[a])
    return total - EYE


SPELLINGS = {
    "a number before": lambda x: one_by_one(x, lambda s, u: s * torch.outer(u, u)),
    "a number behind": lambda x: one_by_one(x, lambda s, u: torch.outer(u, u) * s),
    "a number of a matrix's shape": lambda x: one_by_one(x, lambda s, u: s.view(1, 1) * torch.outer(u, u)),
    "half a number": lambda x: one_by_one(x, lambda s, u: 0.5 * torch.outer(u, 2 * s * u)),
    "columns times rows": lambda x: one_by_one(x, lambda s, u: s * u[:, None] * u[None, :]),
    "rows times columns": lambda x: one_by_one(x, lambda s, u: s * (u * u[:, None])),
    "einsum": lambda x: one_by_one(x, lambda s, u: torch.einsum(",i,j->ij", s, u, u)),
    "addr": lambda x: torch.addr(one_by_one(x, lambda s, u: torch.outer(s * u, u)), 0 * x, x),
    "Python's sum": lambda x: EYE + sum(s * torch.outer(u, u) for s, u in zip(*parts(x), strict=True)),
    "a stack": lambda x: EYE + torch.stack([s * torch.outer(u, u) for s, u in zip(*parts(x), strict=True)]).sum(0),
    "a stack in between": lambda x: (
        EYE + torch.stack([s * torch.outer(u, u) for s, u in zip(*parts(x), strict=True)], 1).sum(1)
    ),
    "broadcasting": lambda x: EYE + (lambda s, U: (s[:, None, None] * U[:, :, None] * U[:, None, :]).sum(0))(*parts(x)),
    "broadcasting, numbers last": lambda x: (
        EYE + (lambda s, U: (U[:, :, None] * U[:, None, :] * s[:, None, None]).sum(0))(*parts(x))
    ),
    "two axes": lambda x: (
        EYE + (lambda s, U: (s.view(2, 3, 1, 1) * U.view(2, 3, N, 1) * U.view(2, 3, 1, N)).sum((0, 1)))(*parts(x))
    ),
    "in place": in_place,
    "differences": backwards,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_are_one_metric(spelling):
    g = SPELLINGS[spelling]
    assert_close(g(X[0]), weighted(X[0]))
    assert_close(rm.riemann_tensor(g, X), rm.riemann_tensor(weighted, X))
    assert_close(rm.jet(g, X, 3), rm.jet(weighted, X, 3))
    assert_close(torch.func.vmap(lambda y: rm.jet(g, y, 2))(X), rm.jet(weighted, X, 2))


@pytest.mark.parametrize("spelling", ["a number before", "broadcasting", "in place"])
def test_spellings_are_compiled(spelling):
    compiled = rm.compile(SPELLINGS[spelling], "scalar_curvature", dim=N, backend=None)
    assert_close(compiled(X), rm.scalar_curvature(weighted, X))
    assert compiled.route.startswith("jets")


def test_they_are_one_product():
    """Of matrices of the columns and the rows: no term is a matrix by itself."""
    multiplied = []

    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            y = func(*args, **(kwargs or {}))
            if func.overloadpacket in (torch.ops.aten.mul, torch.ops.aten.addcmul) and y.shape[-2:] == (N, N):
                multiplied.append(func)
            return y

    for spelling in ("a number before", "a stack", "broadcasting"):
        rm.jet(SPELLINGS[spelling], X, 2)  # a function is weighed at its first call, by values alone
        with Seen():
            rm.jet(SPELLINGS[spelling], X, 2)
        assert not multiplied, spelling


# ------------------------------------------------------------------------------------------ what is no longer the sum


def written_later(x):
    """Factors and what is added change after they were read."""
    s, U = parts(x)
    u, base = U[0].clone(), EYE.clone()
    total = base + s[0] * torch.outer(u, u)
    u *= 3
    base[0, 0] = 7
    return total + torch.outer(u, u) / 9


def written_twice(x):
    """So do factors that were written to before, in memory that others look at."""
    s, U = parts(x)
    rows, total = torch.zeros(2, N, dtype=x.dtype), EYE.clone()
    for a in range(2):
        rows[0] = U[a]
        rows[1] = s[a] * U[a]
        total = total + torch.outer(rows[0], rows[1])
    rows.zero_()
    return total


def numbers_written_later(x):
    s, U = parts(x)
    weight = s.clone()
    total = EYE + weight[0] * torch.outer(U[0], U[0]) + weight[1] * torch.outer(U[1], U[1])
    weight[:2] = 0
    return total


def read_on_the_way(x):
    """Every partial sum is read, and its own memory is written to afterwards."""
    s, U = parts(x)
    total, traces = EYE, []
    for a in range(3):
        before = total
        total = before + s[a] * torch.outer(U[a], U[a])
        traces.append(total.diagonal().sum())
        before = total.clone()
        before[0, 1] = 5
    return total + torch.diag(torch.stack([*traces, *traces]))


def written_into(x):
    """What waits is written to, whole and in part."""
    s, U = parts(x)
    P = torch.outer(U[0], U[0])
    Q = P + torch.outer(U[1], U[1])
    P *= s[0]
    Q[0] = 0
    Q[:, 0] = 0
    Q += P
    return EYE + Q


def seen_through_views(x):
    s, U = parts(x)
    P = s[0] * torch.outer(U[0], U[1])
    row, across = P[2], P.T
    P.mul_(2)
    return 3 * EYE + P + across + torch.diag(row)


def times_itself(x):
    _, U = parts(x)
    P = torch.outer(U[0], U[1]) + torch.outer(U[2], U[3])
    return EYE + P * P.T + P.T @ P


def of_other_shapes(x):
    """Numbers that are none: of rows, of columns, of a batch."""
    s, U = parts(x)
    P = torch.outer(U[0], U[0])
    batch = torch.stack([P, P + P])
    return 4 * EYE + (s * P) * s[:, None] + (batch * s[:2, None, None]).sum(0) + (P.sum(0) + P.sum(1)).diag()


def of_batches(x):
    """Outer products that broadcast against each other."""
    s, U = parts(x)
    P = U[:2, None, :, None] * U[None, 2:5, None, :]
    return (
        9 * EYE + P.sum((0, 1)) + P.sum((0, 1)).T + P.sum(0)[1] * 0.1 + 0.1 * P.sum(0)[1].T + P[0].mean(0).diag().diag()
    )


def complex_ones(x):
    s, U = parts(x)
    z = torch.complex(U[0], U[1])
    P = s[0] * torch.outer(z, z.conj()) + torch.outer(z, z) * (1 + 2j)
    return 3 * EYE + P.real + P.real.T + torch.outer(z, z.conj()).imag ** 2


def of_two_dtypes(x):
    s, U = parts(x)
    P = torch.outer(U[0].float(), U[0].float())
    return EYE + (P + torch.outer(U[1].float(), U[1].float())).double() * 2 + s[0] * torch.outer(U[2], U[2]) * True


def by_derivatives(x):
    """Derivatives inside, by way of what waits."""
    h = lambda y: (EYE + torch.outer(y, y.sin()) + torch.outer(y.cos(), y)).pow(2).sum()
    H = torch.func.hessian(h)(x)
    return 99 * EYE + H + H.T


def by_backward(x):
    h = lambda y: (EYE + torch.outer(y, y.sin()) + torch.outer(y.cos(), y)).pow(2).sum()
    return 99 * EYE + torch.outer(torch.func.grad(h)(x), x) * 0.1 + 0.1 * torch.outer(x, torch.func.grad(h)(x))


def by_vmap(x):
    s, U = parts(x)
    each = torch.func.vmap(lambda w, u: w * torch.outer(u, u) + torch.outer(u.sin(), u.sin()))(s, U)
    return EYE + each.sum(0)


NOT_QUITE = [
    written_later, written_twice, numbers_written_later, read_on_the_way, written_into, seen_through_views,
    times_itself, of_other_shapes, of_batches, complex_ones, of_two_dtypes, by_derivatives, by_backward,
    by_vmap,
]  # fmt: skip


@pytest.mark.parametrize("g", NOT_QUITE, ids=lambda g: g.__name__)
def test_what_looks_like_a_sum_of_outer_products(g):
    """Compared with torch's own derivatives of the function; where jets are written in place, and where not."""
    right = [torch.stack([f(x) for x in X]) for f in (g, torch.func.jacfwd(g), torch.func.jacfwd(torch.func.jacfwd(g)))]
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if g is of_two_dtypes else {}
    for jets in (rm.jet(g, X, 2), torch.func.vmap(lambda y: rm.jet(g, y, 2))(X)):
        for ours, theirs in zip(jets, right, strict=True):
            assert_close(ours, theirs, **tolerance)


def test_written_ones_are_compiled():
    compiled = rm.compile(written_into, "scalar_curvature", dim=N, backend=None)
    assert_close(compiled(X), rm.scalar_curvature(written_into, X))


def test_gradients_to_points_and_parameters():
    W = MIX.clone().requires_grad_()

    def metric(product):
        def g(x):
            p = torch.tanh(0.4 * W @ x)
            return EYE + product(p[:N] ** 2, p[N:].reshape(N, N))

        return g

    loops = metric(lambda s, U: sum(s[a] * torch.outer(U[a], U[a]) for a in range(N)))
    whole = metric(lambda s, U: U.T @ torch.diag(s) @ U)
    x = X.clone().requires_grad_()
    found, right = (torch.autograd.grad(rm.scalar_curvature(g, x).pow(2).sum(), (x, W), create_graph=True)
                    for g in (loops, whole))  # fmt: skip
    assert_close(found, right)
    assert_close(*(torch.autograd.grad(of[1].sum(), W, retain_graph=True) for of in (found, right)))
    assert_close(*(torch.func.vmap(lambda y, g=g: rm.scalar_curvature(g, y))(X) for g in (loops, whole)))
    assert_close(*(torch.func.jacrev(lambda y, g=g: rm.scalar_curvature(g, y))(X[0]) for g in (loops, whole)))


@pytest.mark.parametrize("count", [0, 1])
def test_sums_of_few(count):
    """None, too, where products of matrices have nothing to sum over."""

    def g(x):
        s, U = parts(x)
        few = (U[:count, :, None] * U[:count, None, :]).sum(0)
        return EYE + s[0] * few + s[1] * (few + torch.outer(U[1], U[1])) + U[:, :count] @ U[:count]

    def same(x):
        s, U = parts(x)
        few = U[:count].T.contiguous() @ U[:count] if count else torch.zeros(N, N, dtype=x.dtype)
        return EYE + (s[0] + s[1]) * few + s[1] * torch.outer(U[1], U[1]) + (torch.outer(U[:, 0], U[0]) if count else 0)

    for k in (2, 3):
        assert_close(rm.jet(g, X, k), rm.jet(same, X, k))


def test_what_is_not_finite_stays_where_it_is():
    """A root at 0 has no derivatives: those of its rows and columns are not known, the others are."""

    def g(x):
        u = torch.stack([torch.sqrt(x[0] ** 2), *x[1:].sin()])
        return EYE + torch.outer(u, u) + torch.outer(x, x)

    x = torch.zeros(N, dtype=torch.float64)
    x[1:] = 0.3
    first = rm.jet(g, x, 1)[1]
    assert first[0, 1].isnan().any()
    assert first[1:, 1:].isfinite().all()
