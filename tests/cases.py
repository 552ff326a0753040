"""One table of metrics: as a user would write them in torch, as SymPy matrices, with points and facts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import sympy as sp
import torch

from riemann.symbolic import SymbolicMetric


@dataclass(frozen=True)
class Case:
    """A metric twice, numeric and exact; points as rows of decimals; the scalar curvature, if it is constant."""

    name: str
    metric: Callable
    matrix: sp.Matrix
    coordinates: tuple
    points: tuple
    negative: int = 0
    scalar: float | None = None
    facts: dict = field(default_factory=dict)

    def __str__(self):
        return self.name

    @property
    def dim(self):
        return len(self.coordinates)

    @cached_property
    def symbolic(self):
        return SymbolicMetric(self.matrix, self.coordinates)

    def x(self, dtype=torch.float64, device="cpu"):
        return torch.tensor([[float(c) for c in point] for point in self.points], dtype=dtype, device=device)


CASES: list[Case] = []


def case(name, matrix, coordinates, points, **facts):
    def add(metric):
        CASES.append(Case(name, metric, sp.Matrix(matrix), tuple(coordinates), tuple(points), **facts))
        return metric

    return add


def symbols(names):
    return sp.symbols(names, seq=True)


# ------------------------------------------------------------------------------------------------- space forms

theta, phi, psi, x, y, z, t, r, w = symbols("theta phi psi x y z t r w")


@case("curve", [[1 + t**2]], (t,), (("0.3",), ("-1.2",)), scalar=0.0)
def curve(p):
    return (1 + p**2).reshape(1, 1)


@case("sphere 2", sp.diag(1, sp.sin(theta) ** 2), (theta, phi), (("0.7", "0.2"), ("1.9", "3")), scalar=2.0)
def sphere(p):
    th, ph = p
    return torch.diag(torch.stack([torch.ones_like(th), torch.sin(th) ** 2]))


@case(
    "sphere 3 by angles",
    sp.diag(1, sp.sin(psi) ** 2, sp.sin(psi) ** 2 * sp.sin(theta) ** 2),
    (psi, theta, phi),
    (("0.7", "1.1", "0.2"), ("2", "0.5", "1")),
    scalar=6.0,
)
def sphere3(p):
    g = torch.zeros(3, 3)
    g[0, 0] = 1
    g[1, 1] = torch.sin(p[0]) ** 2
    g[2, 2] = g[1, 1] * torch.sin(p[1]) ** 2
    return g


R2 = x**2 + y**2 + z**2


@case(
    "sphere 3 by a determinant",
    sp.eye(3) * 4 / (1 + R2) ** 2,
    (x, y, z),
    (("0.3", "-0.2", "0.5"), ("0", "0", "0"), ("1", "0", "-2")),
    scalar=6.0,
)
def sphere3_det(p):
    J = torch.func.jacfwd(lambda q: torch.cat([2 * q, (q @ q - 1)[None]]) / (1 + q @ q))(p)
    return torch.linalg.det(J.T @ J) ** (1 / 3) * torch.eye(3)


X4 = symbols("x:4")


@case(
    "sphere 4, stereographic",
    sp.eye(4) * 4 / (1 + sum(c**2 for c in X4)) ** 2,
    X4,
    (("0.3", "-0.2", "0.5", "0.1"), ("0", "0", "0", "0")),
    scalar=12.0,
)
def sphere4(p):
    return 4 * torch.eye(4) / (1 + torch.sum(p**2)) ** 2


@case("half plane", sp.eye(2) / y**2, (x, y), (("0.3", "0.7"), ("0", "2")), scalar=-2.0)
def half_plane(p):
    return torch.eye(2) / p[1] ** 2


@case("ball", sp.eye(3) * 4 / (1 - R2) ** 2, (x, y, z), (("0.3", "-0.2", "0.5"), ("0", "0", "0")), scalar=-6.0)
def ball(p):
    return 4 / (1 - torch.linalg.norm(p) ** 2) ** 2 * torch.eye(3)


_hyperboloid = sp.eye(2) - sp.Matrix([x, y]) * sp.Matrix([[x, y]]) / (1 + x**2 + y**2)


@case("hyperboloid", _hyperboloid, (x, y), (("0.3", "-0.7"), ("1", "2")), scalar=-2.0)
def hyperboloid(p):
    return torch.eye(2) - torch.outer(p, p) / (1 + torch.dot(p, p))


# --------------------------------------------------------------------------------------------------- surfaces


@case("torus", sp.diag(1, (2 + sp.cos(theta)) ** 2), (theta, phi), (("0.7", "0.2"), ("3", "1")))
def torus(p):
    u, v = p.unbind()
    return torch.diag_embed(torch.stack((u * 0 + 1, (2 + u.cos()) ** 2)))


_height = sp.sin(x) * sp.exp(y)
_graph = sp.Matrix([[sp.diff(_height, c)] for c in (x, y)])


@case("graph", sp.eye(2) + _graph * _graph.T, (x, y), (("0.3", "-0.7"), ("1", "0.4")))
def graph(p):
    df = torch.func.grad(lambda q: torch.sin(q[0]) * torch.exp(q[1]))(p)
    return torch.eye(2) + df[:, None] * df[None, :]


@case("Fisher metric of N(mu, sigma)", sp.diag(1 / y**2, 2 / y**2), (x, y), (("0.3", "0.7"), ("-1", "2")), scalar=-1.0)
def gaussian(p):
    mu, sigma = p
    return torch.stack([torch.stack([sigma**-2, 0 * mu]), torch.stack([0 * mu, 2 * sigma**-2])])


# -------------------------------------------------------------------------------------------------- spacetimes

_f = 1 - 2 / r


@case(
    "Schwarzschild",
    sp.diag(-_f, 1 / _f, r**2, r**2 * sp.sin(theta) ** 2),
    (t, r, theta, phi),
    (("0", "5", "0.8", "0.3"), ("1", "3", "2", "1"), ("0", "1.5", "1", "0")),
    negative=1,
    scalar=0.0,
)
def schwarzschild(p, M=1.0):
    _, r, th, _ = p
    f = 1 - 2 * M / r
    return torch.diag(torch.stack([-f, 1 / f, r**2, (r * torch.sin(th)) ** 2]))


@case(
    "Painleve-Gullstrand",
    [[-_f, sp.sqrt(2 / r), 0, 0], [sp.sqrt(2 / r), 1, 0, 0], [0, 0, r**2, 0], [0, 0, 0, r**2 * sp.sin(theta) ** 2]],
    (t, r, theta, phi),
    (("0", "5", "0.8", "0.3"), ("0", "2", "1", "0")),
    negative=1,
    scalar=0.0,
)
def painleve_gullstrand(p):
    _, r, th, _ = p
    g = torch.diag(torch.stack([2 / r - 1, torch.ones_like(r), r * r, (r * th.sin()).square()]))
    g[0, 1] = g[1, 0] = torch.sqrt(2 / r)
    return g


_a = sp.Rational(3, 5)
_S, _D = r**2 + (_a * sp.cos(theta)) ** 2, r**2 - 2 * r + _a**2
_tp = -2 * _a * r * sp.sin(theta) ** 2 / _S
_pp = (r**2 + _a**2 + 2 * r * (_a * sp.sin(theta)) ** 2 / _S) * sp.sin(theta) ** 2


@case(
    "Kerr",
    [[-(1 - 2 * r / _S), 0, 0, _tp], [0, _S / _D, 0, 0], [0, 0, _S, 0], [_tp, 0, 0, _pp]],
    (t, r, theta, phi),
    (("0", "5", "0.8", "0.3"), ("0", "2.5", "1.2", "1")),
    negative=1,
    scalar=0.0,
)
def kerr(p, M=1.0, a=0.6):
    _, r, th, _ = p
    S, D = r**2 + (a * torch.cos(th)) ** 2, r**2 - 2 * M * r + a**2
    g = torch.zeros(4, 4)
    g[0, 0] = -(1 - 2 * M * r / S)
    g[0, 3] = g[3, 0] = -2 * M * a * r * torch.sin(th) ** 2 / S
    g[1, 1], g[2, 2] = S / D, S
    g[3, 3] = (r**2 + a**2 + 2 * M * r * (a * torch.sin(th)) ** 2 / S) * torch.sin(th) ** 2
    return g


_scale = t ** sp.Rational(4, 3)


@case(
    "FLRW, dust",
    sp.diag(-1, _scale, _scale * r**2, _scale * r**2 * sp.sin(theta) ** 2),
    (t, r, theta, phi),
    (("1", "2", "0.8", "0.3"), ("2.5", "0.7", "2", "1")),
    negative=1,
)
def flrw(p):
    t, r, th, _ = p
    a = t ** (2 / 3)
    return torch.block_diag(
        -torch.ones(1, 1), *(e.reshape(1, 1) for e in (a**2, (a * r) ** 2, (a * r * th.sin()) ** 2))
    )


_H = (x**2 - y**2) * sp.cos(z)


@case(
    "pp-wave",
    [[_H, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    (z, w, x, y),
    (("0.3", "1", "0.7", "-0.4"), ("0", "0", "1", "2")),
    negative=1,
    scalar=0.0,
)
def pp_wave(p):
    u, _, x, y = p
    g = torch.eye(4).index_fill(0, torch.tensor([0, 1]), 0.0)
    g[0, 1] = g[1, 0] = 1.0
    g[0, 0] += (x**2 - y**2) * torch.cos(u)
    return g


# ----------------------------------------------------------------------------------------------------- generic

_generic3 = sp.Matrix(
    [
        [2 + sp.sin(x) ** 2, x * y / 3, sp.cos(z) / 4],
        [x * y / 3, 2 + y**2, x * z / 5],
        [sp.cos(z) / 4, x * z / 5, sp.exp(x) + 1],
    ]
)


@case("generic 3", _generic3, (x, y, z), (("0.3", "-0.7", "0.5"), ("1", "0.4", "-0.2")))
def generic3(p):
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    rows = [
        [2 + x.sin() ** 2, x * y / 3, z.cos() / 4],
        [x * y / 3, 2 + y**2, x * z / 5],
        [z.cos() / 4, x * z / 5, x.exp() + 1],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


@case("generic 3, indefinite", sp.diag(-1, 1, 1) * 3 + _generic3 - 3 * sp.eye(3), (x, y, z),
      (("0.3", "-0.7", "0.5"), ("0.2", "0.4", "-0.2")), negative=1)  # fmt: skip
def indefinite3(p):
    return generic3(p) + 3 * torch.diag(torch.tensor([-1.0, 1, 1])) - 3 * torch.eye(3)


_v = sp.Matrix([sp.sin(X4[1]), X4[0] * X4[2], sp.cos(X4[3]), X4[0]])


@case("generic 4", 2 * sp.eye(4) + _v * _v.T + sp.diag(*(c**2 for c in X4)), X4,
      (("0.3", "-0.7", "0.5", "0.2"), ("1", "0.4", "-0.2", "0.6")))  # fmt: skip
def generic4(p):
    v = torch.stack([torch.sin(p[1]), p[0] * p[2], torch.cos(p[3]), p[0]])
    inverse = torch.linalg.solve(torch.diag(2 + p**2), torch.eye(4))
    return torch.linalg.inv(inverse) + torch.einsum("i,j->ij", v, v)


X5 = symbols("x:5")
_L = sp.Matrix(5, 5, lambda i, j: (2 if i == j else 0) + (X5[i] * X5[j] / 4 if i >= j else 0))


@case("generic 5, Cholesky", _L * _L.T, X5, (("0.3", "-0.7", "0.5", "0.2", "-0.4"),))
def generic5(p):
    L = torch.tril(torch.outer(p, p)) / 4 + 2 * torch.eye(5)
    return L @ L.T


BY_NAME = {entry.name: entry for entry in CASES}
