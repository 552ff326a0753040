r"""Submanifolds: how the image of a map lies in the space around it, and what its normal bundle does.

A map f takes one point `(k,)` of the submanifold to one point `(N,)` of the ambient space, whose metric G may be flat,
curved or indefinite. Ambient indices are A, B, those of the submanifold i, j. All comes from the second fundamental
form $II_{ij} = (\bar\nabla_i \partial_j f)^\perp$: second derivatives of f, first ones of G.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _curvature, _jets, formulas
from riemann._metric import faults_of
from riemann._points.checks import check_points, has_values
from riemann._points.chunks import in_chunks
from riemann._points.faults import Faults, warn_of, with_nan
from riemann._precision import full_precision
from riemann._types import ChunkSize, Field, Metric
from riemann.metrics import Pullback
from riemann.metrics._pullback import immersed

# --------------------------------------------------------------------------------------- one immersion, at points


class Immersion(NamedTuple):
    r"""A map at points: $f^A$, $J^A_i$, $G_{AB}$, $II^A_{ij}$, induced $h_{ij}$, its inverse, the normal projector."""

    ambient: Metric | None
    y: Tensor
    J: Tensor
    G: Tensor
    II: Tensor
    h: Tensor
    inverse: Tensor
    normal: Tensor

    def lowered(self) -> Tensor:
        r"""$II_{A ij}$."""
        return torch.einsum("...AB,...Bij->...Aij", self.G, self.II)

    def shape(self) -> Tensor:
        r"""The shape operator of every normal vector, $S^i{}_{jA} = h^{ik} II_{A kj}$, `[..., i, j, A]`."""
        return torch.einsum("...ik,...Akj->...ijA", self.inverse, self.lowered())

    def frame(self) -> Tensor:
        """Orthonormal normal vectors, `[..., A, a]`, timelike ones first; see `normal_frame`.

        Two Newton steps towards orthonormality, from a frozen frame that is projected, change no value and give the
        frame derivatives that are right to third order.
        """
        start, eta = _jets.frozen(_start, self.J, self.G)
        frame = self.normal @ start
        for _ in range(2):
            frame = frame - 0.5 * frame @ (eta.unsqueeze(-1) * (frame.mT @ self.G @ frame - torch.diag_embed(eta)))
        return frame

    def unit_normal(self) -> Tensor:
        """The normal of a hypersurface."""
        N, k = self.J.shape[-2:]
        if k + 1 != N:
            raise ValueError(
                f"`map` goes from {k} dimensions to {N}, and only a hypersurface has one unit normal; give "
                "`shape_operator` a `normal`, such as a column of `normal_frame`"
            )
        return self.frame()[..., 0]


def _start(J: Tensor, G: Tensor) -> tuple[Tensor, Tensor]:
    """An orthonormal frame of the normal space, and the diagonal of its metric: of values alone."""
    k = J.shape[-1]
    basis = torch.linalg.qr(torch.nan_to_num(G @ J), mode="complete").Q[..., k:]
    w, V = torch.linalg.eigh(torch.nan_to_num(basis.mT @ G @ basis))
    frame = basis @ V * w.abs().rsqrt().unsqueeze(-2)
    side = torch.linalg.slogdet(torch.cat([frame, J], -1))[0]
    flipped = torch.where(side < 0, -1.0, 1.0)[..., None, None].to(J)
    last = torch.arange(frame.shape[-1], device=J.device) == frame.shape[-1] - 1
    return torch.where(last, flipped * frame, frame), torch.sign(w)


Quantity = Callable[[Immersion], Tensor]
_NULL = "is degenerate (the tangent space is null, or f no immersion)"
_INDEFINITE = "is indefinite, where principal curvatures may be complex (`torch.linalg.eigvals` of `shape_operator`)"


def _immersion(map: Field, x: Tensor, ambient: Metric | None) -> tuple[Immersion, Faults]:
    y, J, G, second = immersed(Pullback(map, ambient), x, "map")
    if (N := J.shape[-2]) < (k := J.shape[-1]):
        raise ValueError(
            f"`map` goes from {k} dimensions to {N}: no immersion; it takes a point ({k},) to one (N,), N >= {k}"
        )
    G = torch.eye(N, dtype=x.dtype, device=x.device).expand(*x.shape[:-1], N, N) if G is None else G
    GJ = G @ J
    h = J.mT @ GJ
    h = 0.5 * (h + h.mT)
    faults = {}
    if has_values(h) and has_values(x):
        D = torch.einsum("...Aik,...Aj->...ijk", second, GJ)
        faults = {_NULL: _is_null(J, G, h)} | faults_of((h, D + D.transpose(-2, -3)), x)
    inverse = formulas.inverse_metric(h)
    normal = torch.eye(N, dtype=x.dtype, device=x.device) - J @ inverse @ GJ.mT
    II = torch.einsum("...AB,...Bij->...Aij", normal, second)
    return Immersion(ambient, y, J, G, II, h, inverse, normal), faults


def _is_null(J: Tensor, G: Tensor, h: Tensor) -> Tensor:
    """Where the induced metric, in units of the terms that each entry adds up, has an eigenvalue of 0 to rounding."""
    J, G, h = J.detach(), G.detach(), h.detach()
    size = (J.abs().mT @ G.abs() @ J.abs()).diagonal(dim1=-2, dim2=-1).sqrt()
    relative = torch.nan_to_num(h / (size.unsqueeze(-1) * size.unsqueeze(-2)), posinf=0.0, neginf=0.0)
    return torch.linalg.eigvalsh(relative).abs().amin(-1) <= 16 * h.shape[-1] * torch.finfo(h.dtype).eps


def _local(
    map: Field,
    x: Tensor,
    ambient: Metric | None,
    quantity: Quantity,
    chunk_size: ChunkSize = "auto",
    judge: Callable[[Immersion], Faults] = lambda here: {},
) -> Tensor:
    """The quantity at each point; NaN and one warning where the induced metric is none, or `judge` finds a fault."""
    check_points(x)

    def at(p: Tensor) -> Tensor:
        here, faults = _immersion(map, p, ambient)
        faults = faults | judge(here) if faults else faults
        warn_of(faults, "the metric induced by `map`")
        return with_nan(faults, quantity(here))[0]

    with full_precision():
        return in_chunks(at, x, rank=3, light=_jets.weight_of(map), chunk_size=chunk_size)


# ------------------------------------------------------------------------------------------- extrinsic curvature


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
    return _local(map, x, ambient, lambda here: here.II, chunk_size)


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

    Example:
        >>> circle = lambda t: 2 * torch.stack([torch.cos(t[0]), torch.sin(t[0])])
        >>> mean_curvature_vector(circle, torch.zeros(1))
        tensor([-0.5000,  0.0000])
    """

    def trace(here: Immersion) -> Tensor:
        H = torch.einsum("...ij,...Aij->...A", here.inverse, here.II)
        return H / x.shape[-1] if normalized else H

    return _local(map, x, ambient, trace, chunk_size)


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

    Example:
        >>> bowl = lambda x: torch.stack([x[0], x[1], (x @ x) / 2])
        >>> gauss_curvature(bowl, torch.zeros(2))
        tensor(1.)
    """
    check_points(x)
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

    return _local(map, x, ambient, curvature, chunk_size)


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

    Example:
        >>> sphere = lambda x: torch.stack([x[0].sin() * x[1].cos(), x[0].sin() * x[1].sin(), x[0].cos()])
        >>> shape_operator(sphere, torch.tensor([torch.pi / 2, 0.0])).diagonal()
        tensor([-1., -1.])
    """
    if normal is None:
        return _local(map, x, ambient, lambda here: _contracted(here.shape(), here.unit_normal()), chunk_size)
    shape = _local(map, x, ambient, Immersion.shape, chunk_size)
    if not isinstance(normal, Tensor) or normal.shape[-1:] != shape.shape[-1:] or normal.dtype != x.dtype:
        got = f"{tuple(normal.shape)}, {normal.dtype}" if isinstance(normal, Tensor) else type(normal).__name__
        raise ValueError(f"`normal` is {got}, expected a tensor (*batch, {shape.shape[-1]}), {x.dtype}")
    return _contracted(shape, normal)


