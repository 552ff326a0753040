r"""How geodesics of induced metrics vary: from third derivatives of the map along the velocity, none of the metric."""

import torch
from torch import Tensor

from riemann import _jets
from riemann._curvature.variation import of_type
from riemann._indices import matvec
from riemann.metrics._pullback import _MAP, Pullback, _ambient, _curved, _lower, _lowered, _map_jet, _shortened
from riemann.metrics._structure import part_field


@of_type.register(Pullback)
def acceleration_derivatives(metric: Pullback, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    r"""Derivatives of a, of $J^T G\, r = 0$ with the normal part $r = D^2 f(v, v) + J a$, for a flat ambient space.

    $-g\, \partial_k a = \langle D^2 f(e_k, \cdot), G r \rangle + J^T G\, (D^3 f(v, v, e_k) + D^2 f(e_k, a))$ by the
    point, and $-g\, \partial_k a = 2 J^T G\, D^2 f(v, e_k)$ by the velocity.
    """
    short = _shortened(metric)
    if _curved(short):
        return of_type.dispatch(object)(metric, x, v)
    f = part_field(short.map, x, (None,), _MAP)
    y, J = _map_jet(short, x, 1)
    G = _ambient(short, y)
    inverse, GJ = _lowered(J, G)
    second = _jets.jets_along(f, x, (v,), 2)[2][..., 0, 0]
    lowered = GJ.mT  # (b, n, m)
    a = -matvec(inverse @ lowered, second)
    normal = _lower(G, (second + matvec(J, a)).unsqueeze(-2)).squeeze(-2)

    bent = _jets.jets_along(lambda p, c: f(p) @ c, x, None, 2, normal)[2]  # [..., k, l], of the normal part
    by_v, by_vv, by_a = _jets.gradients(f, x, along=((v,), (v, v), (a,)))
    changes = torch.stack((by_vv + by_a, 2 * by_v))  # (2, b, m, n)
    A_x, A_v = lowered @ changes
    return -inverse @ (bent + A_x), -inverse @ A_v
