"""The normal bundle: frames, the connection and its curvature."""

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _curvature, _jets
from riemann._submanifolds.immersion import Immersion, local
from riemann._types import ChunkSize, Field, Metric


def normal_projector(
    map: Field, x: Float[Tensor, "*batch k"], ambient: Metric | None = None, *, chunk_size: ChunkSize = "auto"
) -> Float[Tensor, "*batch N N"]:
    r"""Orthogonal projector on the normal space.

    $P^A{}_B = \delta^A_B - \partial_i f^A\, h^{ij}\, G_{BC}\, \partial_j f^C$

    Args:
        map: immersion, one point `(k,)` to `(N,)`.
        x: points, `(*batch, k)`.
        ambient: metric of the ambient space; the identity by default.
        chunk_size: points at a time, or memory as in `"2GB"`.

    Returns:
        `(*batch, N, N)`, `[..., A, B]`, index A up.

    Raises:
        TypeError, ValueError: as `second_fundamental_form`.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 4.

    Example:
        >>> circle = lambda t: torch.stack([torch.cos(t[0]), torch.sin(t[0])])
        >>> normal_projector(circle, torch.zeros(1))
        tensor([[1., 0.],
                [0., 0.]])
    """
    return local(map, x, ambient, lambda here: here.normal, chunk_size)


def normal_frame(
    map: Field, x: Float[Tensor, "*batch k"], ambient: Metric | None = None, *, chunk_size: ChunkSize = "auto"
) -> Float[Tensor, "*batch N m"]:
    r"""Orthonormal frame of the normal space; of a hypersurface, its unit normal.

    Args:
        map: immersion, one point `(k,)` to `(N,)`.
        x: points, `(*batch, k)`.
        ambient: metric of the ambient space; the identity by default.
        chunk_size: points at a time, or memory as in `"2GB"`.

    Returns:
        `(*batch, N, N - k)`, `[..., A, a]`: $\langle e_a, e_b \rangle = \pm \delta_{ab}$, timelike vectors first.

        The basis $(e_1, …, \partial_1 f, …)$, normals first as in Stokes's theorem, has the orientation of the ambient
        coordinates. So a surface in space has the normal $\partial_1 f \times \partial_2 f$, and a slice
        $t =$ const of a spacetime (t, x, y, z) one to the future.

    Raises:
        TypeError, ValueError: as `second_fundamental_form`.

    Note:
        In codimension 2 and more the frame is one of many, and need not be continuous from point to point. Its
        derivatives at a point are those of a smooth frame near it, made orthonormal from fixed ambient components.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 4.

    Example:
        >>> plane = lambda x: torch.stack([x[0], x[1], 2 * x[0]])
        >>> normal_frame(plane, torch.zeros(2))[:, 0] * 5**0.5
        tensor([-2.,  0.,  1.])
    """
    return local(map, x, ambient, Immersion.frame, chunk_size)


def normal_connection(map: Field, xi: Field, ambient: Metric | None = None) -> Field:
    r"""Normal connection: the normal part of $\bar\nabla \xi$, of a normal field along the submanifold.

    $\nabla^\perp_i \xi^A = P^A{}_B (\partial_i \xi^B + \bar\Gamma^B_{CD}\, \partial_i f^C\, \xi^D)$

    Args:
        map: immersion f, one point `(k,)` to `(N,)`.
        xi: normal field, one point `(k,)` to ambient components `(N,)`; of another field, its normal part counts.
        ambient: metric of the ambient space; the identity by default.

    Returns:
        Field: points `(*batch, k)` to `(*batch, N, k)`, derivative index last.

    Raises:
        ValueError: when the field is called, if `xi` has another shape.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 4.

    Example:
        >>> circle = lambda t: torch.stack([torch.cos(t[0]), torch.sin(t[0])])
        >>> normal_connection(circle, lambda t: torch.exp(t[0]) * circle(t))(torch.zeros(1))
        tensor([[1.],
                [0.]])
    """

    def field(x: Tensor) -> Tensor:
        def derivative(here: Immersion) -> Tensor:
            value, D = _jets.jet(xi, x, 1)
            if value.shape != here.y.shape:
                got, wanted = tuple(value.shape[x.ndim - 1 :]), tuple(here.y.shape[-1:])
                raise ValueError(f"`xi` returned shape {got} at one point, expected {wanted}: ambient components")
            if here.ambient is not None:
                gamma = _curvature.christoffel(here.ambient, here.y)
                D = D + torch.einsum("...BCE,...Ci,...E->...Bi", gamma, here.J, value)
            tangent = torch.einsum("...ij,...Bj,...BA,...A->...i", here.inverse, here.J, here.G, value)
            return here.normal @ D - torch.einsum("...Aij,...j->...Ai", here.II, tangent)

        return local(map, x, ambient, derivative)

    return field


def normal_curvature(
    map: Field, x: Float[Tensor, "*batch k"], ambient: Metric | None = None, *, chunk_size: ChunkSize = "auto"
) -> Float[Tensor, "*batch N N k k"]:
    r"""Curvature of the normal connection, by Ricci's equation; 0 for a hypersurface.

    $R^\perp(\partial_i, \partial_j) \xi = (\bar R(\partial_i, \partial_j) \xi)^\perp + II(\partial_i, S_\xi \partial_j)
    - II(\partial_j, S_\xi \partial_i)$

    Args:
        map: immersion, one point `(k,)` to `(N,)`.
        x: points, `(*batch, k)`.
        ambient: metric of the ambient space; the identity by default.
        chunk_size: points at a time, or memory as in `"2GB"`.

    Returns:
        `(*batch, N, N, k, k)`, `[..., A, B, i, j]`: $(R^\perp(\partial_i, \partial_j) \xi)^A$ is its
        product with $\xi^B$; 0 on tangent vectors.

    Raises:
        TypeError, ValueError: as `second_fundamental_form`.

    Reference:
        do Carmo, *Riemannian Geometry* (1992), chapter 6, proposition 3.1 (whose R has the other sign).

    Example:
        >>> complex_parabola = lambda z: torch.stack([z[0], z[1], z[0] ** 2 - z[1] ** 2, 2 * z[0] * z[1]])
        >>> normal_curvature(complex_parabola, torch.zeros(2))[2, 3]
        tensor([[ 0.,  8.],
                [-8.,  0.]])
    """

    def curvature(here: Immersion) -> Tensor:
        R = torch.einsum("...Aik,...kjB->...ABij", here.II, here.shape())
        R = R - R.mT
        if here.ambient is not None:
            ambient = _curvature.riemann_tensor(here.ambient, here.y)
            pulled = torch.einsum("...ABCD,...Ci,...Dj->...ABij", ambient, here.J, here.J)
            R = R + torch.einsum("...AC,...CDij,...DB->...ABij", here.normal, pulled, here.normal)
        return R

    return local(map, x, ambient, curvature, chunk_size)
