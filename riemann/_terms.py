"""How large what a formula adds up is: the scale of its rounding error, also where the result is 0 (every vacuum)."""

import torch
from torch import Tensor

from riemann import formulas
from riemann._indices import metric_trace


def riemann_terms(inverse: Tensor, dg: Tensor, ddg: Tensor) -> Tensor:
    """The sum of absolute values of the terms of each R_abcd; `inverse` holds absolute values, too."""
    dd, (gamma, raised) = ddg.abs(), _gamma_terms(inverse, dg)
    products = torch.einsum("...ebc,...ead->...abcd", gamma, raised)
    second = [torch.einsum(f"...{order}->...abcd", dd) for order in ("adbc", "bcad", "acbd", "bdac")]
    return 0.5 * sum(second) + products + products.transpose(-1, -2)


def ricci_product_terms(inverse: Tensor, dg: Tensor) -> Tensor:
    """Those of the part of Ricci that has no second derivatives, without an array of n⁴ numbers."""
    gamma, raised = _gamma_terms(inverse, dg)
    trace = torch.einsum("...ac,...eac->...e", inverse, raised)
    products = torch.einsum("...ebc,...ebd->...cd", gamma, torch.einsum("...ab,...ead->...ebd", inverse, raised))
    return products + torch.einsum("...e,...ebd->...bd", trace, gamma)


def christoffel_terms(inverse: Tensor, dg: Tensor) -> Tensor:
    """The sum of absolute values of the terms of each Gamma^k_ij, `[..., k, i, j]`."""
    return _gamma_terms(inverse, dg)[1]


def _gamma_terms(inverse: Tensor, dg: Tensor) -> tuple[Tensor, Tensor]:
    d = dg.abs()
    gamma = 0.5 * (d.transpose(-1, -2) + d + torch.einsum("...ijk->...kij", d))  # Gamma_kij
    return gamma, torch.einsum("...kl,...lij->...kij", inverse, gamma)


def inverse_terms(g: Tensor, inverse: Tensor) -> Tensor:
    """What rounding of g does to its inverse is what rounding of these terms, $|g^{-1}| |g| |g^{-1}|$, would do."""
    return inverse.abs() @ g.abs() @ inverse.abs()


def scales(g: Tensor, dg: Tensor, ddg: Tensor, inverse: Tensor | None = None) -> dict[str, Tensor]:
    """The sum of absolute values of the terms of each component of each quantity, by the name of its formula.

    `inverse` holds the terms of the inverse metric; otherwise its absolute values are taken.
    """
    n = g.shape[-1]
    inverse, size = formulas.inverse_metric(g).abs() if inverse is None else inverse, g.abs()
    riemann = riemann_terms(inverse, dg, ddg)
    ricci = torch.einsum("...ac,...abcd->...bd", inverse, riemann)
    scalar = metric_trace(inverse, ricci)
    weyl = riemann
    if n > 3:
        schouten = (ricci + scalar[..., None, None] * size / (2 * (n - 1))) / (n - 2)
        gP = torch.einsum("...ac,...bd->...abcd", size, schouten)
        gP = gP + gP.transpose(-1, -2)
        weyl = riemann + gP + gP.transpose(-3, -4)
    twice = torch.einsum("...ae,...bf,...efcd->...abcd", inverse, inverse, riemann)
    return {
        "metric": size,
        "christoffel": christoffel_terms(inverse, dg),
        "riemann_tensor": torch.einsum("...ae,...ebcd->...abcd", inverse, riemann),
        "ricci_tensor": ricci,
        "scalar_curvature": scalar,
        "weyl_tensor": torch.einsum("...ae,...ebcd->...abcd", inverse, weyl),
        "kretschmann_scalar": torch.einsum("...abcd,...cdab->...", twice, twice),
        "volume_element": formulas.volume_element(g),
    }
