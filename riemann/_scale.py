"""How large what a formula adds up is: the scale of its rounding error, also where the result is 0 (every vacuum)."""

import torch
from torch import Tensor

from riemann import formulas


def scales(g: Tensor, dg: Tensor, ddg: Tensor) -> dict[str, Tensor]:
    """The sum of absolute values of the terms of each component of each quantity, by the name of its formula."""
    n = g.shape[-1]
    inverse, size, d, dd = formulas.inverse_metric(g).abs(), g.abs(), dg.abs(), ddg.abs()
    gamma = 0.5 * (d.transpose(-1, -2) + d + torch.einsum("...ijk->...kij", d))  # Gamma_kij
    raised = torch.einsum("...kl,...lij->...kij", inverse, gamma)
    products = torch.einsum("...ebc,...ead->...abcd", gamma, raised)
    second = [torch.einsum(f"...{order}->...abcd", dd) for order in ("adbc", "bcad", "acbd", "bdac")]
    riemann = 0.5 * sum(second) + products + products.transpose(-1, -2)
    ricci = torch.einsum("...ac,...abcd->...bd", inverse, riemann)
    scalar = torch.einsum("...bd,...bd->...", inverse, ricci)
    weyl = riemann
    if n > 3:
        schouten = (ricci + scalar[..., None, None] * size / (2 * (n - 1))) / (n - 2)
        gP = torch.einsum("...ac,...bd->...abcd", size, schouten)
        gP = gP + gP.transpose(-1, -2)
        weyl = riemann + gP + gP.transpose(-3, -4)
    twice = torch.einsum("...ae,...bf,...efcd->...abcd", inverse, inverse, riemann)
    return {
        "metric": size,
        "christoffel": raised,
        "riemann_tensor": torch.einsum("...ae,...ebcd->...abcd", inverse, riemann),
        "ricci_tensor": ricci,
        "scalar_curvature": scalar,
        "weyl_tensor": torch.einsum("...ae,...ebcd->...abcd", inverse, weyl),
        "kretschmann_scalar": torch.einsum("...abcd,...cdab->...", twice, twice),
        "volume_element": formulas.volume_element(g),
    }
