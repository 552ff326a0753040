r"""Tensors in the index conventions of other packages, and a test of signs that any package can take.

Ours are those of Misner, Thorne and Wheeler: $\Gamma^k_{ij}$ is `[k, i, j]`, and $R^a{}_{bcd} = \partial_c
\Gamma^a_{db} - \dots$ is `[a, b, c, d]`, so that $R(\partial_c, \partial_d) \partial_b = R^a{}_{bcd} \partial_a$, and
spheres have positive curvature. What other packages write is a permutation of the axes of that, and a sign:

>>> import torch
>>> R = torch.zeros(2, 2, 2, 2)
>>> R[0, 1, 0, 1], R[0, 1, 1, 0] = 1.0, -1.0
>>> convert(R, "riemann_tensor", to="geomstats")[1, 0, 1, 0]
tensor(1.)
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

QUANTITIES = ("christoffel", "riemann_tensor", "ricci_tensor", "cotton_tensor")


class Order(NamedTuple):
    """How a package writes a tensor: `theirs[letters] = sign * ours[our letters]`, and the formula that it follows."""

    theirs: str
    sign: int = 1
    formula: str = ""


_CHRISTOFFEL, _RIEMANN = "kij", "abcd"
_OURS = {
    "christoffel": Order("kij", 1, "Γ^k_ij"),
    "riemann_tensor": Order("abcd", 1, "R^a_bcd = ∂_c Γ^a_db − ∂_d Γ^a_cb + …"),
    "ricci_tensor": Order("ij", 1, "R^a_iaj"),
    "cotton_tensor": Order("ijk", 1, "D_k P_ij − D_j P_ik"),
}
_UPPER_LAST = Order("ijk", 1, "[i, j, k] is Γ^k_ij")

# Letters of a Riemann tensor are those of R^a_bcd, in the order in which the package has them.
PACKAGES: Mapping[str, Mapping[str, Order]] = {
    "mtw": _OURS,
    **dict.fromkeys(("einsteinpy", "ogrepy", "sympy", "cadabra"), {k: _OURS[k] for k in QUANTITIES[:3]}),
    "sage": {**{k: _OURS[k] for k in QUANTITIES[:3]}},
    "geomstats": {
        "christoffel": _OURS["christoffel"],
        "riemann_tensor": Order("bcda", 1, "R_ijk^l = dx^l(R(X_j, X_k) X_i), the upper index last"),
        "ricci_tensor": _OURS["ricci_tensor"],
    },
    "jaxgeometry": {
        "christoffel": _OURS["christoffel"],
        "riemann_tensor": Order("cdba", 1, "R_ijk^l = dx^l(R(X_i, X_j) X_k), as in Lee"),
        "ricci_tensor": _OURS["ricci_tensor"],
    },
    "maxima": {
        "christoffel": Order("ijk", 1, "mcs[i, j, k] is Γ^k_ij"),
        "riemann_tensor": Order("bcda", -1, "riem[i, j, k, l] = R_ijk^l = ∂_k Γ^l_ij − ∂_j Γ^l_ik + …"),
        "ricci_tensor": _OURS["ricci_tensor"],
    },
    "manifolds.jl": {
        "christoffel": _OURS["christoffel"],
        "riemann_tensor": Order("acdb", 1, "R[u, i, j, k] = dx^u(R(X_i, X_j) X_k)"),
    },
    "xact": {
        "christoffel": _OURS["christoffel"],
        "riemann_tensor": Order("cdba", -1, "R_abc^d w_d = (D_a D_b − D_b D_a) w_c, as in Wald"),
        "ricci_tensor": _OURS["ricci_tensor"],
    },
    "autograv": {
        "christoffel": _OURS["christoffel"],
        "riemann_tensor": Order("abcd", -1, "R^j_klm = ∂_m Γ^j_kl − ∂_l Γ^j_km + …"),
        "ricci_tensor": _OURS["ricci_tensor"],
    },
}
