"""Structure that is seen in the entries: constant, conformal, warped, product, diagonal, and idle coordinates."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from riemann._structure.arrays import Residues
from riemann._structure.field import Composed, Entries
from riemann._structure.finding import Finding
from riemann._structure.look import Look
from riemann._structure.recording import Node
from riemann._structure.residues import inverse, matmul, times
from riemann.metrics import Conformal, Constant, Diagonal, Product, Warped

Inner = Callable[[Any, Tensor], Any]
"""The structured metric of a part, from the part and points of it."""


def _half_log(y: Tensor, entry: tuple[int, ...] = (), power: int = 1) -> Tensor:
    return 0.5 * power * torch.log(torch.abs(y[entry]))


def _root(g: Tensor, k: int) -> Tensor:
    return torch.sqrt(torch.abs(g[k, k]))


def _sliced(g: Tensor, start: int, stop: int) -> Tensor:
    return g[start:stop, start:stop]


class _Scaled(torch.nn.Module):
    """A metric divided by the size of an entry at a point, as parameters are at each call.

    Args:
        metric: one of a block.
        point: of it.
        k: which entry of the diagonal.
    """

    point: Tensor

    def __init__(self, metric: torch.nn.Module, point: Tensor, k: int):
        super().__init__()
        self.metric, self.k = metric, k
        self.register_buffer("point", point)

    def forward(self, y: Tensor) -> Tensor:
        """At one point of the block."""
        return self.metric(y) / torch.abs(self.metric(self.point.to(y))[self.k, self.k])


class LiveConstant(Constant):
    """A constant matrix that is computed from parameters at each call.

    Args:
        field: the matrix, as a field that depends on no point.
        point: where it is evaluated.
    """

    point: Tensor

    def __init__(self, field: torch.nn.Module, point: Tensor):
        torch.nn.Module.__init__(self)
        self.field = field
        self.register_buffer("point", point)

    @property
    def matrix(self) -> Tensor:  # type: ignore[override]
        """The matrix, as the parameters are now."""
        return self.field(self.point)


def constant(look: Look, inner: Inner) -> Finding | None:
    """The same matrix everywhere."""
    if bool(look.dependence.any()):
        return None
    point = look.points[-1]
    metric = LiveConstant(look.metric, point) if look.reads_own else Constant(look.metric(point).detach())
    return Finding("Constant", metric, "no entry depends on the point", "curvature is 0")


def ignorable(look: Look, inner: Inner) -> Finding | None:
    """Coordinates on which nothing depends."""
    still = (~look.dependence.any(0).any(0)).nonzero()[:, 0].tolist()
    if not still or len(still) == look.n:
        return None
    names = ", ".join(f"x{k}" for k in still)
    return Finding("ignorable", None, f"nothing depends on {names}", f"{len(still)} Killing fields are known")


# ------------------------------------------------------------------------------------------------------- conformal


def conformal(look: Look, inner: Inner) -> Finding | None:
    """A positive scalar times a constant metric, or times a metric whose structure is known."""
    if look.n < 2:
        return None
    return _conformally_flat(look) or _conformal_to_known(look, inner)


def _conformally_flat(look: Look) -> Finding | None:
    g = torch.cat([look.at(look.random(3, look.n)), look.at(look.random(2, look.n), same=False)])
    for i, j in _pivots(look):
        if look.is_definite(look.recording.output, i, j) and _proportional(g[1:], g[:1], (i, j)):
            break
    else:
        return None
    value = look.metric(look.points[-1]).detach()
    base = value / value[i, j].abs()
    flat = torch.equal(base, torch.eye(look.n).to(base))
    metric = Conformal(None if flat else Constant(base), Composed(look.metric, partial(_half_log, entry=(i, j))))
    what = "the identity" if flat else "a constant matrix"
    return Finding(
        "Conformal", metric, f"a scalar times {what}", "curvature from second derivatives of one function, n passes"
    )


def _pivots(look: Look) -> Iterator[tuple[int, int]]:
    """Entries that are not 0, those of the diagonal first."""
    places = look.support.nonzero().tolist()
    yield from sorted((tuple(p) for p in places), key=lambda p: p[0] != p[1])[:4]


def _proportional(a: Tensor, b: Tensor, pivot: tuple[int, int]) -> bool:
    """Whether matrices of residues are multiples of others."""
    p, q = (t[..., pivot[0], pivot[1], None, None] for t in (a, b))
    return bool((q != 0).all()) and bool((times(a, q) == times(b, p)).all())


def _conformal_to_known(look: Look, inner: Inner) -> Finding | None:
    scalars = [node for node in look.of_shape() if look.is_definite(node)]
    for known, ratio in _multiples(look):
        for factor in scalars:
            s = look.value(factor)
            power = 1 if torch.equal(s, ratio) else -1 if torch.equal(inverse(s), ratio) else 0
            if not power or bool(look.signs[factor].negative.any()):
                continue
            base = inner(known(), look.points)
            if base is None:
                return None
            metric = Conformal(base, Composed(look.field(factor), partial(_half_log, power=power)))
            why = f"a positive scalar times a metric that is {type(base).__name__}"
            return Finding("Conformal", metric, why, "that of the base, and second derivatives of one function")
    return None


def _multiples(look: Look) -> Iterator[tuple[Callable[[], torch.nn.Module], Tensor]]:
    """Matrices, or squares of such, that the metric is a multiple of, and how many times it is that, `(draws,)`."""
    n, pivot = look.n, next(_pivots(look))

    def is_multiple(h: Tensor) -> bool:
        return _proportional(look.g, h, pivot) and not torch.equal(h, look.g)

    def ratio(h: Tensor) -> Tensor:
        return times(look.g[:, pivot[0], pivot[1]], inverse(h[:, pivot[0], pivot[1]]))

    for node in look.of_shape(n, n):
        if is_multiple(h := look.value(node)):
            yield partial(look.field, node), ratio(h)
    for node in look.fields:
        M = look.value(node)
        for turned in (False, True) if M.ndim == 3 else ():
            L = M.mT if turned else M
            if L.shape[1] == n and is_multiple(h := matmul(L, L.mT)):
                yield partial(_square, look, node, turned), ratio(h)


def _square(look: Look, node: Node, turned: bool) -> torch.nn.Module:
    return Composed(look.field(node), _turned_square if turned else _square_of)


def _square_of(L: Tensor) -> Tensor:
    return L @ L.mT


def _turned_square(J: Tensor) -> Tensor:
    return J.mT @ J


def scaled(look: Look, inner: Inner) -> Finding | None:
    """A positive constant times a metric of known structure, where nothing else is found."""
    if look.settled or look.n < 2:
        return None
    for known, ratio in _multiples(look):
        log_factor = _log_of_constant(look, ratio)
        if log_factor is not None and (base := inner(known(), look.points)) is not None:
            why = f"a positive constant times a metric that is {type(base).__name__}"
            return Finding("Conformal", Conformal(base, log_factor), why, "that of the base")
    return None


def _log_of_constant(look: Look, ratio: Tensor) -> Callable[[Tensor], Tensor] | None:
    """Half the logarithm of what has these residues: of a number, or of what parameters give."""
    number = look.number(ratio[:1, None]) if bool((ratio == ratio[0]).all()) else None
    if number is not None:
        return partial(_given, value=0.5 * math.log(number)) if number > 0 else None
    for node, value in look.values.items():
        if not isinstance(value, Residues) or look.recording.varies(node) or node.meta["val"].numel() != 1:
            continue
        c = look.value(node)
        power = 1 if torch.equal(c, ratio) else -1 if torch.equal(inverse(c), ratio) else 0
        if power and node in look.signs and not bool(look.signs[node].negative.any()):
            return Composed(look.field(node), partial(_half_log, power=power))
    return None


def _given(x: Tensor, value: float) -> Tensor:
    return x.new_full((), value)


# ---------------------------------------------------------------------------------------------------------- blocks


def apart(look: Look, inner: Inner) -> Finding | None:
    """Blocks that would be a product if their coordinates stood side by side."""
    groups = _groups(look)
    if len(groups) < 2 or len(_separate(look)) == len(groups) - 1:
        return None
    names = " and ".join(f"({', '.join(f'x{k}' for k in group)})" for group in groups)
    why = f"a product of metrics of {names} if the coordinates of each stood side by side"
    return Finding("Product", None, why, "write them in that order, and it is the sum of that of its parts")


def _groups(look: Look) -> list[tuple[int, ...]]:
    """Sets of coordinates that no entry and no dependence connects."""
    joined = look.support | look.support.T
    for i, j in look.support.nonzero().tolist():
        joined[i] |= look.dependence[i, j]
    joined = joined | joined.T | torch.eye(look.n, dtype=torch.bool)
    for _ in range(look.n.bit_length()):
        joined = (joined.double() @ joined.double()) > 0
    return sorted({tuple(row.nonzero()[:, 0].tolist()) for row in joined})


def _cuts(look: Look) -> list[int]:
    """Where the matrix falls into two blocks."""
    return [d for d in range(1, look.n) if not bool(look.support[:d, d:].any() or look.support[d:, :d].any())]


def _separate(look: Look) -> list[int]:
    """Where it falls into two blocks that read coordinates of their own."""
    reads = look.dependence
    return [d for d in _cuts(look) if not bool(reads[:d, :d, d:].any() or reads[d:, d:, :d].any())]


def product(look: Look, inner: Inner) -> Finding | None:
    """Blocks that read coordinates of their own."""
    cuts = _separate(look)
    if not cuts:
        return None
    parts = []
    for start, stop in zip([0, *cuts], [*cuts, look.n], strict=True):
        block = _block(look, start, stop)
        parts.append((inner(block, look.points[:, start:stop]) or block, stop - start))
    names = " + ".join(
        f"{type(part).__name__ if not isinstance(part, Entries) else 'block'} of {m}" for part, m in parts
    )
    return Finding(
        "Product",
        Product(*parts),
        f"blocks that read coordinates of their own, {names}",
        "the sum of that of its parts",
    )


def _block(look: Look, start: int, stop: int) -> Entries:
    return Entries(look.metric, start, look.points[-1], partial(_sliced, start=start, stop=stop))


def warped(look: Look, inner: Inner) -> Finding | None:
    """A base, and a fibre whose metric is a function of the base times one of its own; not a product of metrics."""
    reads = look.dependence
    if _separate(look):
        return None
    for d in _cuts(look):
        if bool(reads[:d, :d, d:].any()) or not bool(reads[d:, d:, :d].any()):
            continue
        if (pivot := _separable(look, d)) is not None:
            return _warped_at(look, d, pivot, inner)
    return None


def _separable(look: Look, d: int) -> int | None:
    """An entry of the diagonal, of one sign, by which the fibre's block is a product of functions of base and fibre."""
    x, y = look.random(3, look.n), look.random(3, look.n)
    mixed, other = (torch.cat([a[:, :d], b[:, d:]], 1) for a, b in ((x, y), (y, x)))
    g, h, gh, hg = (look.at(points)[:, d:, d:] for points in (x, y, mixed, other))
    for k in range(look.n - d):
        entry = lambda a, k=k: a[:, k, k, None, None]
        same = bool((times(g, entry(h)) == times(hg, entry(gh))).all()) and bool((entry(h) != 0).all())
        if same and look.is_definite(look.recording.output, d + k, d + k):
            return d + k
    return None


def _warped_at(look: Look, d: int, k: int, inner: Inner) -> Finding:
    point = look.points[-1]
    base = _block(look, 0, d)
    fibre = _Scaled(_block(look, d, look.n), point[d:], k - d)
    warp = Entries(look.metric, 0, point, partial(_root, k=k))
    parts = (
        (inner(base, look.points[:, :d]) or base, d),
        (inner(fibre, look.points[:, d:]) or fibre, look.n - d),
    )
    why = f"a base of {d} coordinates, and a fibre of {look.n - d} times a function of the base"
    return Finding(
        "Warped", Warped(*parts, warp), why, "those of base and fibre, and second derivatives of one function"
    )


def diagonal(look: Look, inner: Inner) -> Finding | None:
    """Orthogonal coordinates."""
    if look.n < 2 or bool((look.support & ~torch.eye(look.n, dtype=torch.bool)).any()):
        return None
    entries = Composed(look.metric, torch.diagonal)
    return Finding("Diagonal", Diagonal(entries), "no entry off the diagonal", "n(n - 1) second derivatives")
