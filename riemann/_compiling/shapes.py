"""Operations as compilers are fast at them: small products, inverses and Fourier transforms written out."""

from typing import Any

import torch
from torch import Tensor

from riemann._compiling import fourier

aten = torch.ops.aten
SMALL = 4  # terms of a sum that are written out


def bmm(a: Tensor, b: Tensor) -> Any:
    """Products of many small matrices: a library call for each takes longer than the products."""
    if a.shape[-1] > SMALL or not isinstance(a.shape[0], torch.SymInt):
        return NotImplemented
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)


def inv_ex(a: Tensor, *, check_errors: bool = False) -> Any:
    """Inverses of matrices of two rows, written out: as exact as by elimination.

    Of what is divided by its largest entry first: products of two entries would be too large, or too small, sooner
    than the entries of the inverse are.
    """
    if a.shape[-1] != 2 or a.ndim < 3 or not isinstance(a.shape[0], torch.SymInt):
        return NotImplemented
    size = a.detach().abs().amax((-2, -1), keepdim=True)
    p, q, r, s = ((a / size)[..., i, j] for i in range(2) for j in range(2))
    det = p * s - q * r
    rows = [torch.stack([y / det / size[..., 0, 0] for y in row]) for row in ((s, -q), (-r, p))]
    inverse = torch.stack(rows).movedim((0, 1), (-2, -1))  # points side by side
    return inverse, (~(det.abs() > 0)).to(torch.int32)


RULES = {aten.bmm.default: bmm, aten.linalg_inv_ex.default: inv_ex, **fourier.RULES}