def _contracted(shape: Tensor, normal: Tensor) -> Tensor:
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
        return {_INDEFINITE: torch.linalg.cholesky_ex(torch.nan_to_num(_sign(here) * here.h)).info != 0}

    return _local(map, x, ambient, eigenvalues, chunk_size, judge)


def _sign(here: Immersion) -> Tensor:
    """1 or -1, of an induced metric that is definite."""
    return _jets.frozen(torch.sign, here.h[..., :1, :1])


# --------------------------------------------------------------------------------------------- the normal bundle


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

    Example:
        >>> circle = lambda t: torch.stack([torch.cos(t[0]), torch.sin(t[0])])
        >>> normal_projector(circle, torch.zeros(1))
        tensor([[1., 0.],
                [0., 0.]])
    """
    return _local(map, x, ambient, lambda here: here.normal, chunk_size)


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
        $t = $ const of a spacetime (t, x, y, z) one to the future.

    Raises:
        TypeError, ValueError: as `second_fundamental_form`.

    Note:
        In codimension 2 and more the frame is one of many, and need not be continuous from point to point. Its
        derivatives at a point are those of a smooth frame near it, made orthonormal from fixed ambient components.

    Example:
        >>> plane = lambda x: torch.stack([x[0], x[1], 2 * x[0]])
        >>> normal_frame(plane, torch.zeros(2))[:, 0] * 5**0.5
        tensor([-2.,  0.,  1.])
    """
    return _local(map, x, ambient, Immersion.frame, chunk_size)


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

        return _local(map, x, ambient, derivative)

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

    return _local(map, x, ambient, curvature, chunk_size)
