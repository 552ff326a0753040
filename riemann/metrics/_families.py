r"""Families of distributions whose Fisher metric is known: the metric of coordinates of their parameters.

A family is given its parameters by some map $x \mapsto \theta(x)$, and its Fisher metric is the pull-back of that of
$\theta$. Where all that can happen is counted, with masses $p_a$, the space is flat in $y_a = 2 \sqrt{p_a}$: categories
lie on a sphere of radius 2.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from riemann import _jets
from riemann._types import Field, Metric
from riemann.metrics._diagonal import Diagonal
from riemann.metrics._hessian import Hessian


class Kind(NamedTuple):
    r"""What is known of a family.

    Attributes:
        metric: of the coordinates of one component, `(d,)`; None where they are $2 \sqrt{p_a}$, and flat.
        skewness: $T_{abc} = E[\partial_a l\, \partial_b l\, \partial_c l]$, `(*batch, d)` to `(*batch, d, d, d)`; None
            where it is not known, or the coordinates are $2 \sqrt{p_a}$ (`masses`).
    """

    metric: Metric | None
    skewness: Field | None


def _pointwise(f: Field) -> Field:
    return lambda y: _jets.jets_at(f, y, 0)[0]


EULER = 0.5772156649015329

# ------------------------------------------------------------------------------------------------- the kinds


def _entries(d: int, entries: dict[tuple[int, int, int], Tensor]) -> Tensor:
    """A symmetric `(d, d, d)` of its entries at sorted places."""
    zero = torch.zeros_like(next(iter(entries.values())))
    flat = [entries.get(tuple(sorted((i, j, k))), zero) for i in range(d) for j in range(d) for k in range(d)]
    return torch.stack(flat).reshape(d, d, d)


def masses(y: Tensor) -> Tensor:
    r"""The skewness in $y_a = 2 \sqrt{p_a}$: $T_{aaa} = 2 / y_a$, its diagonal."""
    return 2 / y


def _location_scale(A: float, B: float, A_B: float, B_B: float) -> Kind:
    r"""$(A\, d\mu^2 + B\, d\sigma^2) / \sigma^2$; $T_{\mu\mu\sigma}, T_{\sigma\sigma\sigma}$ by $\sigma^{-3}$."""

    def metric(y: Tensor) -> Tensor:
        return torch.stack([A * y[1] ** -2, B * y[1] ** -2])

    def skewness(y: Tensor) -> Tensor:
        return _entries(2, {(0, 0, 1): A_B * y[1] ** -3, (1, 1, 1): B_B * y[1] ** -3})

    return Kind(Diagonal(metric), _pointwise(skewness))


def _scale(B: float, B_B: float) -> Kind:
    """One scale, or one rate: $B ds^2 / s^2$."""
    return Kind(Diagonal(lambda y: B * y**-2), _pointwise(lambda y: (B_B * y**-3).reshape(1, 1, 1)))


def _exponential_family(log_normalizer: Field) -> Kind:
    """The Hessian of the log normaliser; coordinates are natural parameters, up to an affine map."""
    return Kind(Hessian(log_normalizer), lambda y: _jets.jets_at(log_normalizer, y, 3)[3])


def _gamma(y: Tensor) -> Tensor:
    return torch.lgamma(y[0]) - y[0] * torch.log(y[1])


def _dirichlet(y: Tensor) -> Tensor:
    return torch.lgamma(y).sum() - torch.lgamma(y.sum())


def _gumbel(y: Tensor) -> Tensor:
    c = 1 - EULER
    return torch.tensor([[1.0, -c], [-c, c**2 + math.pi**2 / 6]], dtype=y.dtype, device=y.device) * y[1] ** -2


def _weibull(y: Tensor) -> Tensor:
    scale, k = y
    c = 1 - EULER
    mixed = -c / scale
    return torch.stack([torch.stack([(k / scale) ** 2, mixed]), torch.stack([mixed, (c**2 + math.pi**2 / 6) * k**-2])])


def _generalized_pareto(y: Tensor) -> Tensor:
    """Of scale and concentration, which is more than -1/2 (Smith 1985)."""
    s, c = y
    mixed = 1 / (s * (1 + c) * (1 + 2 * c))
    return torch.stack([torch.stack([s**-2 / (1 + 2 * c), mixed]), torch.stack([mixed, 2 * s * mixed])])


def _student_t(y: Tensor) -> Tensor:
    """Of location, scale and degrees of freedom (Lange, Little, Taylor 1989)."""
    _, s, nu = y
    zero = torch.zeros_like(s)
    mixed = -2 / (s * (nu + 1) * (nu + 3))
    rows = [
        [(nu + 1) / (nu + 3) * s**-2, zero, zero],
        [zero, 2 * nu / (nu + 3) * s**-2, mixed],
        [zero, mixed, (7 * nu + 3) / (2 * nu**3 * (nu + 1) * (nu + 3)) + _rest_of_trigammas(nu)],
    ]
    return torch.stack([torch.stack(row) for row in rows])


def _rest_of_trigammas(nu: Tensor) -> Tensor:
    r"""$r(\nu) = (\psi'(\nu / 2) - \psi'((\nu + 1) / 2)) / 4 - (\nu + 1) / (2 \nu^3)$, with all digits far out, too.

    $r(z) = -r(z + 1) - (2 z + 1) / (2 z^3 (z + 1)^3)$ leads to where its series in 1 / z has converged.
    """
    z = nu + torch.arange(16, dtype=nu.dtype, device=nu.device)
    steps = (2 * z + 1) / (2 * (z * (z + 1)) ** 3)
    far = nu + 16
    series = sum(c / 2 * far ** -(2 * k + 5) for k, c in enumerate((-1, 3, -17, 155, -2073, 38227, -929569)))
    return series + (steps[1::2] - steps[::2]).sum()


def _geometric(y: Tensor) -> Tensor:
    return (y**-2 / (1 - y)).reshape(1, 1)


def _geometric_skewness(y: Tensor) -> Tensor:
    return ((y - 2) * y**-3 * (1 - y) ** -2).reshape(1, 1, 1)


SERIES = 24  # terms in 1 / kappa
FAR = 30.0  # where they have all digits


def _series_of_ratio() -> list[float]:
    r"""$I_1 / I_0 = \sum_j a_j \kappa^{-j}$, from Riccati's equation $A' = 1 - A / \kappa - A^2$."""
    a = [1.0]
    for k in range(1, SERIES):
        a.append(((k - 2) * a[k - 1] - sum(a[i] * a[k - i] for i in range(1, k))) / 2)
    return a


NODES = 32  # on half a circle: e^{-(2 NODES)^2 / (2 kappa)} is what they leave out


def _circular_moments(kappa: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""$\kappa A$ of $A = I_1 / I_0$, $A'$, $A''$, and $\kappa A' - A$, by what does not cancel: means over a circle.

    $A = \kappa E[\sin^2]$, and $A'$, $A''$ are the variance and the third cumulant of the cosine.
    """
    far = kappa > FAR
    near, large = torch.where(far, torch.ones_like(kappa), kappa), torch.where(far, kappa, torch.full_like(kappa, FAR))
    angle = torch.arange(0.5, NODES, dtype=kappa.dtype, device=kappa.device) * (math.pi / NODES)
    below, square = -2 * torch.sin(angle / 2) ** 2, torch.sin(angle) ** 2  # cos - 1
    w = torch.softmax(near * below, 0)
    centred = below - w @ below
    means = near**2 * (w @ square), w @ centred**2, w @ centred**3, near**2 * (w @ (square * centred))
    series = [torch.zeros_like(kappa) for _ in means]
    for j, a in reversed(list(enumerate(_series_of_ratio()))):
        for k, (factor, power) in enumerate(((1, j - 1), (-j, j + 1), (j * (j + 1), j + 2), (-j - 1, j))):
            series[k] = series[k] + a * factor * large**-power
    return tuple(torch.where(far, b, a) for a, b in zip(means, series, strict=True))  # type: ignore[return-value]


