r"""Submanifolds: how the image of a map lies in the space around it, and what its normal bundle does.

A map f takes one point `(k,)` of the submanifold to one point `(N,)` of the ambient space, whose metric G may be flat,
curved or indefinite. Ambient indices are A, B, those of the submanifold i, j. All comes from the second fundamental
form $II_{ij} = (\bar\nabla_i \partial_j f)^\perp$: second derivatives of f, first ones of G.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _curvature, _jets
from riemann._points.checks import door
from riemann._points.faults import Faults
from riemann._submanifolds.immersion import INDEFINITE, Immersion, local
from riemann._types import ChunkSize, Field, Metric


def second_fundamental_form(
    map: Field,
    x: Float[Tensor, "*batch k"],
    ambient: Metric | None = None,
    *,
    chunk_size: ChunkSize = "auto",
) -> Float[Tensor, "*batch N k k"]:
    r"""Second fundamental form, normal-valued: $II_{ij} = (\bar\nabla_i \partial_j f)^\perp$.

    With the normal projector P, $II^A_{ij} = P^A{}_B (\partial_i \partial_j f^B + \bar\Gamma^B_{CD}\, \partial_i f^C
    \partial_j f^D)$.

    Args:
        map: immersion f, one point `(k,)` to a point `(N,)` of the ambient space.
        x: points, `(*batch, k)`.
        ambient: metric of the ambient space, `(N,)` to `(N, N)`, of any signature; the identity by default.
        chunk_size: points at a time, or memory as in `"2GB"`. For all functions here.

    Returns:
        `(*batch, N, k, k)`, `[..., A, i, j]`.

    Raises:
        TypeError, ValueError: as `jet`; k > N.

    Warns:
        UserWarning: where the induced metric is degenerate (a null submanifold, a critical point of f): NaN there. For
            all functions here.

    Note:
        On a spacelike slice of a spacetime with unit normal $\nu$, $II_{ij} = K_{ij} \nu$ with the extrinsic curvature
        $K_{ij} = \tfrac12 (L_\nu h)_{ij}$; the other sign is in use, too.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 4, lemma 4.

    Example:
        >>> bowl = lambda x: torch.stack([x[0], x[1], (x @ x) / 2])
        >>> second_fundamental_form(bowl, torch.zeros(2))[2]
        tensor([[1., 0.],
                [0., 1.]])
    """
    return local(map, x, ambient, lambda here: here.II, chunk_size)


def mean_curvature_vector(
    map: Field,
    x: Float[Tensor, "*batch k"],
    ambient: Metric | None = None,
    *,
    normalized: bool = False,
    chunk_size: ChunkSize = "auto",
) -> Float[Tensor, "*batch N"]:
    r"""Mean curvature vector, the trace $H = h^{ij} II_{ij}$, of the induced metric h; 0 on a minimal submanifold.

    Args:
        map: immersion, one point `(k,)` to `(N,)`.
        x: points, `(*batch, k)`.
        ambient: metric of the ambient space; the identity by default.
        normalized: whether to divide by k, so that the unit sphere has length 1.
        chunk_size: points at a time, or memory as in `"2GB"`.

    Returns:
        `(*batch, N)`, normal. It is the gradient flow of volume: $-2 \nu / r$ on a sphere in space, inwards.

    Raises:
        TypeError, ValueError: as `second_fundamental_form`.

    Reference:
        do Carmo, *Riemannian Geometry* (1992), chapter 6.

    Example:
        >>> circle = lambda t: 2 * torch.stack([torch.cos(t[0]), torch.sin(t[0])])
        >>> mean_curvature_vector(circle, torch.zeros(1))
        tensor([-0.5000,  0.0000])
    """

    def trace(here: Immersion) -> Tensor:
        H = torch.einsum("...ij,...Aij->...A", here.inverse, here.II)
        return H / x.shape[-1] if normalized else H

    return local(map, x, ambient, trace, chunk_size)


@door
def gauss_curvature(
    map: Field, x: Float[Tensor, "*batch 2"], ambient: Metric | None = None, *, chunk_size: ChunkSize = "auto"
) -> Float[Tensor, "*batch"]:
    r"""Gauss curvature of a surface in a space of any dimension, by Gauss's equation.

    $K \det h = \langle II_{11}, II_{22} \rangle - |II_{12}|^2 + \langle \bar R(\partial_1, \partial_2) \partial_2,
    \partial_1 \rangle$

    Args:
        map: immersion, one point `(2,)` to `(N,)`.
        x: points, `(*batch, 2)`.
        ambient: metric of the ambient space; the identity by default.
        chunk_size: points at a time, or memory as in `"2GB"`.

    Returns:
        `(*batch,)`: the intrinsic curvature, half the scalar curvature of the induced metric.

    Raises:
        ValueError: k is not 2. For a hypersurface of more dimensions take `shape_operator`, whose determinant is the
            Gauss-Kronecker curvature, or `scalar_curvature` of `metrics.Pullback(map, ambient)`.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 4, theorem 5.

    Example:
        >>> bowl = lambda x: torch.stack([x[0], x[1], (x @ x) / 2])
        >>> gauss_curvature(bowl, torch.zeros(2))
        tensor(1.)
    """
    if x.shape[-1] != 2:
        raise ValueError(
            f"`x` has {x.shape[-1]} coordinates, and the Gauss curvature is that of a surface; take `shape_operator` "
            "or `scalar_curvature` of `metrics.Pullback(map, ambient)`"
        )

    def curvature(here: Immersion) -> Tensor:
        II, lowered = here.II, here.lowered()
        form = (II[..., 0, 0] * lowered[..., 1, 1] - II[..., 0, 1] * lowered[..., 0, 1]).sum(-1)
        if here.ambient is not None:
            form = form + _curvature.sectional_form(here.ambient, here.y, here.J[..., 0], here.J[..., 1])
        return form / (here.h[..., 0, 0] * here.h[..., 1, 1] - here.h[..., 0, 1] ** 2)

    return local(map, x, ambient, curvature, chunk_size)


def shape_operator(
    map: Field,
    x: Float[Tensor, "*batch k"],
    ambient: Metric | None = None,
    *,
    normal: Float[Tensor, "... N"] | None = None,
    chunk_size: ChunkSize = "auto",
) -> Float[Tensor, "... k k"]:
    r"""Shape operator (Weingarten map) of a normal vector.

    $\langle S_\nu u, v \rangle = \langle II(u, v), \nu \rangle$,
    $S^i{}_j = h^{ik} \langle II_{kj}, \nu \rangle$; $S_\nu u = -\bar\nabla_u \nu$, tangent part.

    Args:
        map: immersion, one point `(k,)` to `(N,)`.
        x: points, `(*batch, k)`.
        ambient: metric of the ambient space; the identity by default.
        normal: $\nu$, `(*batch, N)` or what broadcasts to it; a tangent part does not count. By default the unit normal
            of a hypersurface, `normal_frame(map, x, ambient)[..., 0]`.
        chunk_size: points at a time, or memory as in `"2GB"`.

    Returns:
        `(*batch, k, k)`, `[..., i, j]`, index i up.

    Raises:
        ValueError: no `normal`, and N is not k + 1; a `normal` of another shape.

    Note:
        Spheres have $S = -1/r$ with the outward normal.

    Reference:
        O'Neill, *Semi-Riemannian Geometry* (1983), chapter 4.

    Example:
        >>> sphere = lambda x: torch.stack([x[0].sin() * x[1].cos(), x[0].sin() * x[1].sin(), x[0].cos()])
        >>> shape_operator(sphere, torch.tensor([torch.pi / 2, 0.0])).diagonal()
        tensor([-1., -1.])
    """
    if normal is None:
        return local(map, x, ambient, lambda here: contracted(here.shape(), here.unit_normal()), chunk_size)
    shape = local(map, x, ambient, Immersion.shape, chunk_size)
    if not isinstance(normal, Tensor) or normal.shape[-1:] != shape.shape[-1:] or normal.dtype != x.dtype:
        got = f"{tuple(normal.shape)}, {normal.dtype}" if isinstance(normal, Tensor) else type(normal).__name__
        raise ValueError(f"`normal` is {got}, expected a tensor (*batch, {shape.shape[-1]}), {x.dtype}")
    return contracted(shape, normal)


def contracted(shape: Tensor, normal: Tensor) -> Tensor:
    return torch.einsum("...ijA,...A->...ij", shape, normal)


def principal_curvatures(
    map: Field, x: Float[Tensor, "*batch k"], ambient: Metric | None = None, *, chunk_size: ChunkSize = "auto"
) -> Float[Tensor, "*batch k"]:
    r"""Principal curvatures of a hypersurface, the eigenvalues of its shape operator for the unit normal.

    Args:
        map: immersion, one point `(k,)` to `(k + 1,)`.
        x: points, `(*batch, k)`.
        ambient: metric of the ambient space; the identity by default.
        chunk_size: points at a time, or memory as in `"2GB"`.

    Returns:
        `(*batch, k)`, ascending. The sign is that of the normal (`normal_frame`), positive where the hypersurface bends
        towards it: a sphere with the outward normal has $-1/r$. Exchange of two coordinates turns the sign.

    Raises:
        ValueError: no hypersurface.

    Warns:
        UserWarning: where the induced metric is indefinite (a timelike hypersurface): principal curvatures may be
            complex there, and are NaN; `shape_operator` has the matrix.

    Note:
        Gradients are those of eigenvalues: not unique where two agree.

    Reference:
        do Carmo, *Riemannian Geometry* (1992), chapter 6.

    Example:
        >>> tube = lambda x: torch.stack([2 * torch.cos(x[0]), 2 * torch.sin(x[0]), x[1]])
        >>> principal_curvatures(tube, torch.zeros(2))
        tensor([-0.5000,  0.0000])
    """

    def eigenvalues(here: Immersion) -> Tensor:
        b = torch.einsum("...Aij,...A->...ij", here.lowered(), here.unit_normal())
        sign = _sign(here)
        L = torch.linalg.cholesky_ex(sign * here.inverse).L  # h^-1 b and L^T b L have the same eigenvalues
        return torch.linalg.eigvalsh(torch.nan_to_num(L.mT @ (sign * b) @ L))

    def judge(here: Immersion) -> Faults:
        return {INDEFINITE: torch.linalg.cholesky_ex(torch.nan_to_num(_sign(here) * here.h)).info != 0}

    return local(map, x, ambient, eigenvalues, chunk_size, judge)


def _sign(here: Immersion) -> Tensor:
    """1 or -1, of an induced metric that is definite."""
    return _jets.frozen(torch.sign, here.h[..., :1, :1])
