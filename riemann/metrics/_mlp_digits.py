r"""How many digits a moving frame leaves of the curvature: by norms, and by absolute values where these say too little.

What a formula adds up, in absolute values, times $\max_a \sum |E| |L|$, by which solving with L makes errors larger.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from riemann._points.checks import has_values
from riemann._rounding import UNITS, floor_of, last_bits, say_few
from riemann.metrics import _moving_frame
from riemann.metrics._moving_frame import MovingFrame


def error(f: MovingFrame) -> Tensor:
    """A bound of the error of the scalar curvature, `(z,)`; 0 where it is small, or nothing can be looked at."""
    zeros, n = torch.zeros_like(f.E[:, 0, 0]), f.M.shape[-1]
    if n == 1 or not zeros.numel() or not has_values(f.M):
        return zeros
    with torch.no_grad():
        floor = n * (n - 1) * floor_of(zeros.dtype)
        if _by_norms(f, _together) <= floor or _by_norms(f, _largest) <= floor:  # as it is nearly always
            return zeros
        return _term_by_term(f).nan_to_num(0.0)


def say(error: Tensor, size: Tensor, planes: int) -> None:
    """Says where an error leaves few digits of a size, of what so many sectional curvatures add up to."""
    if has_values(error) and bool(error.any()):
        say_few(error / planes, size / planes)


def _by_norms(f: MovingFrame, norms: Callable[[list[Tensor]], list[float]]) -> float:
    r"""The bound for all points, by $|M|$ and, of each layer, $|\sigma''| |J| |E| |Ds|^2$; each as `norms` has them."""
    here, n = f.here, f.M.shape[-1]
    layers = [a for h in f.hidden for a in (h.J if h.J.ndim == 3 else h.J.unsqueeze(0), h.bend, h.Ds)]
    M, E, L, Do, slope, bend, *units = norms([f.M, f.E, here.L, f.Do, here.slope, here.bend, *layers])
    second = slope * sum(J * b * Ds**2 for J, b, Ds in zip(*[iter(units)] * 3, strict=True)) + bend * Do**2
    return UNITS * torch.finfo(here.L.dtype).eps * E * L * ((5 + 8 * n) * M**2 + 4 * E * second)


def _together(arrays: list[Tensor]) -> list[float]:
    """The norms of the arrays of all points together: in one call, and cheap where the points are few."""
    return torch.stack(torch._foreach_norm(arrays)).tolist()


def _largest(arrays: list[Tensor]) -> list[float]:
    """The largest norms of the arrays of a point."""
    return torch.stack([torch.linalg.vector_norm(a.flatten(1), dim=1).amax() for a in arrays]).tolist()


def _term_by_term(f: MovingFrame) -> Tensor:
    """The bound by the absolute value of every term of `_moving_frame.scalar_curvature`."""
    larger = (f.E.abs() @ f.here.L.abs()).sum(-1).amax(-1)
    here = f.here._replace(slope=f.here.slope.abs(), bend=f.here.bend.abs())
    hidden = [type(h)(*(a.abs() for a in h)) for h in f.hidden]
    f = f._replace(here=here, E=f.E.abs(), M=f.M.abs(), Do=f.Do.abs(), hidden=hidden)
    M, u = f.M, torch.einsum("...aal->...l", f.M)
    v = torch.einsum("...lkk->...l", M) + torch.einsum("...klk->...l", M)
    C = M + M.transpose(-3, -2)
    products = C * (1.5 * M.transpose(-1, -2) + 0.5 * M + 0.5 * M.transpose(-3, -1))
    terms = products.sum((-3, -2, -1)) + (v * (2 * u + v)).sum(-1) + 2 * _moving_frame.second(f, 1.0)
    return last_bits(larger * terms)
