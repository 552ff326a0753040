r"""How many Killing fields a metric has near a point: Killing's equation, prolonged, and the rank of its conditions.

A Killing field is fixed by X and $B = \nabla X$ at one point, $n + n(n-1)/2$ numbers. They belong to one if and only if
$L_X$ annuls R, $\nabla R$, $\nabla^2 R$, … there: linear conditions, $X^e \nabla_e T_{a\dots} + B^e{}_a T_{e\dots} +
\dots = 0$ for each $T = \nabla^m R$ (`docs/notes/killing-fields.md`).
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from riemann import _jets
from riemann._indices import contract_axis
from riemann._messages.frames import warn
from riemann._metric import metric_jet
from riemann._nabla import derivatives_of_curvature
from riemann._points.checks import check_count, check_unmapped, door
from riemann._points.chunks import in_chunks
from riemann._points.faults import first
from riemann._types import ChunkSize, Metric

_ROUNDING = 1e3  # in units of the last bit: what derivatives of curvature lose where all scales are alike
_GAP = 1e2


class KillingRank(NamedTuple):
    r"""The rank of the conditions on a Killing field at points, and what was decided from it.

    Attributes:
        dimension: of the Killing fields near each point, `(*batch,)`; -1 where it is not determined.
        kernels: `(*batch, orders)`: unknowns that conditions on R, then also on $\nabla R$, and so on leave free;
            -1 where the singular values have no gap. The dimension is the one at which they settle.
        singular_values: of all conditions, `(*batch, n(n+1)/2)`, decreasing, in units of the curvature.
        tolerance: below which they count as 0, `(*batch,)`.
    """

    dimension: Tensor
    kernels: Tensor
    singular_values: Tensor
    tolerance: Tensor


@door
def killing_dimension(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    *,
    max_order: int = 2,
    tolerance: float | None = None,
    chunk_size: ChunkSize = "auto",
) -> Int[Tensor, "*batch"]:
    """Dimension of the Killing fields of a metric near points: 6 for a 3-sphere, 4 for Schwarzschild, 2 for Kerr.

    Fields are counted locally: a flat torus has n(n+1)/2. At points that are special (an axis, a plane of reflection)
    more fields may seem to exist than around them: then the least number over several points is the answer.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        max_order: derivatives of curvature to use, 1 or more; they are added until the dimension settles.
        tolerance: of symmetry, in units of the curvature: symmetries broken by less count. Rounding errors by default.
        chunk_size: points at a time, or memory as in `"2GB"`.

    Returns:
        Whole numbers, `(*batch,)`; -1 where the dimension is not determined.

    Raises:
        TypeError, ValueError: as `at`.

    Warns:
        UserWarning: where the dimension is not determined: `killing_rank` shows why; `killing_spectrum` is for metrics
            that are learned or noisy.

    Note:
        Derivatives of g to order `max_order + 3`, in float64; memory O(n⁷) a point, for n to 6 or so.

    Reference:
        Nomizu, *On local and global existence of Killing vector fields*, Ann. Math. 72 (1960) 105.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> killing_dimension(half_plane, torch.tensor([0.3, 2.0], dtype=torch.float64))
        tensor(3)
    """
    check_unmapped(x)
    found = killing_rank(metric, x, max_order=max_order, tolerance=tolerance, chunk_size=chunk_size)
    unknown = found.dimension < 0
    if bool(unknown.any()):
        where = list(first(unknown))
        warn(
            f"the dimension of the Killing fields is not determined at {int(unknown.sum())} points, first {where}, and "
            f"-1 there: curvature and its derivatives left {found.kernels[*where].tolist()} unknowns. A -1 says that "
            "the singular values have no gap (float32, no metric, a symmetry that is almost one: see `killing_rank`, "
            "give `tolerance`, or of a learned metric ask `killing_spectrum`), a number that still falls asks for a "
            "larger `max_order`."
        )
    return found.dimension


@door
def killing_rank(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    *,
    max_order: int = 2,
    tolerance: float | None = None,
    chunk_size: ChunkSize = "auto",
) -> KillingRank:
    r"""The singular values behind `killing_dimension`.

    The unknowns are X, in units of the length L, and the antisymmetric $\nabla X$, both in an orthonormal frame. The
    conditions on $\nabla^m R$ are in units of $(m+2)!\, L^{-m-2}$, where L is the largest length with
    $|\nabla^m R| \le (m+2)!\, L^{-m-2}$ for all m that are used.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        x: points, `(*batch, n)`.
        max_order: as for `killing_dimension`, and so are the others.
        tolerance: singular values below it count as 0; not less than what rounding errors make.
        chunk_size: points at a time.

    Returns:
        `.dimension`, `.kernels`, `.singular_values`, `.tolerance`.

    Raises:
        TypeError, ValueError: as `at`.

    Example:
        >>> torus = lambda x: torch.diag(torch.stack([torch.ones_like(x[0]), (2 + torch.cos(x[0])) ** 2]))
        >>> killing_rank(torus, torch.tensor([0.3, 2.0], dtype=torch.float64)).kernels
        tensor([2, 1, 1])
    """
    check_count("max_order", max_order, 1)
    for order in range(1, max_order + 1):

        def rank(x: Tensor, order: int = order) -> KillingRank:
            found = _rank(metric, x.reshape(-1, x.shape[-1]), order, tolerance)
            return KillingRank(*(y.reshape((*x.shape[:-1], *y.shape[1:])) for y in found))

        with torch.no_grad():
            found = in_chunks(rank, x, rank=4 + order, light=_jets.weight_of(metric), chunk_size=chunk_size)
        if bool((found.dimension >= 0).all()):
            break
    return found


def _rank(metric: Metric, x: Tensor, order: int, tolerance: float | None) -> KillingRank:
    r"""What conditions on $R, …, \nabla^m R$, m to `order`, say at points `(points, n)`."""
    conditions, noise, bad = _conditions(metric, x, order)
    kernels = []
    for m in range(order + 1):
        values = torch.linalg.svdvals(torch.cat(conditions[: m + 1], -2))
        level = noise[m] if tolerance is None else noise[m].clamp(min=tolerance)
        left = (values <= level[:, None]).sum(-1)
        padded = torch.cat((torch.ones_like(values[:, :1]), values, torch.zeros_like(values[:, :1])), -1)
        least, largest = (padded.gather(-1, values.shape[-1] - left[:, None] + k)[:, 0] for k in (0, 1))
        kernels.append(torch.where(bad | (largest * _GAP > least), -1, left))
    left = torch.stack(kernels, -1)
    settled = torch.where(left[:, -1] == left[:, -2], left[:, -1], -1)
    return KillingRank(torch.where((left == 0).any(-1), 0, settled), left, values, level)


def _conditions(metric: Metric, x: Tensor, order: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
    r"""For each $m \le$ order the conditions on $\nabla^m R$, `(points, rows, unknowns)`, and their rounding errors.

    Also the points where g is not a metric.
    """
    n = x.shape[-1]
    jets = metric_jet(metric, x, order + 3)
    bad = torch.stack([~torch.isfinite(jet).flatten(1).all(-1) for jet in jets]).any(0)
    flat_space = [torch.eye(n).to(x), *[x.new_zeros(())] * (len(jets) - 1)]
    jets = [torch.where(bad.reshape(-1, *[1] * (j.ndim - 1)), o, j) for j, o in zip(jets, flat_space, strict=True)]
    eigenvalues, vectors = torch.linalg.eigh(jets[0])
    frame = vectors * eigenvalues.abs().rsqrt().unsqueeze(-2)
    jets = tuple(_in_frame(jet, frame) for jet in jets)
    curvature = derivatives_of_curvature(jets, order + 1)

    def scale(tensors: tuple[Tensor, ...], first: int) -> Tensor:
        """The least 1/L with |T_k| <= k! / L^k for tensors T_first, T_first+1, …."""
        sizes = [T.abs().flatten(1).amax(1) / math.factorial(k) for k, T in enumerate(tensors, first)]
        return torch.stack([size ** (1 / k) for k, size in enumerate(sizes, first)]).amax(0)

    rounding = _ROUNDING * torch.finfo(x.dtype).eps
    coordinate, curved = scale(jets[1:], 1), scale(curvature, 2)
    curved = torch.maximum(curved, coordinate * rounding ** (0.5 / (order + 3)))  # less is 0 to rounding
    curved = torch.where(curved == 0, 1, curved)
    noise = [rounding * (coordinate / curved).clamp(min=1) ** (m + 3) for m in range(order + 1)]

    rotations = _rotations(eigenvalues.sign())
    conditions = []
    for m in range(order + 1):
        T, rank = curvature[m], m + 4
        along = curvature[m + 1].movedim(-1, 1) / curved.reshape(-1, *[1] * (rank + 1))
        turned = sum(
            contract_axis(T.unsqueeze(1).expand(rotations.shape[:2] + T.shape[1:]), rotations.mT, axis, rank)
            for axis in range(rank)
        )
        unit = math.factorial(m + 2) * curved ** (m + 2)
        conditions.append(torch.cat((along, turned), 1).flatten(2).mT / unit[:, None, None])
    return conditions, noise, bad


def _in_frame(T: Tensor, frame: Tensor) -> Tensor:
    """Components in a frame, `frame[..., i, a] = e_a^i`, of a tensor with indices down, one axis of points."""
    for axis in range(T.ndim - 1):
        T = contract_axis(T, frame.mT, axis, T.ndim - 1)
    return T


def _rotations(signs: Tensor) -> Tensor:
    """A basis of $B^e{}_a$ with $B_{ea} = -B_{ae}$ at each point: `(points, n(n-1)/2, n, n)`, `[e, a]`."""
    n = signs.shape[-1]
    p, q = torch.tril_indices(n, n, -1, device=signs.device)
    lowered = signs.new_zeros(len(p), n, n)
    k = torch.arange(len(p), device=signs.device)
    lowered[k, p, q], lowered[k, q, p] = 1, -1
    return signs[:, None, :, None] * lowered