def _von_mises(y: Tensor) -> Tensor:
    return torch.stack(_circular_moments(y[1])[:2])


def _von_mises_skewness(y: Tensor) -> Tensor:
    """The first is kappa^2 E[sin^2 (cos - A)]."""
    _, _, ddA, mixed = _circular_moments(y[1])
    return _entries(2, {(0, 0, 1): mixed, (1, 1, 1): ddA})


def _triangle(d: int) -> int:
    """k of d = k + k (k + 1) / 2: the dimension of vectors with mean and covariance."""
    return (math.isqrt(9 + 8 * d) - 3) // 2


def _mean_and_factor(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The inverse of the lower triangular factor L, and the places of its rows and columns."""
    k = _triangle(y.shape[-1])
    rows, columns = torch.tril_indices(k, k, device=y.device)
    eye = torch.eye(k, dtype=y.dtype, device=y.device)
    places = torch.nn.functional.one_hot(rows * k + columns, k * k).to(y.dtype)
    L = (y[k:] @ places).reshape(k, k)
    return torch.linalg.solve_triangular(L, eye, upper=False), rows, columns


def _multivariate_normal(y: Tensor) -> Tensor:
    r"""$|L^{-1} d\mu|^2 + |L^{-1} dL|^2 + |\mathrm{diag}\, L^{-1} dL|^2$, of $N(\mu, L L^T)$."""
    inverse, rows, columns = _mean_and_factor(y)
    precision = inverse.mT @ inverse
    same = (columns[:, None] == columns).to(y)
    diagonal = torch.where(rows == columns, inverse.diagonal()[rows] ** 2, torch.zeros_like(y[len(inverse) :]))
    return torch.block_diag(precision, precision[rows][:, rows] * same + torch.diag(diagonal))


def _multivariate_normal_skewness(y: Tensor) -> Tensor:
    r"""$8\, \mathrm{tr}\, S_u S_v S_w + 2 (a_u S_v a_w + \dots)$ of scores $a z + z S z - \mathrm{tr}\, S$."""
    inverse, rows, columns = _mean_and_factor(y)
    k, d = len(inverse), len(y)
    M = inverse[:, rows].mT.unsqueeze(-1) * torch.nn.functional.one_hot(columns, k).to(y).unsqueeze(-2)
    S = torch.cat([y.new_zeros(k, k, k), 0.5 * (M + M.mT)])
    a = torch.cat([inverse.mT, y.new_zeros(d - k, k)])
    T = 2 * torch.einsum("ui,vij,wj->uvw", a, S, a)
    return 8 * torch.einsum("uij,vjk,wki->uvw", S, S, S) + T + T.permute(1, 0, 2) + T.permute(0, 2, 1)


MASSES = Kind(None, None)
NORMAL = _location_scale(1, 2, 2, 8)
LAPLACE = _location_scale(1, 1, 0, 2)
CAUCHY = _location_scale(0.5, 0.5, 0, 0)
HALF_NORMAL = _scale(2, 8)
HALF_CAUCHY = _scale(0.5, 0)
EXPONENTIAL = _scale(1, -2)
GAMMA = _exponential_family(_gamma)
DIRICHLET = _exponential_family(_dirichlet)
GUMBEL = Kind(_gumbel, None)
WEIBULL = Kind(_weibull, None)
GENERALIZED_PARETO = Kind(_generalized_pareto, None)
STUDENT_T = Kind(_student_t, None)
GEOMETRIC = Kind(_geometric, _pointwise(_geometric_skewness))
VON_MISES = Kind(Diagonal(_von_mises), _pointwise(_von_mises_skewness))
MULTIVARIATE_NORMAL = Kind(_multivariate_normal, _pointwise(_multivariate_normal_skewness))
