r"""Differential forms: d, wedge, interior product, Hodge star and codifferential, in the determinant convention.

A form of degree k is its full array of components, `(n,) * k`, antisymmetric: $w = \tfrac{1}{k!} w_{i_1 \dots i_k}
dx^{i_1} \wedge \dots \wedge dx^{i_k}$. Inside, only the components with $i_1 < \dots < i_k$ are computed, so that what
comes out is antisymmetric to the last bit.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from riemann import formulas
from riemann._calculus.fields import as_field, tensor_jet
from riemann._metric import metric_jet
from riemann._points.checks import check_count, has_values
from riemann._points.faults import first
from riemann._types import Field, Metric

_ANTISYMMETRY = {torch.float64: 1e-6}  # against the largest component; a coarser 1e-3 for lower precision

# ------------------------------------------------------------------------------------------- independent components


@functools.cache
def _increasing(n: int, k: int) -> tuple[tuple[int, ...], ...]:
    return tuple(itertools.combinations(range(n), k))


def _sign(permutation: tuple[int, ...]) -> int:
    return (-1) ** sum(a > b for a, b in itertools.combinations(permutation, 2))


@functools.cache
def _full(n: int, k: int) -> np.ndarray:
    """For each entry of the full array the number of its component and its sign; one past the last for a zero."""
    number = {I: c for c, I in enumerate(_increasing(n, k))}
    entries = [
        (number[tuple(sorted(I))], _sign(I)) if len(set(I)) == k else (len(number), 1)
        for I in itertools.product(range(n), repeat=k)
    ]
    return np.array(entries).T


@functools.cache
def _places(n: int, k: int) -> np.ndarray:
    """Where the components stand in the flattened full array."""
    places = [sum(i * n ** (k - 1 - m) for m, i in enumerate(I)) for I in _increasing(n, k)]
    return np.array(places, dtype=int)


@functools.cache
def _shuffles(n: int, p: int, q: int) -> np.ndarray:
    """For each component of a product of degrees p, q the pairs of components in it, `[component, pair]`, and sign."""
    number = [{I: c for c, I in enumerate(_increasing(n, k))} for k in (p, q)]
    rows = []
    for K in _increasing(n, p + q):
        splits = [(I, tuple(i for i in K if i not in I)) for I in itertools.combinations(K, p)]
        rows.append([(number[0][I], number[1][J], _sign(I + J)) for I, J in splits])
    return np.moveaxis(np.array(rows, dtype=int).reshape(-1, math.comb(p + q, p), 3), -1, 0)


def _table(table: np.ndarray, like: Tensor) -> Tensor:
    """An index table as a tensor. What is kept are arrays: a tensor made inside a transform dies with it."""
    return torch.from_numpy(table).to(like.device)


def _components(w: Tensor, n: int, k: int) -> Tensor:
    """The independent components of a form, `(*batch, components)`."""
    return w.reshape((*w.shape[: w.ndim - k], n**k))[..., _table(_places(n, k), w)]


def _form(components: Tensor, n: int, k: int) -> Tensor:
    """The full array of a form."""
    where, sign = _table(_full(n, k), components)
    padded = torch.cat((components, torch.zeros_like(components[..., :1].sum(-1, keepdim=True))), -1)
    return (padded[..., where] * sign.to(components.dtype)).reshape((*components.shape[:-1], *[n] * k))


def _product(a: Tensor, p: int, b: Tensor, q: int, n: int) -> Tensor:
    r"""Components of $a \wedge b$ from those of a and b."""
    first, second, sign = _table(_shuffles(n, p, q), a)
    return (a[..., first] * b[..., second] * sign.to(a.dtype)).sum(-1)


# ---------------------------------------------------------------------------------------------------- fields of forms


def form_field(compute: Callable[[Tensor], Tensor], *forms: tuple[Field, int, str], of: Sequence[Field] = ()) -> Field:
    """`compute` as a field made of forms, each with degree and name, that are looked at where they have values.

    `of` are the other functions that it is computed from.
    """

    @as_field(3, *of, *(form for form, _, _ in forms))
    def at(x: Tensor) -> Tensor:
        if has_values(x):
            _look(at, x)
        return compute(x)

    at.forms = forms  # type: ignore[attr-defined]
    return at


def _look(form: Field, x: Tensor) -> None:
    """Raises unless the forms that a field is made of are antisymmetric at the points."""
    for w, degree, name in form.forms:  # type: ignore[attr-defined]
        if hasattr(w, "forms"):  # antisymmetric, if what it is made of is
            _look(w, x)
        else:
            _check_antisymmetric(tensor_jet(w, x, degree, 0, name)[0], x, degree, name)


def _check_antisymmetric(w: Tensor, x: Tensor, degree: int, name: str) -> None:
    if degree < 2 or not has_values(w) or w.numel() == 0:
        return
    swaps = [w + w.transpose(k, k + 1) for k in range(x.ndim - 1, x.ndim + degree - 2)]
    defect = torch.stack(swaps).detach().abs().amax(0).flatten(x.ndim - 1).amax(-1)
    bad = defect > _ANTISYMMETRY.get(w.dtype, 1e-3) * w.detach().abs().max()
    if bool(bad.any()):
        where = first(bad)
        raise ValueError(
            f"`{name}` is not antisymmetric at x = {x[where].tolist()}: exchanging two indices does more than change "
            f"its sign, by {float(defect[where]):.3g}; a form of degree {degree} is an antisymmetric array "
            f"({', '.join('n' * degree)}), as `wedge` and `exterior_derivative` return it"
        )


def exterior_derivative(w: Field, degree: int) -> Field:
    r"""Exterior derivative of a form of any degree.

    $(dw)_{i_0 \dots i_k} = \sum_m (-1)^m \partial_{i_m} w_{i_0 \dots \widehat{i_m} \dots i_k}$.

    Args:
        w: form, one point `(n,)` to an antisymmetric array `(n,) * degree`; a scalar for degree 0.
        degree: of w.

    Returns:
        Form of degree `degree + 1`: points `(*batch, n)` to `(*batch, n, …, n)`; 0 for a form of degree n or more.

    Raises:
        ValueError: `degree` is not a whole number; when the field is called, if w is not such a form.

    Reference:
        Lee, *Introduction to Smooth Manifolds* (2013), eq. 14.19.

    Example:
        >>> w = lambda x: torch.stack([-x[1], x[0]])
        >>> exterior_derivative(w, 1)(torch.tensor([0.3, 0.7]))
        tensor([[ 0.,  2.],
                [-2.,  0.]])
    """
    check_count("degree", degree, 0)

    def dw(x: Tensor) -> Tensor:
        n = x.shape[-1]
        derivatives = tensor_jet(w, x, degree, 1, "w")[1].movedim(-1, x.ndim - 1)
        lower = _components(derivatives, n, degree)
        partial, form, sign = _table(_shuffles(n, 1, degree), x)
        return _form((lower[..., partial, form] * sign.to(x.dtype)).sum(-1), n, degree + 1)

    return form_field(dw, (w, degree, "w"))


def wedge(a: Field, p: int, b: Field, q: int) -> Field:
    r"""Wedge product of two forms in the determinant convention: $(dx \wedge dy)(u, v) = u^x v^y - u^y v^x$.

    $(a \wedge b)_{i_1 \dots i_{p+q}} = \tfrac{(p+q)!}{p!\,q!} a_{[i_1 \dots i_p} b_{i_{p+1} \dots i_{p+q}]}$.

    Args:
        a: form of degree p, one point `(n,)` to an antisymmetric array `(n,) * p`.
        p: its degree.
        b: form of degree q.
        q: its degree.

    Returns:
        Form of degree `p + q`: points `(*batch, n)` to `(*batch, n, …, n)`; 0 for `p + q` more than n.

    Raises:
        ValueError: a degree is not a whole number; when the field is called, if a or b is not such a form.

    Reference:
        Lee, *Introduction to Smooth Manifolds* (2013), eq. 14.3.

    Example:
        >>> dx, dy = lambda x: torch.tensor([1.0, 0.0]), lambda x: torch.tensor([0.0, 1.0])
        >>> wedge(dx, 1, dy, 1)(torch.tensor([0.3, 0.7]))
        tensor([[ 0.,  1.],
                [-1.,  0.]])
    """
    check_count("p", p, 0)
    check_count("q", q, 0)

    def product(x: Tensor) -> Tensor:
        n = x.shape[-1]
        left, right = (_components(tensor_jet(w, x, k, 0, m)[0], n, k) for w, k, m in ((a, p, "a"), (b, q, "b")))
        return _form(_product(left, p, right, q, n), n, p + q)

    return form_field(product, (a, p, "a"), (b, q, "b"))


def interior_product(X: Field, w: Field, degree: int) -> Field:
    r"""Interior product of a vector field and a form, $(i_X w)_{i_2 \dots i_k} = X^j w_{j i_2 \dots i_k}$.

    Args:
        X: vector field, one point `(n,)` to contravariant components `(n,)`.
        w: form, one point `(n,)` to an antisymmetric array `(n,) * degree`.
        degree: of w, 1 or more.

    Returns:
        Form of degree `degree - 1`: points `(*batch, n)` to `(*batch, n, …, n)`.

    Raises:
        ValueError: `degree` is not a whole number from 1; when the field is called, if w is not such a form.

    Reference:
        Lee, *Introduction to Smooth Manifolds* (2013), chapter 14.

    Example:
        >>> area = lambda x: torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
        >>> interior_product(lambda x: x, area, 2)(torch.tensor([2.0, 3.0]))
        tensor([-3.,  2.])
    """
    check_count("degree", degree, 1)

    def product(x: Tensor) -> Tensor:
        n = x.shape[-1]
        (vector,), (form,) = tensor_jet(X, x, 1, 0, "X"), tensor_jet(w, x, degree, 0, "w")
        flat = form.reshape((*x.shape[:-1], n, n ** (degree - 1)))
        contracted = torch.einsum("...j,...jI->...I", vector, flat).reshape((*x.shape[:-1], *[n] * (degree - 1)))
        return _form(_components(contracted, n, degree - 1), n, degree - 1)

    return form_field(product, (w, degree, "w"))


def hodge_star(metric: Metric, w: Field, degree: int) -> Field:
    r"""Hodge star of a form, with $a \wedge {*b} = \langle a, b \rangle\, \mathrm{vol}$.

    $(*w)_{j_1 \dots j_{n-k}} = \tfrac{1}{k!} w^{i_1 \dots i_k} \varepsilon_{i_1 \dots i_k j_1 \dots j_{n-k}}$ with
    $\varepsilon_{1 \dots n} = \sqrt{|\det g|}$: the order of the coordinates is the orientation. $\langle a, b \rangle
    = \tfrac{1}{k!} a_{i_1 \dots i_k} b^{i_1 \dots i_k}$, so $** = (-1)^{k(n-k)+s}$ for s minus signs in the signature.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        w: form, one point `(n,)` to an antisymmetric array `(n,) * degree`.
        degree: of w, at most n.

    Returns:
        Form of degree `n - degree`: points `(*batch, n)` to `(*batch, n, …, n)`.

    Raises:
        ValueError: `degree` is not a whole number; when the field is called, if it is more than n, or
            w is not such a form.

    Reference:
        Nakahara, *Geometry, Topology and Physics* (2003), section 7.9.

    Example:
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> hodge_star(half_plane, lambda x: torch.ones(()), 0)(torch.tensor([0.0, 2.0]))
        tensor([[ 0.0000,  0.2500],
                [-0.2500,  0.0000]])
    """
    check_count("degree", degree, 0)

    def star(x: Tensor) -> Tensor:
        n = x.shape[-1]
        if degree > n:
            raise ValueError(f"`degree` is {degree}, and a point of x has {n} coordinates: there is no Hodge star")
        (g,) = metric_jet(metric, x, 0)
        (form,) = tensor_jet(w, x, degree, 0, "w")
        raised = _components(formulas.change_indices(g, form, "l" * degree, "u" * degree), n, degree)
        given, dual, sign = _table(_shuffles(n, degree, n - degree)[:, 0], x)
        order = dual.argsort()
        components = raised[..., given[order]] * sign[order].to(x.dtype) * formulas.volume_element(g)[..., None]
        return _form(components, n, n - degree)

    return form_field(star, (w, degree, "w"), of=(metric,))


def codifferential(metric: Metric, w: Field, degree: int) -> Field:
    r"""Codifferential of a form, the formal adjoint of d: $(\delta w)_{i_2 \dots i_k} = -\nabla^j w_{j i_2 \dots i_k}$.

    $\delta = (-1)^{n(k+1)+1+s} {*d*}$ for s minus signs in the signature; on 1-forms, minus the divergence.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        w: form, one point `(n,)` to an antisymmetric array `(n,) * degree`.
        degree: of w, 1 or more.

    Returns:
        Form of degree `degree - 1`: points `(*batch, n)` to `(*batch, n, …, n)`.

    Raises:
        ValueError: `degree` is not a whole number from 1; when the field is called, if w is not such a form.

    Reference:
        Nakahara, *Geometry, Topology and Physics* (2003), eq. 7.185, in any signature.

    Example:
        >>> codifferential(lambda x: torch.eye(2), lambda x: x, 1)(torch.tensor([1.0, 2.0]))
        tensor(-2.)
    """
    check_count("degree", degree, 1)

    def delta(x: Tensor) -> Tensor:
        n = x.shape[-1]
        g, dg = metric_jet(metric, x, 1)
        form, dw = tensor_jet(w, x, degree, 1, "w")
        nabla = formulas.covariant_derivative(formulas.christoffel(g, dg), form, dw, "l" * degree)
        flat = nabla.reshape((*x.shape[:-1], n, n ** (degree - 1), n))
        divergence = torch.einsum("...jl,...jIl->...I", formulas.inverse_metric(g), flat)
        components = _components(divergence.reshape((*x.shape[:-1], *[n] * (degree - 1))), n, degree - 1)
        return _form(-components, n, degree - 1)

    return form_field(delta, (w, degree, "w"), of=(metric,))
