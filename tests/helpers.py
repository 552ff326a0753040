"""What tests share: one tolerance table, errors against a scale, exact values of symbolic arrays."""

import sympy as sp
import torch
from torch.testing import assert_close

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-4}


def assert_equal(value, truth, *, scale=None, rtol=None):
    """|value - truth| is small against |truth|, or against `scale` where the truth may be 0."""
    truth = torch.as_tensor(truth, dtype=value.dtype, device=value.device)
    rtol = TOLERANCE[value.dtype] if rtol is None else rtol
    size = float(truth.detach().abs().max()) if truth.numel() else 0.0
    size = max(size, 1.0 if scale is None else float(scale))
    assert_close(value, truth.expand_as(value), rtol=0.0, atol=rtol * size)


def terms(g, dg, ddg):
    """The size of what curvature adds up at the worst point: its scale where it vanishes."""
    return float(ddg.abs().max() + dg.abs().max() ** 2 * torch.linalg.inv(g).abs().max())


def exact(symbolic, quantity, points):
    """`quantity(metric)` of a symbolic metric at points (rows of decimal strings): 30 digits, as float64."""
    rows = []
    for point in points:
        value = quantity(symbolic.at([sp.Rational(str(c)) for c in point], 30))
        rows.append(torch.tensor(_floats(value.tolist() if hasattr(value, "tolist") else value), dtype=torch.float64))
    return torch.stack(rows)


def _floats(value):
    return [_floats(v) for v in value] if isinstance(value, list) else float(value)


def random_metric(n, signature, seed, dtype=torch.float64):
    """A smooth non-diagonal metric of the signature (number of minus signs): eta + small polynomial and sines."""
    generator = torch.Generator().manual_seed(seed)
    A = 0.2 * torch.randn(n, n, n, generator=generator, dtype=dtype)
    B = 0.1 * torch.randn(n, n, n, n, generator=generator, dtype=dtype)
    C = 0.1 * torch.randn(n, n, n, generator=generator, dtype=dtype)
    eta = torch.cat([-torch.ones(signature, dtype=dtype), torch.ones(n - signature, dtype=dtype)])
    base = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=dtype)).Q
    base = base.T @ torch.diag(eta) @ base

    def g(x):
        h = (
            torch.einsum("ijk,k->ij", A, x)
            + torch.einsum("ijkl,k,l->ij", B, x, x)
            + torch.einsum("ijk,k->ij", C, x.sin())
        )
        return base + (h + h.T) / (2 * n)

    return g


class WrongCube(torch.autograd.Function):
    """x^3 with a derivative off by 0.1%."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx, t):
        return 3.003 * ctx.saved_tensors[0] ** 2 * t
