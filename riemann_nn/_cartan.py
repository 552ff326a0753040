r"""Curvature of a network metric $g = L L^T$ in the moving frame that its factor is.

$\theta^k = L_{ik}\, dx^i$ is an orthonormal coframe, and the rows of $E = L^{-1}$ are its frame $e_a$. With $D_a$ the
derivative along the frozen $e_a$, everything is made of

$M_{abk} = E_{bi}\, D_a L_{ik}$, $C_{abk} = M_{abk} - M_{bak} = d\theta^k(e_a, e_b)$, and contractions of
$N_{abck} = E_{ci}\, D_a D_b L_{ik}$, which is never formed. `docs/notes/fast-curvature.md` derives the formulas.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from riemann_nn._mlp_cholesky import MLPCholesky
from riemann_nn._mlp_jets import tangents, values


class MovingFrame(NamedTuple):
    r"""What the formulas contract, at points `(z, n)`; H is the width of the last hidden layer.

    Attributes:
        L: the factor.
        M: first derivatives of the coframe, `[..., a, b, k]`.
        EW: the head's weights in the frame, $E_{ci} \phi'_{ik} W_{ikh}$, `[..., c, k, h]`.
        DDh: second derivatives of the last hidden layer, `[..., a, b, h]`.
        Ep: $E_{a i_p}$ for the entries p = (i, k) at which the head is not linear, `[..., a, p]`.
        Dp: derivatives of these entries' outputs, `[..., a, p]`.
        bend: the head's second derivative there, `[..., p]`.
        k: their columns, `[p]`.
    """

    L: Tensor
    M: Tensor
    EW: Tensor
    DDh: Tensor
    Ep: Tensor
    Dp: Tensor
    bend: Tensor
    k: Tensor


def moving_frame(metric: MLPCholesky, x: Tensor) -> MovingFrame:
    """The frame at points `(z, n)`: time O(n²H(n + H)) and memory O(n²(n + H)) a point."""
    here = values(metric, x)
    n, W = metric.dim, metric.layers[-1].weight
    E = torch.linalg.solve_triangular(here.L, torch.eye(n, dtype=x.dtype, device=x.device), upper=False)
    Dh, DDh = tangents(metric, here, E)
    W_head = metric.triangle(here.slope).unsqueeze(-1) * metric.triangle(W.mT).movedim(0, -1)  # [..., i, k, h]
    EW = (E @ W_head.flatten(-2)).unflatten(-1, (n, -1))
    M = (Dh @ EW.flatten(1, 2).mT).unflatten(-1, (n, n))
    Ep = E.index_select(-1, metric.rows.index_select(0, here.bent))
    Dp = Dh @ W.index_select(0, here.bent).mT
    return MovingFrame(here.L, M, EW, DDh, Ep, Dp, here.bend, metric.columns.index_select(0, here.bent))


def scalar_curvature(f: MovingFrame) -> Tensor:
    r"""S, `(z,)`.

    $S = -2 \sum (N_{aakk} - N_{akak}) + \sum C_{abk} (\tfrac32 M_{akb} - \tfrac12 M_{abk} - \tfrac12 M_{kba})
    + 2 u \cdot v - |v|^2$ with $u_l = \sum M_{aal}$, $v_l = \sum (M_{lkk} - M_{klk})$.
    """
    M, u, v = f.M, _u(f), _v(f)
    if M.shape[-1] == 1:  # a curve has no curvature, to the last bit
        return 0 * f.L[..., 0, 0]
    C = M - M.transpose(-3, -2)
    products = C * (1.5 * M.transpose(-1, -2) - 0.5 * M - 0.5 * M.transpose(-3, -1))
    return products.sum((-3, -2, -1)) + (v * (2 * u - v)).sum(-1) - 2 * _second(f)


def ricci_tensor(f: MovingFrame) -> Tensor:
    r"""$\mathrm{Ric}_{ij}$, `(z, n, n)`: no array of n⁴ numbers.

    In the frame, with $\omega_{abc} = \langle \nabla_a e_b, e_c \rangle = \tfrac12 (C_{bca} - C_{abc} - C_{cab})$:
    $\mathrm{Ric}_{bc} = \sum_a e_a(\omega_{bca}) - e_b(v_c) + \omega_{bce} v_e - \omega_{ace} \omega_{bea}
    + C_{abe} \omega_{eca}$, symmetrised.
    """
    M, u, v = f.M, _u(f), _v(f)
    if M.shape[-1] == 1:
        return 0 * f.L
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
    return f.L @ (0.5 * (ricci + ricci.mT)) @ f.L.mT


def _u(f: MovingFrame) -> Tensor:
    return torch.einsum("...aal->...l", f.M)


def _v(f: MovingFrame) -> Tensor:
    return torch.einsum("...lkk->...l", f.M) - torch.einsum("...klk->...l", f.M)


def _second(f: MovingFrame) -> Tensor:
    """`sum_ak N_aakk - N_akak`."""
    trace, laplacian = torch.einsum("...kkh->...h", f.EW), torch.einsum("...aah->...h", f.DDh)
    Ekk, Dkk = (_at_columns(f, a) for a in (f.Ep, f.Dp))
    bent = f.bend * (Ekk * (f.Dp**2).sum(-2) - Dkk * (f.Ep * f.Dp).sum(-2))
    return (trace * laplacian).sum(-1) - (f.EW * f.DDh).sum((-3, -2, -1)) + bent.sum(-1)


def _contractions(f: MovingFrame) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`sum_a N_abca` as [b, c], `sum_a N_acab` and `sum_a N_aacb` as [c, b], `sum_k N_bckk` as [b, c]."""
    trace, laplacian = torch.einsum("...kkh->...h", f.EW), torch.einsum("...aah->...h", f.DDh)
    Ekk, Dkk = (_at_columns(f, a).unsqueeze(-2) for a in (f.Ep, f.Dp))
    bend, zeros = f.bend.unsqueeze(-2), torch.zeros_like(f.L)
    ED, DD = (f.Ep * f.Dp).sum(-2, keepdim=True), (f.Dp**2).sum(-2, keepdim=True)
    N_abca = torch.einsum("...cah,...abh->...bc", f.EW, f.DDh) + (f.Dp * bend * Dkk) @ f.Ep.mT
    N_acab = torch.einsum("...abh,...ach->...cb", f.EW, f.DDh) + zeros.index_add(-1, f.k, f.Dp * bend * ED)
    N_aacb = torch.einsum("...cbh,...h->...cb", f.EW, laplacian) + zeros.index_add(-1, f.k, f.Ep * bend * DD)
    N_bckk = torch.einsum("...h,...bch->...bc", trace, f.DDh) + (f.Dp * bend * Ekk) @ f.Dp.mT
    return N_abca, N_acab, N_aacb, N_bckk


def _at_columns(f: MovingFrame, a: Tensor) -> Tensor:
    """`a[..., k_p, p]` of `a[..., a, p]`."""
    return a.gather(-2, f.k.expand(*a.shape[:-2], 1, -1)).squeeze(-2)
