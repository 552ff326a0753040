"""An immersion at points: its tangent and normal spaces, metric and second fundamental form, judged."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from riemann import _jets, formulas
from riemann._metric import faults_of
from riemann._points.checks import check_points, has_values
from riemann._points.chunks import in_chunks
from riemann._points.faults import Faults, warn_of, with_nan
from riemann._precision import full_precision
from riemann._types import ChunkSize, Field, Metric
from riemann.metrics import Pullback
from riemann.metrics._pullback import immersed


class Immersion(NamedTuple):
    r"""A map at points: $f^A$, $J^A_i$, $G_{AB}$, $II^A_{ij}$, induced $h_{ij}$, its inverse, the normal projector."""

    ambient: Metric | None
    y: Tensor
    J: Tensor
    G: Tensor
    II: Tensor
    h: Tensor
    inverse: Tensor
    normal: Tensor

    def lowered(self) -> Tensor:
        r"""$II_{A ij}$."""
        return torch.einsum("...AB,...Bij->...Aij", self.G, self.II)

    def shape(self) -> Tensor:
        r"""The shape operator of every normal vector, $S^i{}_{jA} = h^{ik} II_{A kj}$, `[..., i, j, A]`."""
        return torch.einsum("...ik,...Akj->...ijA", self.inverse, self.lowered())

    def frame(self) -> Tensor:
        """Orthonormal normal vectors, `[..., A, a]`, timelike ones first; see `normal_frame`.

        Two Newton steps towards orthonormality, from a frozen frame that is projected, change no value and give the
        frame derivatives that are right to third order.
        """
        start, eta = _jets.frozen(_start, self.J, self.G)
        frame = self.normal @ start
        for _ in range(2):
            frame = frame - 0.5 * frame @ (eta.unsqueeze(-1) * (frame.mT @ self.G @ frame - torch.diag_embed(eta)))
        return frame

    def unit_normal(self) -> Tensor:
        """The normal of a hypersurface."""
        N, k = self.J.shape[-2:]
        if k + 1 != N:
            raise ValueError(
                f"`map` goes from {k} dimensions to {N}, and only a hypersurface has one unit normal; give "
                "`shape_operator` a `normal`, such as a column of `normal_frame`"
            )
        return self.frame()[..., 0]


def _start(J: Tensor, G: Tensor) -> tuple[Tensor, Tensor]:
    """An orthonormal frame of the normal space, and the diagonal of its metric: of values alone."""
    k = J.shape[-1]
    basis = torch.linalg.qr(torch.nan_to_num(G @ J), mode="complete").Q[..., k:]
    w, V = torch.linalg.eigh(torch.nan_to_num(basis.mT @ G @ basis))
    frame = basis @ V * w.abs().rsqrt().unsqueeze(-2)
    side = torch.linalg.slogdet(torch.cat([frame, J], -1))[0]
    flipped = torch.where(side < 0, -1.0, 1.0)[..., None, None].to(J)
    last = torch.arange(frame.shape[-1], device=J.device) == frame.shape[-1] - 1
    return torch.where(last, flipped * frame, frame), torch.sign(w)


Quantity = Callable[[Immersion], Tensor]


_NULL = "is degenerate (the tangent space is null, or f no immersion)"


INDEFINITE = "is indefinite, where principal curvatures may be complex (`torch.linalg.eigvals` of `shape_operator`)"


def immersion_at(map: Field, x: Tensor, ambient: Metric | None) -> tuple[Immersion, Faults]:
    y, J, G, second = immersed(Pullback(map, ambient), x, "map")
    if (N := J.shape[-2]) < (k := J.shape[-1]):
        raise ValueError(
            f"`map` goes from {k} dimensions to {N}: no immersion; it takes a point ({k},) to one (N,), N >= {k}"
        )
    G = torch.eye(N, dtype=x.dtype, device=x.device).expand(*x.shape[:-1], N, N) if G is None else G
    GJ = G @ J
    h = J.mT @ GJ
    h = 0.5 * (h + h.mT)
    faults = {}
    if has_values(h) and has_values(x):
        D = torch.einsum("...Aik,...Aj->...ijk", second, GJ)
        faults = {_NULL: _is_null(J, G, h)} | faults_of((h, D + D.transpose(-2, -3)), x)
    inverse = formulas.inverse_metric(h)
    normal = torch.eye(N, dtype=x.dtype, device=x.device) - J @ inverse @ GJ.mT
    II = torch.einsum("...AB,...Bij->...Aij", normal, second)
    return Immersion(ambient, y, J, G, II, h, inverse, normal), faults


def _is_null(J: Tensor, G: Tensor, h: Tensor) -> Tensor:
    """Where the induced metric, in units of the terms that each entry adds up, has an eigenvalue of 0 to rounding."""
    J, G, h = J.detach(), G.detach(), h.detach()
    size = (J.abs().mT @ G.abs() @ J.abs()).diagonal(dim1=-2, dim2=-1).sqrt()
    relative = torch.nan_to_num(h / (size.unsqueeze(-1) * size.unsqueeze(-2)), posinf=0.0, neginf=0.0)
    return torch.linalg.eigvalsh(relative).abs().amin(-1) <= 16 * h.shape[-1] * torch.finfo(h.dtype).eps


def local(
    map: Field,
    x: Tensor,
    ambient: Metric | None,
    quantity: Quantity,
    chunk_size: ChunkSize = "auto",
    judge: Callable[[Immersion], Faults] = lambda here: {},
) -> Tensor:
    """The quantity at each point; NaN and one warning where the induced metric is none, or `judge` finds a fault."""
    check_points(x, function="map")

    def at(p: Tensor) -> Tensor:
        here, faults = immersion_at(map, p, ambient)
        faults = faults | judge(here) if faults else faults
        warn_of(faults, "the metric induced by `map`")
        return with_nan(faults, quantity(here))[0]

    with full_precision():
        return in_chunks(at, x, rank=3, light=_jets.weight_of(map), chunk_size=chunk_size)
