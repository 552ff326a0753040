"""A recorded metric, run over random residues: what its finders ask."""

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_iter

from riemann import _jets
from riemann._structure import residues
from riemann._structure.arrays import Residues
from riemann._structure.field import Field
from riemann._structure.operations import run
from riemann._structure.recording import Node, Recording
from riemann._structure.residues import PRIME, matmul, times
from riemann._structure.signs import Signs, signs
from riemann._types import Metric

DRAWS = 3  # chances of one in 10^9 a degree, each
FAR = (-1, 4, -16, 64, -256)  # multiples of the points at which a term that is small near them shows
AT_ONCE = 2**24  # residues in the values of all nodes
MANY = 128  # numbers of which products are not looked at
FEW = 32  # dimensions in which it is asked which entry depends on which coordinate


class Look:
    """A metric as a graph, and its values over residues, with their derivatives along two directions u and v.

    Attributes:
        recording: the graph.
        points: in the domain of the metric, `(k, n)`; the last is the one where constants are taken.
        values: residues of all nodes.
        g: those of the metric, `(draws, n, n)`.
        uv: $g(u, v)$, `(draws,)`.
        settled: something was found already, and what takes long may be left out.
    """

    def __init__(self, metric: Metric, points: Tensor, smooth: bool = False):
        self.points, self.settled = points, False
        self.recording = Recording(metric, points[-1])
        self.recording.is_smooth |= smooth
        self.n = n = points.shape[-1]
        self.generator = torch.Generator().manual_seed(20130)
        x = self.random(4, DRAWS, 1, n)
        x[3] = 0
        self.own = {node: self.random(DRAWS, 1, *t.shape) for node, t in self.recording.own.items()}
        zeros = lambda a: torch.cat([a.unsqueeze(0), torch.zeros(3, *a.shape, dtype=torch.int64)])
        given = {self.recording.point: Residues(x)} | {node: Residues(zeros(a)) for node, a in self.own.items()}
        self.values = run(self.recording.nodes, given)
        self.g = self.value(self.recording.output).reshape(DRAWS, n, n)
        self.uv = matmul(matmul(x[1], self.g), x[2].transpose(-1, -2))[:, 0, 0]

    def random(self, *shape: int) -> Tensor:
        """Random residues."""
        return residues.random(shape, self.generator)

    def rows(self, node: Node) -> Tensor | None:
        """Value and derivatives of a node at one point, `(4, draws, *shape)`; None if it is not a field."""
        shape = self.recording.shape(node)
        if shape is None or not isinstance(found := self.values.get(node), Residues):
            return None
        return found.c.reshape(*found.c.shape[:2], *shape)

    def value(self, node: Node) -> Tensor:
        """The value of a field in each draw, without axes of length 1; of what varies with nothing, as it is."""
        found = self.values[node]
        if isinstance(found, Residues):
            return found.c[0].reshape(DRAWS, *(k for k in found.c.shape[2:] if k != 1))
        return _constant(found)

    @functools.cached_property
    def matrices(self) -> dict[Node, Tensor]:
        """The matrices that do not depend on the point, as residues `(draws, p, q)`."""
        found: dict[Node, Tensor] = {}
        for node in self.recording.nodes:
            value = node.meta.get("val")
            if node.op == "output" or self.recording.point in self.recording.reads[node] or node not in self.values:
                continue
            if not isinstance(value, Tensor) or not value.is_floating_point() or value.is_meta:
                continue
            kept = self.values[node]
            shape = tuple(k for k in value.shape if k != 1)
            if len(shape) == 2:
                found[node] = (kept.c[0] if isinstance(kept, Residues) else _constant(value)).reshape(DRAWS, *shape)
        return found

    @functools.cached_property
    def numbers(self) -> list[float]:
        """The numbers that the metric is written with."""
        found: set[float] = set()
        for node in self.recording.nodes:
            found |= {float(a) for a in tree_iter((node.args, node.kwargs)) if type(a) in (int, float) and a}
            value = node.meta.get("val")
            if self.recording.reads[node] or not isinstance(value, Tensor) or value.is_meta:
                continue
            if value.is_floating_point() and len(written := value.unique()) <= 2:  # a number, and zeros
                found |= {float(a) for a in written}
        return sorted(a for a in found if math.isfinite(a) and a)

    @property
    def is_smooth(self) -> bool:
        """Whether the metric chooses by no comparison: then it is one analytic function."""
        if self.settled or self.points.dtype != torch.float64:
            return False
        if self.recording.is_smooth:
            return True
        nodes = (n for n in self.recording.nodes if self.recording.point in self.recording.reads[n])
        return not KINKS.intersection(_name(node) for node in nodes if not _asks_for_infinity(node))

    def _everywhere(self, field: torch.nn.Module, order: int) -> dict[int, tuple[Tensor, ...]]:
        """Jets of a field at the points, and at multiples of them, by these; without those outside its domain."""
        scales = (1, *FAR)
        with torch.no_grad():
            try:
                there = torch.stack([scale * self.points for scale in scales])
                found = _jets.jets_at(field, there, order)
                return {scale: tuple(a[k] for a in found) for k, scale in enumerate(scales)}
            except (ValueError, RuntimeError, ArithmeticError):
                found = {1: _jets.jets_at(field, self.points, order)}
            for scale in FAR:
                with contextlib.suppress(ValueError, RuntimeError, ArithmeticError):
                    found[scale] = _jets.jets_at(field, scale * self.points, order)
            return found

    @functools.cached_property
    def there(self) -> dict[int, Tensor]:
        """The metric at the points, and at multiples of them where it has values."""
        return {scale: g for scale, (g,) in self._everywhere(self.metric, 0).items()}

    def same_at_points(self, field: torch.nn.Module, order: int, of: Callable[[tuple[Tensor, ...]], Tensor]) -> bool:
        """Whether something made of the jet of a field is the metric, to rounding: at the points, and far from them.

        Where one of them has no value, as at special points, nothing is known; it is asked for two with values.
        """
        found, near = self._everywhere(field, order), self.there[1]
        size = float(near[near.isfinite()].abs().amax()) if bool(near.isfinite().any()) else 0.0
        for scale in [scale for scale in self.there if scale in found]:
            made, wanted = of(found[scale]), self.there[scale]
            if made.shape != wanted.shape:
                return False
            known = (made - wanted).isfinite().all(-1).all(-1)
            if scale == 1 and int(known.sum()) < min(2, len(known)):
                return False
            made, wanted = made[known], wanted[known]
            near = wanted.abs().amax((-2, -1), keepdim=True)
            if not bool(((made - wanted).abs() <= 1e-11 * near + 1e-12 * size).all()):
                return False
        return True

    def jets(self, nodes: Sequence[Node], order: int, at: int) -> dict[Node, tuple[Tensor, ...]]:
        """Of fields, flat, at the last points; without those that cannot be computed by themselves."""
        if not nodes:
            return {}
        try:
            field = Field(self.recording, nodes[0], more=nodes[1:], shape=(-1,))
            with torch.no_grad():
                found = _jets.jets_at(field, self.points[-at:], order)
        except (ValueError, RuntimeError, ArithmeticError):
            parts = [nodes[: len(nodes) // 2], nodes[len(nodes) // 2 :]] if len(nodes) > 1 else []
            return {node: jet for part in parts for node, jet in self.jets(part, order, at).items()}
        widths = [_numel(node.meta["val"]) for node in nodes]
        return dict(zip(nodes, zip(*(a.split(widths, 1) for a in found), strict=True), strict=True))

    @functools.cached_property
    def products(self) -> tuple[Tensor, Tensor]:
        """1 and -1, the numbers of the metric, and products of two if they are not many; with their residues."""
        written = torch.tensor([1.0, *self.numbers], dtype=torch.float64)
        of_written = residues.of_numbers(written)
        values = torch.cat([written, -written, 1 / written])
        found = torch.cat([of_written, torch.remainder(-of_written, PRIME), residues.inverse(of_written)])
        if len(values) > MANY:
            return values, found
        products, of_products = torch.outer(values, values), times(found[:, None], found)
        return torch.cat([values, products.flatten()]), torch.cat([found, of_products.flatten()])

    def number(self, d: Tensor) -> float | None:
        """The number of a residue, `(…, 1)`, among these."""
        values, found = self.products
        places = (found == d.reshape(-1, 1)).all(0).nonzero()
        return float(values[places[0, 0]]) if len(places) else None

    def vector(self, d: Tensor) -> Tensor | None:
        """Numbers with given residues `(draws, n)`, if they are there among what the metric has made."""
        n = d.shape[-1]
        for node in self.recording.nodes:
            kept = node.meta.get("val")
            if self.recording.reads[node] or not isinstance(kept, Tensor) or not kept.is_floating_point():
                continue
            if kept.is_meta or kept.numel() not in (1, n, n * n):
                continue
            flat = kept.reshape(-1) if kept.numel() != n * n or n == 1 else kept.reshape(n, n).diagonal()
            if bool((residues.of_numbers(flat) == d).all()):
                return flat.expand(n).clone()
        return None

    def live(self, node: Node, m: int) -> Any:
        """A matrix that parameters make, as a metric of constant coefficients."""
        from riemann._structure.blocks import LiveConstant

        field = Field(self.recording, node, shape=(m, m))
        return LiveConstant(field, self.points[-1])

    @functools.cached_property
    def fields(self) -> list[Node]:
        """The nodes that are fields of the point, those of the same values once, the last ones last."""
        return [nodes[0] for nodes in self.alike.values()]

    @functools.cached_property
    def alike(self) -> dict[tuple[Any, ...], list[Node]]:
        """The fields, those of the same value together."""
        found: dict[tuple[Any, ...], list[Node]] = {}
        for node in self.recording.nodes:
            if (c := self.rows(node)) is not None:
                found.setdefault((tuple(c.shape[2:]), *residues.digest(c[0]).tolist()), []).append(node)
        return found

    def of_shape(self, *shape: int) -> list[Node]:
        """Fields of a shape."""
        return [node for node in self.fields if self.recording.shape(node) == shape]

    def at(self, x: Tensor, same: bool = True) -> Tensor:
        """The metric at points of residues `(k, n)`, with the same parameters; or with others at each."""
        size = sum(_numel(node.meta.get("val")) for node in self.recording.nodes)
        pieces = []
        for piece in x.split(max(1, AT_ONCE // max(1, size))):
            k = len(piece)
            own = {
                node: (a[:1].expand(k, *a.shape[1:]) if same else self.random(k, *a.shape[1:])).unsqueeze(0)
                for node, a in self.own.items()
            }
            given = {self.recording.point: Residues(piece[None, :, None])}
            given |= {node: Residues(a) for node, a in own.items()}
            found = run(self.recording.nodes, given)[self.recording.output]
            pieces.append(
                found.c[0] if isinstance(found, Residues) else residues.of_numbers(found).expand(k, *found.shape)
            )
        return torch.cat(pieces).reshape(len(x), self.n, self.n)

    @functools.cached_property
    def support(self) -> Tensor:
        """Where the metric is not 0 as an expression, `(n, n)`."""
        return (self.g != 0).any(0)

    @functools.cached_property
    def dependence(self) -> Tensor:
        """Which entry may depend on which coordinate, `(n, n, n)`; beyond `FEW` dimensions, all or none."""
        n = self.n
        changed = torch.zeros(n, n, n, dtype=torch.bool)
        for _ in range(2):
            x = self.random(1, n)
            if n > FEW:
                g = self.at(torch.cat([x, self.random(1, n)]))
                changed |= (g[1] != g[0]).unsqueeze(-1)
                continue
            others = torch.where(torch.eye(n, dtype=torch.bool), self.random(n, n), x)
            g = self.at(torch.cat([x, others]))
            changed |= (g[1:] != g[0]).movedim(0, -1)
        return changed

    @functools.cached_property
    def signs(self) -> dict[Node, Signs]:
        """Which entries of which node may be negative, or positive."""
        return signs(self.recording, self.values)

    def is_definite(self, node: Node, *entry: int) -> bool:
        """Whether an entry of a node has one sign wherever it is defined."""
        return node in self.signs and bool(self.signs[node].definite.reshape(self.recording.shape(node) or ())[entry])

    @property
    def reads_own(self) -> bool:
        """Whether the metric depends on parameters."""
        return bool(self.recording.reads[self.recording.output] & self.recording.own.keys())

    def field(self, node: Node) -> Field:
        """A node as a field."""
        return Field(self.recording, node)

    @functools.cached_property
    def tensors(self) -> dict[Node, Tensor]:
        """The nodes that are a tensor of the metric's own, or a constant."""
        constants = {
            node: getattr(self.recording.module, str(node.target))
            for node in self.recording.nodes
            if node.op == "get_attr"
        }
        return self.recording.own | {node: t for node, t in constants.items() if t.is_floating_point()}

    def constant(self, node: Node) -> Tensor:
        """The residues of such a node in the first draw."""
        return self.own[node][0, 0] if node in self.own else residues.of_numbers(self.tensors[node])

    @functools.cached_property
    def metric(self) -> Field:
        """The metric as a field."""
        return Field(self.recording, self.recording.output, shape=(self.n, self.n))

    def pulled(self, rows: Tensor) -> Tensor:
        r"""$\langle D_u f, D_v f \rangle$ of a field's rows, `(draws,)`."""
        flat = rows.reshape(*rows.shape[:2], -1)
        return torch.remainder(times(flat[1], flat[2]).sum(-1), PRIME)


KINKS = frozenset(
    "where gt ge lt le ne abs sgn sign relu maximum minimum clamp clamp_min clamp_max floor ceil round trunc frac "
    "remainder fmod hardtanh leaky_relu elu heaviside max min sort topk".split()
)


def _asks_for_infinity(node: Node) -> bool:
    """Whether a value is only compared with infinity, as the shift of a logsumexp is."""
    return all(_name(user) in ("eq", "ne") and user.args[1] == math.inf for user in node.users)


def _name(node: Node) -> str:
    schema = getattr(node.target, "_schema", None)
    return schema.name.split("::")[1] if schema is not None else str(node.target)


def _constant(value: Tensor) -> Tensor:
    return residues.of_numbers(value).unsqueeze(0).expand(DRAWS, *value.shape)


def _numel(kept: Any) -> int:
    return math.prod(kept.shape) if isinstance(kept, Tensor) else 0
