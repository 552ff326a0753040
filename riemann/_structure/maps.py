"""Structure that is seen in what a metric is made of: pulled back by a map, the Hessian of a function."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from riemann._structure.blocks import Inner
from riemann._structure.combinations import Term, bilinear, by_numbers, constant, over_residues
from riemann._structure.field import Composed, Field, way
from riemann._structure.finding import Finding
from riemann._structure.look import Look
from riemann._structure.recording import Node
from riemann._structure.residues import PRIME, inverse, matmul, times
from riemann.metrics import Constant, Hessian, Pullback

_BY_MAP = "curvature from second derivatives of the map, by Gauss"


def pullback(look: Look, inner: Inner) -> Finding | None:
    r"""$J^T J$ or $J^T h J$ with J the derivatives of a field: $g(u, v) = \langle D_u f, D_v f \rangle$.

    And sums of such, each times a number, and of one and a constant matrix, which the coordinates themselves give.
    """
    if bool((look.uv == 0).any()):
        return None
    fields = [node for node in look.fields if bool((look.rows(node)[3] != 0).any())]
    maps = [node for node in fields if _could_be_a_map(look, node)]
    parts = [(partial(_flat, look, node), look.pulled(look.rows(node))) for node in fields]
    if (found := _of_parts(look, parts, False)) is not None:
        return found
    for node in maps:
        if (found := _with_ambient(look, node, inner)) is not None:
            return found
    images = list(_images(look, fields))
    return _of_parts(look, images, False) or _of_parts(look, parts, True) or _by_numbers(look, maps)


def _of_parts(look: Look, parts: list[tuple[Callable[[], torch.nn.Module], Tensor]], pairs: bool) -> Finding | None:
    """A sum of $J^T J$ of some maps, given with what they pull back."""
    if not parts:
        return None
    assembled = partial(_map_of_sum, look, [f for f, _ in parts])
    map = over_residues(look, torch.stack([form for _, form in parts]), assembled, pairs)
    return None if map is None else _of_map(look, map)


def _map_of_sum(look: Look, parts: list[Callable[[], torch.nn.Module]], terms: list[Term]) -> torch.nn.Module | None:
    """The map to the numbers of all terms; None where one would have to be imaginary."""
    maps: list[torch.nn.Module] = []
    for number, k in terms:
        if number < 0 and k < len(parts):
            return None
        if k < len(parts):
            maps.append(parts[k]() if number == 1 else Composed(parts[k](), partial(torch.mul, other=number**0.5)))
            continue
        matrix = constant(look, number, k - len(parts))
        if int(torch.linalg.cholesky_ex(matrix(look.points[-1]))[1]):
            return None
        maps.append(_Coordinates(matrix))
    return maps[0] if len(maps) == 1 else _Beside(maps)


def _of_map(look: Look, map: torch.nn.Module, said: str = "") -> Finding:
    with torch.no_grad():
        m = len(map(look.points[-1]))
    return Finding("Pullback", Pullback(map), f"J^T J of a map to {m} numbers{said}", _BY_MAP)


class _Coordinates(torch.nn.Module):
    r"""$R^T x$ with $R R^T$ a constant matrix."""

    def __init__(self, matrix: torch.nn.Module):
        super().__init__()
        self.matrix = matrix

    def forward(self, x: Tensor) -> Tensor:
        """`(n,)` at one point."""
        return torch.linalg.cholesky(self.matrix(x)).mT @ x


class _Beside(torch.nn.Module):
    """The numbers of several maps, one behind the other."""

    def __init__(self, maps: list[torch.nn.Module]):
        super().__init__()
        self.maps = torch.nn.ModuleList(maps)

    def forward(self, x: Tensor) -> Tensor:
        """At one point."""
        return torch.cat([map(x) for map in self.maps])


def _images(look: Look, fields: list[Node]) -> Iterator[tuple[Callable[[], torch.nn.Module], Tensor]]:
    """B f, B a constant matrix, which a Jacobian that is written by hand has passed by."""
    for node in fields:
        rows, shape = look.rows(node), look.recording.shape(node)
        for other, B in look.matrices.items() if len(shape) == 1 else ():
            for turned in (False, True):
                C = B.transpose(-1, -2) if turned else B
                if C.shape[-1] == shape[0]:
                    Du, Dv = (matmul(C, rows[k][..., None])[..., 0] for k in (1, 2))
                    image = partial(_image, look, node, other, turned)
                    yield image, torch.remainder(times(Du, Dv).sum(-1), PRIME)


def _image(look: Look, node: Node, matrix: Node, turned: bool) -> torch.nn.Module:
    return _Image(look.field(node), look.field(matrix), turned)


class _Image(torch.nn.Module):
    """A constant matrix times a field."""

    def __init__(self, field: torch.nn.Module, matrix: torch.nn.Module, turned: bool):
        super().__init__()
        self.field, self.matrix, self.turned = field, matrix, turned

    def forward(self, x: Tensor) -> Tensor:
        """`(m,)` at one point."""
        B = self.matrix(x)
        return (B.mT if self.turned else B) @ self.field(x)


def _by_numbers(look: Look, maps: list[Node]) -> Finding | None:
    """J^T J that the algebra of residues does not see: by values at the points, where no function has kinks."""
    if not look.is_smooth:
        return None
    nodes = [node for node in maps if len(look.recording.shape(node)) == 1]
    assembled = partial(_map_of_sum, look, [partial(_flat, look, node) for node in nodes])
    map = by_numbers(look, nodes, 1, lambda jet: jet[1].mT @ jet[1], assembled)
    return None if map is None else _of_map(look, map, f", to rounding at {len(look.points)} points")


def _could_be_a_map(look: Look, node: Node) -> bool:
    """Enough numbers: by itself a map to fewer gives no metric."""
    return look.rows(node)[0, 0].numel() >= look.n


def _flat(look: Look, node: Node) -> torch.nn.Module:
    field = look.field(node)
    return field if len(look.recording.shape(node)) == 1 else Composed(field, torch.flatten)


def _with_ambient(look: Look, node: Node, inner: Inner) -> Finding | None:
    """J^T h J: h constant, or a metric at the image of the point."""
    rows = look.rows(node)
    m = rows[0, 0].numel()
    if look.recording.shape(node) != (m,):
        return None
    for h, H in (look.matrices | {h: look.rows(h)[0] for h in look.of_shape(m, m)}).items():
        if H.shape[1:] != (m, m) or bool(((form := bilinear(look, H, rows)) == 0).any()):
            continue
        ratio = times(look.uv, inverse(form))
        number = look.number(ratio[:1]) if bool((ratio == ratio[0]).all()) else None
        ambient = None if number is None else _ambient(look, node, h, m, inner)
        if ambient is not None and _is_regular(look, node, ambient):
            what = "a constant matrix" if isinstance(ambient, Constant) else "a metric at the image"
            why = f"J^T h J of a map to {m} numbers, h {what}"
            return Finding("Pullback", Pullback(look.field(node), _multiple(ambient, number)), why, _BY_MAP)
    return None


def _multiple(ambient: Any, number: float | None) -> Any:
    if number == 1:
        return ambient
    if type(ambient) is Constant:
        return Constant(number * ambient.matrix)
    return Composed(ambient, partial(torch.mul, other=number))


def _is_regular(look: Look, node: Node, ambient: Any) -> bool:
    """Whether an ambient metric is one at the images of the points: also a singular matrix may give the metric."""
    with torch.no_grad():
        images = [look.field(node)(p) for p in look.points]
        return all(int(torch.linalg.matrix_rank(ambient(y))) == len(y) for y in images)


def _ambient(look: Look, node: Node, h: Node, m: int, inner: Inner) -> Any:
    reads = look.recording.reads[h]
    if look.recording.point not in reads:
        if reads:
            return look.live(h, m)
        matrix = h.meta["val"].clone()
        even = 0.5 * (matrix + matrix.mT)  # what the metric is to rounding, or it is none
        return Constant(even) if torch.allclose(matrix, even, 1e-12, 1e-12 * float(even.abs().amax())) else None
    alike = next(nodes for nodes in look.alike.values() if nodes[0] is node)
    start = next((a for a in alike if way(look.recording, h, a) is not None), None)
    if start is None:
        return None
    ambient = Field(look.recording, h, start, shape=(m, m))
    images = torch.stack([look.field(node)(p) for p in look.points]).detach()
    return inner(ambient, images) or ambient


def hessian(look: Look, inner: Inner) -> Finding | None:
    r"""Second derivatives of a function, $g(u, v) = D_u D_v P$; of two, or of one and a square, each times a number."""
    nodes = [node for node in look.fields if look.rows(node)[0, 0].numel() == 1]
    if not nodes:
        return None
    assembled, potential = partial(_sum_of_potentials, look, nodes), None
    if bool((look.uv != 0).all()):
        potential = over_residues(look, torch.stack([look.rows(k)[3].reshape(-1) for k in nodes]), assembled)
    said = "" if potential is not None else f", to rounding at {len(look.points)} points"
    if potential is None and look.is_smooth:
        potential = by_numbers(look, nodes, 2, lambda jet: jet[2], assembled)
    if potential is None:
        return None
    why = f"second derivatives of one function{said}"
    return Finding("Hessian", Hessian(potential), why, "curvature from its third derivatives")


def _sum_of_potentials(look: Look, nodes: list[Node], terms: list[Term]) -> torch.nn.Module:
    of_constants = [constant(look, number, k - len(nodes)) for number, k in terms if k >= len(nodes)]
    potentials = [(number, look.field(nodes[k])) for number, k in terms if k < len(nodes)]
    return _Potential(potentials, of_constants)


class _Potential(torch.nn.Module):
    r"""A sum of functions, each times a number, and of $\tfrac12 x^T M x$, M a constant matrix."""

    def __init__(self, potentials: list[tuple[float, torch.nn.Module]], constants: list[torch.nn.Module]):
        super().__init__()
        self.numbers = [number for number, _ in potentials]
        self.potentials = torch.nn.ModuleList(field for _, field in potentials)
        self.constants = torch.nn.ModuleList(constants)

    def forward(self, x: Tensor) -> Tensor:
        """`()` at one point."""
        terms = [f(x).reshape(()) for f in self.potentials]
        terms = [f if c == 1 else c * f for c, f in zip(self.numbers, terms, strict=True)]
        return sum([0.5 * (x @ (M(x) @ x)) for M in self.constants], start=sum(terms[1:], start=terms[0]))
