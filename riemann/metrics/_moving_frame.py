r"""Curvature of a network metric $g = L L^T$ in the moving frame that its factor is.

$\theta^k = L_{ik}\, dx^i$ is an orthonormal coframe, and the rows of $E = L^{-1}$ are its frame $e_a$. With $D_a$ the
derivative along the frozen $e_a$, everything is made of

$M_{abk} = E_{bi}\, D_a L_{ik}$, $C_{abk} = M_{abk} - M_{bak} = d\theta^k(e_a, e_b)$, and contractions of
$N_{abck} = E_{ci}\, D_a D_b L_{ik}$, which is never formed: a second derivative of a network is a sum over its units.
`docs/notes/fast-curvature.md` derives the formulas.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from riemann.metrics._mlp_cholesky import MLPCholesky
from riemann.metrics._mlp_jets import Units, Values, units, values


class MovingFrame(NamedTuple):
    """What the formulas contract, at points `(z, n)`.

    Attributes:
        metric: the network.
        here: its values at the points.
        E: the inverse factor, `[..., a, i]`.
        M: first derivatives of the coframe, `[..., a, b, k]`.
        Do: derivatives of the outputs at which the head is not linear, q of them, along the frame, `[..., a, q]`.
        hidden: the units of each hidden layer, and their derivatives along the frame.
    """

    metric: MLPCholesky
    here: Values
    E: Tensor
    M: Tensor
    Do: Tensor
    hidden: list[Units]


def moving_frame(metric: MLPCholesky, x: Tensor) -> MovingFrame:
    """The frame at points `(z, n)`: time O(n²H(n + H)) and memory O(n²(n + H)) a point."""
    here = values(metric, x)
    n, W = metric.dim, metric.layers[-1].weight
    E = torch.linalg.solve_triangular(here.L, torch.eye(n, dtype=x.dtype, device=x.device), upper=False)
    Dh, hidden = units(metric, here, E)
    if n <= W.shape[-1]:  # a product of three, from the right; or from the left, which is cheaper for few units
        M = E[:, None] @ metric.triangle(here.slope[:, None] * (Dh @ W.mT))
    else:
        slopes = metric.triangle(here.slope).unsqueeze(-1) * metric.triangle(W.mT).movedim(0, -1)  # [..., i, k, h]
        M = (Dh @ (E @ slopes.flatten(-2)).unflatten(-1, (n, -1)).flatten(1, 2).mT).unflatten(-1, (n, n))
    return MovingFrame(metric, here, E, M, Dh @ W.index_select(0, here.bent).mT, hidden)


def scalar_curvature(f: MovingFrame) -> Tensor:
    r"""S, `(z,)`.

    $S = -2 \sum (N_{aakk} - N_{akak}) + \sum C_{abk} (\tfrac32 M_{akb} - \tfrac12 M_{abk} - \tfrac12 M_{kba})
    + 2 u \cdot v - |v|^2$ with $u_l = \sum M_{aal}$, $v_l = \sum (M_{lkk} - M_{klk})$.
    """
    M, u, v = f.M, _u(f), _v(f)
    if M.shape[-1] == 1:  # a curve has no curvature, to the last bit
        return 0 * f.E[..., 0, 0]
    C = M - M.transpose(-3, -2)
    products = C * (1.5 * M.transpose(-1, -2) - 0.5 * M - 0.5 * M.transpose(-3, -1))
    return products.sum((-3, -2, -1)) + (v * (2 * u - v)).sum(-1) - 2 * second(f)


def ricci_tensor(f: MovingFrame) -> Tensor:
    r"""$\mathrm{Ric}_{ij}$, `(z, n, n)`: no array of n⁴ numbers.

    In the frame, with $\omega_{abc} = \langle \nabla_a e_b, e_c \rangle = \tfrac12 (C_{bca} - C_{abc} - C_{cab})$:
    $\mathrm{Ric}_{bc} = \sum_a e_a(\omega_{bca}) - e_b(v_c) + \omega_{bce} v_e - \omega_{ace} \omega_{bea}
    + C_{abe} \omega_{eca}$, symmetrised.
    """
    M, u, v = f.M, _u(f), _v(f)
    if M.shape[-1] == 1:
        return 0 * f.E
    C = M - M.transpose(-3, -2)
    omega = 0.5 * (torch.einsum("...bca->...abc", C) - C - torch.einsum("...cab->...abc", C))
    N_abca, N_acab, N_aacb, N_bckk = _contractions(f)
    # the symmetric part of sum_a e_a(omega_bca) is that of sum_a e_a(M_cab - M_acb)
    d_M = N_acab - torch.einsum("...acl,...lab->...cb", M, M) - torch.einsum("...l,...clb->...cb", u, M)
    d_M = d_M - N_aacb + torch.einsum("...l,...lcb->...cb", u, M) + torch.einsum("...acl,...alb->...cb", M, M)
    d_v = N_bckk - N_abca - torch.einsum("...bcl,...l->...bc", M, v) - torch.einsum("...bkl,...clk->...bc", M, C)
    products = (
        torch.einsum("...bce,...e->...bc", omega, v)
        - torch.einsum("...ace,...bea->...bc", omega, omega)
        + torch.einsum("...abe,...eca->...bc", C, omega)
    )
    ricci = d_M - d_v + products
    return f.here.L @ (0.5 * (ricci + ricci.mT)) @ f.here.L.mT


def _u(f: MovingFrame) -> Tensor:
    return torch.einsum("...aal->...l", f.M)


def _v(f: MovingFrame) -> Tensor:
    return torch.einsum("...lkk->...l", f.M) - torch.einsum("...klk->...l", f.M)


def second(f: MovingFrame, sign: float = -1.0) -> Tensor:
    """`sum_ak N_aakk - N_akak`, or with another sign between them."""
    rows, columns = f.metric.rows, f.metric.columns
    bend, Ei, Ekk, Dk = _bent(f)
    total = (bend * (Ekk * (f.Do**2).sum(-2) + sign * Dk * (Ei * f.Do).sum(-2))).sum(-1)
    for h in f.hidden:
        crossed = (f.E.mT @ h.Ds).index_select(-2, rows) * h.Ds.index_select(-2, columns) * h.J
        straight = _trace(f, h) * (h.Ds**2).sum(-2, keepdim=True)
        total = total + ((straight + sign * (f.here.slope[:, None] @ crossed)) * h.bend[:, None]).sum((-2, -1))
    return total


def _contractions(f: MovingFrame) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`sum_a N_abca` as [b, c], `sum_a N_acab` and `sum_a N_aacb` as [c, b], `sum_k N_bckk` as [b, c]."""
    bend, Ei, Ekk, Dk = (a.unsqueeze(-2) if a.ndim < 3 else a for a in _bent(f))
    k, zeros = f.metric.columns.index_select(0, f.here.bent), torch.zeros_like(f.E)
    N_abca = (f.Do * bend * Dk) @ Ei.mT
    N_acab = zeros.index_add(-1, k, f.Do * bend * (Ei * f.Do).sum(-2, keepdim=True))
    N_aacb = zeros.index_add(-1, k, Ei * bend * (f.Do**2).sum(-2, keepdim=True))
    N_bckk = (f.Do * bend * Ekk) @ f.Do.mT
    for h in f.hidden:
        J = f.metric.triangle(f.here.slope[:, None] * h.J.mT).movedim(1, -1)  # [..., i, k, h]
        bent = h.bend[:, None] * h.Ds
        N_abca = N_abca + bent @ (f.E @ (J * h.Ds[:, None]).sum(2)).mT
        N_acab = N_acab + bent @ (J * (f.E.mT @ h.Ds)[:, :, None]).sum(1).mT
        N_aacb = N_aacb + f.E @ (J * (bent * h.Ds).sum(1)[:, None, None]).sum(-1)
        N_bckk = N_bckk + (_trace(f, h) * bent) @ h.Ds.mT
    return N_abca, N_acab, N_aacb, N_bckk


def _trace(f: MovingFrame, h: Units) -> Tensor:
    r"""$E_{ki}\, \partial L_{ik} / \partial h$, `[..., 1, h]`: both factors are lower triangular, so i = k."""
    p = f.metric.on_diagonal
    return (f.E.diagonal(dim1=-2, dim2=-1) * f.here.slope.index_select(-1, p))[:, None] @ h.J.index_select(-2, p)


def _bent(f: MovingFrame) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""At the entries (i, k) where the head is not linear: its $\phi''$, $E_{ai}$ `[..., a, q]`, $E_{ki}$, $D_k o$."""
    i, k = (a.index_select(0, f.here.bent) for a in (f.metric.rows, f.metric.columns))
    Ei = f.E.index_select(-1, i)
    Ekk, Dk = (a.gather(-2, k.expand(a.shape[0], 1, -1)).squeeze(-2) for a in (Ei, f.Do))
    return f.here.bend, Ei, Ekk, Dk
