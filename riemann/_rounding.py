r"""How many digits of the curvature are left: a bound of the rounding error, and what is said where it is large.

A sum of terms t is off by $\epsilon \sum |t|$, times a small factor. Near a pole, or wherever coordinates are nearly
singular, the terms are far larger than the curvature and cancel. What cancels before, in the metric's own code, is not
seen here.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from riemann import formulas
from riemann._arithmetic import orders
from riemann._indices import bilinear, contract_axis
from riemann._points.checks import has_values
from riemann._points.faults import Faults, Note, say
from riemann._terms import christoffel_terms, inverse_terms, ricci_product_terms, riemann_terms

UNITS = 4  # of the last bit, with which each term of a sum is taken to be computed
DIGITS = 3  # as many digits are enough
FLOOR = {torch.float64: 1e-6}  # an error of the curvature that is never said, absolute; 1e-2 for lower precision


_CHOSEN: ContextVar[float | None] = ContextVar("floor", default=None)


@contextlib.contextmanager
def rounding_floor(error: float) -> Iterator[None]:
    """Inside, the warning that rounding leaves few digits comes only where it is larger than `error`.

    Args:
        error: of components of the Riemann tensor in an orthonormal frame, absolute; 1e-6 in float64 and 1e-2 in
            float32 if nothing is said.

    Raises:
        ValueError: `error` is negative.

    Example:
        >>> import riemann as rm
        >>> with rounding_floor(1e-3):
        ...     S = rm.scalar_curvature(rm.spaces.sphere(), torch.tensor([1e-4, 0.5], dtype=torch.float64))
    """
    if not error >= 0:
        raise ValueError(f"`error` is {error!r}, expected a number, 0 or more")
    token = _CHOSEN.set(float(error))
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def floor_of(dtype: torch.dtype) -> float:
    """The absolute error of orthonormal components of the curvature that is never said."""
    chosen = _CHOSEN.get()
    return FLOOR.get(dtype, 1e-2) if chosen is None else chosen


def note(error: Tensor, value: Tensor, of: str = "curvature") -> Faults:
    """The points `(*batch,)` where a bound of the error is above the floor and leaves fewer than `DIGITS` digits."""
    few = error > (value * 10.0**-DIGITS).clamp(min=floor_of(error.dtype))
    if not bool(few.any()):
        return {}
    digits = torch.where(few, (value / error).log10().nan_to_num(0.0, 0.0, 0.0).clamp(0, DIGITS - 1).floor(), -1)
    return {_sentence(int(d), of): digits == d for d in digits[few].unique().tolist()}


def _sentence(digits: int, of: str) -> Note:
    left = f"about {digits} digits" if digits != 1 else "about 1 digit"
    return Note(
        f"rounding leaves {left} of the {of} (its terms are far larger and cancel: the coordinates of `metric` "
        "are nearly singular, other coordinates keep more digits)"
    )


def say_few(error: Tensor, value: Tensor) -> None:
    """Says `note` of a bound and of sizes that a route has at hand, `(*batch,)` or with axes before."""
    if has_values(error) and has_values(value) and error.numel():
        say(note(error.detach(), value.detach()))


def judged_forms(forms: Tensor) -> Tensor:
    """The values of `directional.curvature_form_by`, `(…, 3)`; a note where few of their digits are left."""
    value, terms, area = forms.unbind(-1)
    if has_values(forms):
        value_of_plane, terms_of_plane = (y.detach() / area.detach() for y in (value.abs(), terms))
        say_few(last_bits(terms_of_plane), value_of_plane)
    return value


def judged_images(images: Tensor, g: Tensor, *vectors: Tensor) -> Tensor:
    """The values of `(…, 2, *s)`, of scalars or of vectors, with their terms: per unit length of all the vectors."""
    rank = images.ndim - g.ndim + 1  # 0 of scalars
    value, terms = images.unbind(-1 - rank)
    if has_values(images):
        g = g.detach()
        lengths = [bilinear(g.abs(), v.abs(), v.abs()).sqrt() for v in vectors]
        sizes = [y.detach().abs() for y in (value, terms)]
        if rank:
            sizes = [(y / units(g)).amax(-1) for y in sizes]
        value_of_units, terms_of_units = (y / torch.stack(lengths).prod(0) for y in sizes)
        say_few(last_bits(terms_of_units), value_of_units)
    return value


def last_bits(terms: Tensor) -> Tensor:
    """The error of a sum, from the sum of absolute values."""
    return UNITS * torch.finfo(terms.dtype).eps * terms


def units(g: Tensor) -> Tensor:
    """1 over the lengths of coordinate vectors, `(*batch, n)`: what makes the diagonal of g 1; null ones by the row."""
    d = g.diagonal(dim1=-2, dim2=-1).abs()
    return torch.where(d > 0, d, g.abs().amax(-1)).rsqrt()


SHAKES = 8  # times that jets are moved by rounding, to see what moves with them


def shaken(formula: Callable[..., Tensor], x: Tensor, jets: Sequence[Tensor]) -> Tensor:
    r"""How far rounding of points and of jets moves what a formula makes of them, component by component.

    Found by moving them by a few last bits. An entry of the jets rounds as the largest of its order of the same
    function $g_{ij}$ does, in lengths: at an equator, slopes across it are 0 but for that.
    """
    x, jets = x.detach(), [T.detach() for T in jets]
    bits, generator = 4 * UNITS * torch.finfo(x.dtype).eps, torch.Generator().manual_seed(0)
    noises = [bits * _of_same_function(T, units(jets[0]), order) for order, T in enumerate(jets)]
    value = formula(*jets)
    most = torch.zeros_like(value)
    for _ in range(SHAKES):
        shift, *phases = (2 * math.pi * torch.rand(3, x.shape[-1], generator=generator, dtype=torch.float64)).to(x)
        dx, moved = bits * x * shift.cos(), []
        for order, (T, noise) in enumerate(zip(jets, noises, strict=True)):
            moved.append(T + noise * _symmetric(*phases, order).cos())
            if order + 1 < len(jets):
                moved[-1] += (jets[order + 1].flatten(x.ndim - 1, -2) @ dx.unsqueeze(-1)).reshape(T.shape)
        most = torch.maximum(most, (formula(*moved) - value).abs())
    return most


def _of_same_function(T: Tensor, r: Tensor, order: int) -> Tensor:
    """The largest |derivative| of the same $g_{ij}$, `(*batch, n, n, …)`, in the units r of each coordinate."""
    unit = r.new_ones(*r.shape[:-1], 1, 1)
    for _ in range(order):
        unit = unit.unsqueeze(-1) * r.reshape(*r.shape[:-1], *[1] * (unit.ndim - r.ndim + 1), r.shape[-1])
    derivatives = tuple(range(T.ndim - order, T.ndim))
    return ((T.abs() * unit).amax(derivatives, keepdim=True) if order else T.abs()) / unit


def _symmetric(of_metric: Tensor, of_derivatives: Tensor, order: int) -> Tensor:
    """An array with the symmetries of derivatives of g, `(n, n, …)`: sums of a number for each of its indices."""
    total = of_metric.unsqueeze(-1) + of_metric
    for _ in range(order):
        total = total.unsqueeze(-1) + of_derivatives
    return total


class Sizes(NamedTuple):
    """Of jets at all points together, numbers: what norms say of rounding costs a call no more.

    Attributes:
        least: the smallest |g_ii|.
        most: the largest.
        inverse: the largest |g^ij|.
        norms: of each array of derivatives, all points and components; finite only if all of them are.
    """

    least: float
    most: float
    inverse: float
    norms: tuple[float, ...]

    @classmethod
    def of(cls, g: Tensor, inverse: Tensor, *derivatives: Tensor) -> "Sizes":
        """Those of jets without gradients."""
        if not (derivatives and g.numel()):
            return cls(1.0, 0.0, 0.0, (0.0,) * len(derivatives))
        ends = torch.aminmax(g.diagonal(dim1=-2, dim2=-1).abs())
        numbers = [*ends, *torch.aminmax(inverse.mT), *torch._foreach_norm(derivatives)]  # LAPACK's order of an inverse
        least, most, low, high, *sizes = torch.stack(numbers).tolist()
        return cls(least, most, max(-low, high), tuple(sizes))

    def steady(self, x: Tensor) -> bool:
        """Whether the last bits of the points change the determinant of g nowhere by a thousandth of itself."""
        if not x.numel():
            return True
        far = float(x.detach().abs().max())
        return x.shape[-1] ** 2 * self.inverse * self.norms[0] * far * torch.finfo(x.dtype).eps < 1e-3

    def certain(self, dtype: torch.dtype) -> bool:
        """Whether the error of what is made of products of the derivatives and the inverse is below the floor.

        Of the connection with first derivatives, of curvature with second ones, in units of the shortest coordinate
        vector.
        """
        if not self.least > 0:
            return False
        floor, eps = floor_of(dtype), torch.finfo(dtype).eps
        h, unit = self.inverse * self.most, 1 / self.least
        first, *second = self.norms or (0.0,)
        if not second:
            return UNITS * eps * h * h * h * first * math.sqrt(unit) * unit <= floor
        return UNITS * eps * h * h * (second[0] + h * first * first * unit) * unit * unit <= floor


def few_digits(jets: Sequence[Tensor], inverse: Tensor, good: Tensor) -> Faults:
    """The note on `good` points of jets without gradients: of curvature, or of the connection of first derivatives.

    By norms, and term by term where these say too little; for who found by `Sizes` that it is not certain.
    """
    g, dg, *higher = jets[:3]
    floor, connection = floor_of(g.dtype), not higher
    if (g.shape[-1] == 1 and not connection) or _of_all_points(g, inverse, dg, *higher) <= floor:
        return {}
    r = units(g)
    bound = _of_connection(dg, inverse, r) if connection else _by_norms(g, dg, higher[0], inverse, r)
    suspect = good & ~(bound <= floor)
    if not bool(suspect.any()):
        return {}
    here = (y[suspect] for y in (g, dg, *higher, inverse, r))
    error, value = (torch.zeros_like(r[..., 0]) for _ in range(2))
    error[suspect], value[suspect] = (_connection_by_terms if connection else _term_by_term)(*here)
    return note(error, value, "Christoffel symbols" if connection else "curvature")


def _of_all_points(g: Tensor, inverse: Tensor, *derivatives: Tensor) -> float:
    """One bound for all points, each coordinate in the unit of where it is the shortest: in one look at each array."""
    points = tuple(range(g.ndim - 2))
    if not points or not g.numel():
        return math.inf
    d = g.diagonal(dim1=-2, dim2=-1).abs()
    one, length = d.amin(points).reciprocal(), d.sqrt()
    two = torch.outer(one, one).flatten()
    numbers = [*torch.aminmax(inverse.mT * (length.unsqueeze(-1) * length.unsqueeze(-2)))]
    for y, scale in zip(derivatives, (one, two), strict=False):
        square = torch.linalg.vector_norm(y, dim=points).square()
        numbers.append(two @ square.reshape(len(two), -1) @ scale)
    low, high, first, *second = torch.stack(numbers).tolist()
    h, eps = max(-low, high), UNITS * torch.finfo(g.dtype).eps
    return eps * h * h * (math.sqrt(second[0]) + h * first) if second else eps * h * h * h * math.sqrt(first)


def certain_digits(each: Tensor) -> Tensor:
    """Where norms already tell that enough digits of the curvature are left, `(*batch,)`; nothing is looked at.

    Args:
        each: a metric and each of its first and second derivatives once, or of more, `(count, *batch, n, n)`.
    """
    g = each[0]
    if g.shape[-1] == 1:
        return g[..., 0, 0].isfinite()
    r, tables = units(g), orders(g.shape[-1], 2, g.device)
    square = (each[: tables.counts[-1]] * (r.unsqueeze(-1) * r.unsqueeze(-2))).square().sum((-2, -1))
    along = r.square().movedim(-1, 0)
    i, j = tables.pairs
    twice = 1 + (i != j).to(r).view(-1, *[1] * (r.ndim - 1))
    first = (tables.block(square, 1) * along).sum(0)
    second = (tables.block(square, 2) * twice * along.index_select(0, i - 1) * along.index_select(0, j - 1)).sum(0)
    return _of_norms(first, second.sqrt(), formulas.inverse_metric(g), r) <= floor_of(g.dtype)


def _by_norms(g: Tensor, dg: Tensor, ddg: Tensor, inverse: Tensor, r: Tensor) -> Tensor:
    """A bound of the error of Riemann at each point, each coordinate in its own unit."""
    first = _scaled_square(dg, r)
    square = (r.unsqueeze(-1) * r.unsqueeze(-2)).square().flatten(-2).unsqueeze(-2)
    second = square @ ddg.square().flatten(-4, -3).flatten(-2) @ square.mT
    return _of_norms(first, second[..., 0, 0].sqrt(), inverse, r)


def _scaled_square(dg: Tensor, r: Tensor) -> Tensor:
    """The sum of squares of arrays of rank 3, each coordinate in its own unit."""
    square = (r.unsqueeze(-1) * r.unsqueeze(-2)).square().flatten(-2).unsqueeze(-2)
    return (square @ dg.square().flatten(-3, -2) @ r.square().unsqueeze(-1))[..., 0, 0]


def _of_connection(dg: Tensor, inverse: Tensor, r: Tensor) -> Tensor:
    """A bound of the error of the connection at each point, each coordinate in its own unit."""
    return last_bits(_scaled_inverse(inverse, r) ** 3 * _scaled_square(dg, r).sqrt())


def _connection_by_terms(g: Tensor, dg: Tensor, inverse: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """A bound of the error of the connection, and its size, both in an orthonormal frame, `(points,)`."""
    frame = _frame(g, r)
    error, value = christoffel_terms(inverse_terms(g, inverse), dg), formulas.christoffel(g, dg, kind=1)
    error, value = contract_axis(error, (frame @ g).abs(), 0, 3), contract_axis(value, frame, 0, 3)
    for axis in (1, 2):
        error, value = contract_axis(error, frame.abs(), axis, 3), contract_axis(value, frame, axis, 3)
    return last_bits(error.flatten(1).amax(-1)), value.flatten(1).abs().amax(-1)


def _frame(g: Tensor, r: Tensor) -> Tensor:
    """Vectors `[..., a, i]` that are orthonormal, up to sign."""
    w, V = torch.linalg.eigh(g * r.unsqueeze(-1) * r.unsqueeze(-2))
    return (V * w.abs().rsqrt().unsqueeze(-2)).mT * r.unsqueeze(-2)


def _scaled_inverse(inverse: Tensor, r: Tensor) -> Tensor:
    """The largest entry of the inverse of g, each coordinate in its own unit."""
    return (inverse / (r.unsqueeze(-1) * r.unsqueeze(-2))).abs().amax((-1, -2))


def _of_norms(first: Tensor, second: Tensor | float, inverse: Tensor, r: Tensor) -> Tensor:
    h = _scaled_inverse(inverse, r)
    return last_bits(h.square() * (second + h * first))


def _term_by_term(g: Tensor, dg: Tensor, ddg: Tensor, inverse: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """A bound of the error of Riemann, and its size, both in an orthonormal frame, `(points,)`."""
    terms = riemann_terms(inverse_terms(g, inverse), dg, ddg)
    return _in_a_frame(g, r, formulas.riemann_tensor(g, dg, ddg, "llll"), terms)


def _in_a_frame(g: Tensor, r: Tensor, riemann: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
    """The largest error and component, from those in coordinates and from their terms."""
    frame = _frame(g, r)
    distinct = ~torch.eye(g.shape[-1], dtype=torch.bool, device=g.device)  # R_aacd = 0, whatever its terms
    terms = terms * (distinct[:, :, None, None] & distinct)
    for axis in range(4):
        riemann, terms = contract_axis(riemann, frame, axis, 4), contract_axis(terms, frame.abs(), axis, 4)
    return last_bits(terms.flatten(1).amax(-1)), riemann.flatten(1).abs().amax(-1)


def say_few_of_nabla(g: Tensor, gamma: Tensor, T: Tensor, dT: Tensor, nabla: Tensor, indices: str) -> None:
    r"""Says where $\partial T$ and products of $\Gamma$, or its trace, and T add up to a result of few digits.

    Each coordinate is taken in its own unit. What is below the floor is not said, times the size of T if that is large.
    """
    if not indices or not g.numel() or not all(map(has_values, (g, gamma, T, dT, nabla))):
        return
    g, gamma, T, dT, nabla = (y.detach() for y in (g, gamma, T, dT, nabla))
    rank = gamma.ndim - g.ndim + 2  # 1 of the trace
    arrays = (gamma, "ull"[-rank:]), (T, indices), (dT, indices + "l")
    ends = torch.aminmax(g.diagonal(dim1=-2, dim2=-1).abs())
    least, most, *norms = torch.stack([*ends, *torch._foreach_norm([y for y, _ in arrays])]).tolist()
    unit = {"l": 1 / math.sqrt(least) if least > 0 else math.inf, "u": math.sqrt(most)}
    G, t, d = (norm * math.prod(unit[p] for p in places) for norm, (_, places) in zip(norms, arrays, strict=True))
    if last_bits(g.new_tensor(d + len(indices) * G * t)) <= floor_of(g.dtype):  # as it is nearly always
        return
    r = units(g)
    G, size, d = (_in_units(y, r, places) for y, places in arrays)
    terms = d + len(indices) * g.shape[-1] * G * size
    value = _in_units(nabla, r, indices + "l" if nabla.ndim > r.ndim - 1 else "")
    scale = size.clamp(min=1.0)
    say(note((last_bits(terms) / scale).nan_to_num(0.0), value / scale, "covariant derivative"))


def _in_units(y: Tensor, r: Tensor, indices: str) -> Tensor:
    """The largest component of a tensor at each point, each coordinate in its own unit."""
    batch = r.shape[:-1]
    for axis, position in enumerate(indices):
        shape = [-1 if k == axis else 1 for k in range(len(indices))]
        y = y * (r if position == "l" else 1 / r).reshape(*batch, *shape)
    return y.abs().reshape(*batch, -1).amax(-1)


def say_few_of_products(g: Tensor, dg: Tensor, inverse: Tensor) -> None:
    """Says where Riemann, of products of first derivatives of g alone (Hessian metrics), keeps few digits."""
    if not has_values(g) or g.shape[-1] == 1 or not g.numel():
        return
    g, dg, inverse = (y.detach() for y in (g, dg, inverse))
    sizes = Sizes.of(g, inverse, dg)
    if sizes._replace(norms=(*sizes.norms, 0.0)).certain(g.dtype):
        return
    r = units(g)
    high = ~(_of_norms(_scaled_square(dg, r), 0.0, inverse, r) <= floor_of(g.dtype))
    high = high & dg.isfinite().flatten(-3).all(-1) & inverse.isfinite().flatten(-2).all(-1)
    if not bool(high.any()):
        return
    here, gamma, inverse = g[high], dg[high] / 2, inverse[high]
    products = torch.einsum("zef,zebc,zfad->zabcd", inverse, gamma, gamma)
    sizes = torch.einsum("zef,zebc,zfad->zabcd", inverse_terms(here, inverse), gamma.abs(), gamma.abs())
    error, value = (torch.zeros_like(r[..., 0]) for _ in range(2))
    error[high], value[high] = _in_a_frame(here, r[high], products - products.mT, sizes + sizes.mT)
    say(note(error, value))


def few_digits_of_ricci(g: Tensor, dg: Tensor, inverse: Tensor, ricci: Tensor, good: Tensor) -> Faults:
    """The note where Ricci comes without second derivatives of g: by the other half of its terms."""
    r = units(g)
    rr = r.unsqueeze(-1) * r.unsqueeze(-2)
    terms = ricci_product_terms(inverse_terms(g, inverse), dg)
    error, value = ((rr * y).abs().amax((-1, -2)) for y in (last_bits(terms), ricci))
    return note(torch.where(good, error, 0.0), value)
