r"""Networks under $g = L L^T$: affine maps and elementwise units, in any order and number, and an elementwise head.

A node is affine in some others if it is so over residues, and a unit if each entry is the same function of one entry
of an affine node: how it is written does not matter. Residual connections are units that are carried on.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from riemann._structure import residues
from riemann._structure.arrays import Residues
from riemann._structure.blocks import Inner
from riemann._structure.field import Field, way
from riemann._structure.finding import Finding
from riemann._structure.look import Look
from riemann._structure.network_metric import Carried, Head, Layer, NetworkMetric, Unit
from riemann._structure.operations import run
from riemann._structure.recording import Node
from riemann._structure.residues import PRIME, matmul, times
from riemann._structure.scalars import NoScalar, Scalar
from riemann.metrics.elementwise import Softplus

MOST_UNITS = 64  # hidden layers


class Step(NamedTuple):
    """A hidden layer: `unit` is a function of each entry of `into`, which is affine in what came before."""

    unit: Node
    into: Node


def mlp_cholesky(look: Look, inner: Inner) -> Finding | None:
    """L L^T, L elementwise in the outputs of a network."""
    for factor, turned, scale in _factors(look):
        try:
            metric, depth = _Network(look, factor, turned, scale).metric()
        except NoScalar:
            continue
        why = f"L L^T of a network with {depth} hidden layer{'s' if depth != 1 else ''} and an elementwise head"
        return Finding("MLPCholesky", metric, why, "closed forms of curvature, O(n² H (n + H))")
    return None


def _factors(look: Look) -> Iterator[tuple[Node, bool, float]]:
    """Triangular fields L and numbers c with c² L L^T the metric; whether it is the node's transpose that is L."""
    n = look.n
    for node in look.of_shape(n, n):
        for turned in (False, True):
            L = look.rows(node)[0].transpose(-1, -2) if turned else look.rows(node)[0]
            if bool((L.tril() != L).any()):
                continue
            square = matmul(L, L.transpose(-1, -2))
            ratio = times(look.g[:, 0, 0], residues.inverse(square[:, 0, 0]))
            if not bool((ratio == ratio[0]).all()) or not torch.equal(times(square, ratio[:, None, None]), look.g):
                continue
            if (number := look.number(ratio[:1])) is not None and number > 0:
                yield node, turned, number**0.5


class _Network:
    """The network in front of a factor.

    Args:
        look: at the metric.
        factor: the node of the factor.
        turned: whether the factor is its transpose.
        scale: by what the factor is to be multiplied.
    """

    def __init__(self, look: Look, factor: Node, turned: bool, scale: float):
        self.look, self.recording = look, look.recording
        self.factor, self.turned, self.scale = factor, turned, scale
        region = way(self.recording, factor, self.recording.point) or set()
        self.nodes = [node for node in self.recording.nodes if node in region]
        self.state: list[Node] = [self.recording.point]
        self.steps: list[Step] = []

    def metric(self) -> tuple[NetworkMetric, int]:
        """The metric of known type; raises `NoScalar` if it is none."""
        while len(self.steps) <= MOST_UNITS:
            affine = self._affine()
            for out in (*((node,) for node in affine), self._frontier(affine)):
                if (places := self._head(out)) is not None:
                    metric = self._built(out, places)
                    return metric, len(metric.hidden)
            step = self._next(affine)
            if step is None:
                raise NoScalar
            self.steps.append(step)
            self.state.append(step.unit)
        raise NoScalar

    # ------------------------------------------------------------------------------------------------ affine, unit

    def _run(self, given: dict[Node, Tensor], nodes: Sequence[Node] | None = None) -> dict[Node, Any]:
        """Values of nodes from those of some, `(draws, *shape)`, with the same parameters."""
        draws = len(next(iter(given.values())))
        own = {node: Residues(a[None, :1].expand(1, draws, *a.shape[1:])) for node, a in self.look.own.items()}
        return run(self.nodes if nodes is None else nodes, own | {k: Residues(v[None]) for k, v in given.items()})

    def _affine(self) -> list[Node]:
        """The nodes that are affine in the state: $f(r u + (1-r) v) = r f(u) + (1-r) f(v)$."""
        r = self.look.random(2)
        given = {}
        for node in self.state:
            u, v = self.look.random(2, *node.meta["val"].shape)
            mixed = [torch.remainder(times(c, u) + times(1 + PRIME - c, v), PRIME) for c in r]
            given[node] = torch.stack([u, v, *mixed])
        found = []
        for node, value in self._run(given).items():
            if not isinstance(value, Residues) or not self.recording.varies(node) or node in self.state[1:]:
                continue
            f = value.c[0]
            mixed = [torch.remainder(times(c, f[0]) + times(1 + PRIME - c, f[1]), PRIME) for c in r]
            if torch.equal(f[2:], torch.stack(mixed)) and not torch.equal(f[0], f[1]):
                found.append(node)
        return found

    def _next(self, affine: list[Node]) -> Step | None:
        """The first node that is not affine and a function of the entries of one that is."""
        known = {*affine, *self.state}
        for node in self.nodes:
            if node in known or not self.recording.varies(node):
                continue
            for into in reversed(affine):
                if into.meta["val"].numel() == node.meta["val"].numel() and self._is_unit(node, into):
                    return Step(node, into)
        return None

    def _is_unit(self, node: Node, into: Node) -> bool:
        region = way(self.recording, node, into)
        if region is None or into not in _ancestors(node):
            return False
        changed, m = self._changed(node, (into,), region), _numel(into)
        if changed is None or not torch.equal(changed.flatten(1), _subsets(m)):
            return False
        return self._alike(node, (into,), region, torch.arange(m))

    def _changed(self, node: Node, into: tuple[Node, ...], region: set[Node]) -> Tensor | None:
        """Which entries of a node change with each subset of those of others, `(subsets, *shape)`."""
        m = sum(map(_numel, into))
        sets = _subsets(m)
        base, other = self.look.random(2, m)
        flat = torch.cat([base[None], torch.where(sets, other, base)])
        found = self._run(_parted(flat, into), [n for n in self.nodes if n in region])[node]
        return found.c[0][1:] != found.c[0][:1] if isinstance(found, Residues) else None

    def _alike(self, node: Node, into: tuple[Node, ...], region: set[Node], entries: Tensor) -> bool:
        """Whether it is the same function at all these entries."""
        flat = self.look.random(2)[:, None].expand(2, sum(map(_numel, into)))
        f = self._run(_parted(flat, into), [n for n in self.nodes if n in region])[node].c[0].flatten(1)[:, entries]
        return bool((f == f[:, :1]).all())

    # ------------------------------------------------------------------------------------------------------ the head

    def _frontier(self, affine: list[Node]) -> tuple[Node, ...]:
        """The affine nodes that are met first on all ways back from the factor."""
        found, todo, seen, known = [], [self.factor], set(), set(affine)
        while todo:
            node = todo.pop()
            if node in known:
                found.append(node)
            else:
                todo.extend(a for a in node.all_input_nodes if self.recording.varies(a) and a not in seen)
                seen.update(node.all_input_nodes)
        return tuple(node for node in self.nodes if node in found)

    def _head(self, out: tuple[Node, ...]) -> Tensor | None:
        """Which entry of affine nodes each entry of the factor's triangle is a function of, row by row."""
        n, m = self.look.n, sum(map(_numel, out))
        region = way(self.recording, self.factor, *out) if m >= n * (n + 1) // 2 else None
        if region is None or (changed := self._changed(self.factor, out, region)) is None:
            return None
        rows, columns = torch.tril_indices(n, n)
        changed = changed.reshape(-1, n, n)
        changed = (changed.mT if self.turned else changed)[:, rows, columns]
        on, off = changed[0::2], changed[1::2]
        if not bool((on ^ off).all()):
            return None
        powers = 2 ** torch.arange(len(on))
        places = (on * powers[:, None]).sum(0)
        if bool((places >= m).any()):
            return None
        on_diagonal = rows == columns
        flat = (columns * n + rows) if self.turned else rows * n + columns
        for mask in (on_diagonal, ~on_diagonal):
            if bool(mask.any()) and not self._alike(self.factor, out, region, flat[mask]):
                return None
        return places

    # ------------------------------------------------------------------------------------------------- what it is made

    def _prune(self, out: tuple[Node, ...]) -> None:
        """Leaves out units that nothing is made of: the sigmoid of z sigmoid(z)."""
        while True:
            targets = [*((step.into,) for step in self.steps), out]
            used = {self.state[p] for k, target in enumerate(targets) for p in self._uses(target, k)}
            kept = [step for step in self.steps if step.unit in used]
            if len(kept) == len(self.steps):
                return
            self.steps, self.state = kept, [self.recording.point, *(step.unit for step in kept)]

    def _built(self, out: tuple[Node, ...], places: Tensor) -> NetworkMetric:
        n = self.look.n
        self._prune(out)
        targets = [*((step.into,) for step in self.steps), out]
        uses = [self._uses(target, k) for k, target in enumerate(targets)]
        layers, units, parts = [], [], [0]
        widths = [node.meta["val"].numel() for node in self.state]
        for k, target in enumerate(targets):
            last = target is out
            later = {p for use in uses[k + 1 :] for p in use}
            carried = [] if last else sorted(p for p in parts if p in later)
            rows = places if last and not torch.equal(places, torch.arange(sum(map(_numel, target)))) else None
            layers.append(self._layer(target, uses[k], parts, carried, widths, rows))
            if not last:
                units.append(Carried(sum(widths[p] for p in carried), self._unit(self.steps[k])))
                parts = [*carried, k + 1]
        region = way(self.recording, self.factor, *out) or set()
        diagonal = Head(self._map(self.factor, out, 0, region), self.scale)
        below = Head(self._map(self.factor, out, 1 if self.turned else n, region), self.scale) if n > 1 else None
        return NetworkMetric(n, layers, units, diagonal, below)

    def _uses(self, target: tuple[Node, ...], k: int) -> list[int]:
        """Which parts of the state an affine node depends on."""
        given = {}
        for p, node in enumerate(self.state[: k + 1]):
            base, other = self.look.random(2, *node.meta["val"].shape)
            given[node] = torch.stack([base, *(other if p == q else base for q in range(k + 1))])
        found = self._run(given)
        f = torch.cat([found[node].c[0].flatten(1) for node in target], 1)
        return [p for p in range(k + 1) if not torch.equal(f[p + 1], f[0])]

    def _layer(
        self,
        target: tuple[Node, ...],
        uses: list[int],
        parts: list[int],
        carried: list[int],
        widths: list[int],
        rows: Tensor | None,
    ) -> Layer:
        """From the parts of the state at hand to those carried on, and to the affine node."""
        alone = len(uses) == len(target) == 1 and parts == uses and not carried
        return Layer(
            Field(self.recording, target[0], *(self.state[p] for p in uses), more=target[1:]),
            [widths[p] for p in uses],
            [(p, widths[p], p in uses) for p in parts],
            carried,
            sum(map(_numel, target)),
            rows,
            self._given(target[0], uses[0]) if alone else None,
        )

    def _given(self, target: Node, part: int) -> tuple[Any, bool, Any] | None:
        """The weight and bias, if they are there as a matrix and a vector: the tensors, and whether to transpose."""
        node = self.state[part]
        width, shape = node.meta["val"].numel(), node.meta["val"].shape
        probes = torch.cat([torch.zeros(1, width, dtype=torch.int64), torch.eye(width, dtype=torch.int64)])
        region = way(self.recording, target, node) or set()
        f = (
            self._run({node: probes.reshape(-1, *shape)}, [n for n in self.nodes if n in region])[target]
            .c[0]
            .flatten(1)
        )
        bias, W = f[0], torch.remainder(f[1:] - f[0], PRIME).mT
        weight = next(
            (
                (source, turned)
                for source, B in self.look.matrices.items()
                for turned in (False, True)
                if source in self.look.tensors and torch.equal(B[0].mT if turned else B[0], W)
            ),
            None,
        )
        if weight is None:
            return None
        if not bool(bias.any()):
            return self.look.tensors[weight[0]], weight[1], None
        for source, tensor in self.look.tensors.items():
            if tensor.ndim == 1 and len(tensor) == len(bias) and torch.equal(self.look.constant(source), bias):
                return self.look.tensors[weight[0]], weight[1], tensor
        return None

    def _unit(self, step: Step) -> Unit:
        region = way(self.recording, step.unit, step.into) or set()
        return Unit(self._map(step.unit, (step.into,), 0, region))

    def _map(self, node: Node, into: tuple[Node, ...], entry: int, region: set[Node]) -> Any:
        """The function of one number at an entry: one with closed forms, where it is one; None for the identity."""
        c = self.look.random(3)
        given = _parted(c[:, None].expand(3, sum(map(_numel, into))), into)
        f = self._run(given, [n for n in self.nodes if n in region])[node].c[0].flatten(1)[:, entry]
        if torch.equal(f, c):
            return None
        for function, name in _CLOSED.items():
            if torch.equal(f, _value(name, c)):
                return function
        softplus = _value("softplus", c)
        for floor in self.look.numbers:
            added = residues.of_number(floor)
            if torch.equal(f, torch.remainder(softplus + added, PRIME)):
                return Softplus(floor)
        return Scalar(self.recording, node, entry, into)


_F = torch.nn.functional
_CLOSED = {
    torch.tanh: "tanh",
    torch.sigmoid: "sigmoid",
    _F.softplus: "softplus",
    _F.silu: "silu",
    torch.sin: "sin",
}


def _numel(node: Node) -> int:
    return node.meta["val"].numel()


def _parted(flat: Tensor, nodes: Sequence[Node]) -> dict[Node, Tensor]:
    """Flat values `(draws, m)` as those of nodes."""
    parts = flat.split([_numel(node) for node in nodes], 1)
    return {node: part.reshape(-1, *node.meta["val"].shape) for node, part in zip(nodes, parts, strict=True)}


def _value(name: str, c: Tensor) -> Tensor:
    from riemann._structure.operations import function_of

    return function_of(name, c)


def _subsets(m: int) -> Tensor:
    """Of m places those whose number has a bit, and those that have it not, for each bit: `(2 bits, m)`."""
    bits = max(1, (m - 1).bit_length())
    numbers = torch.arange(m)
    on = torch.stack([(numbers >> b) & 1 for b in range(bits)]).bool()
    return torch.stack([on, ~on], 1).flatten(0, 1)


def _ancestors(node: Node) -> set[Node]:
    found, todo = set(), [node]
    while todo:
        for a in todo.pop().all_input_nodes:
            if a not in found:
                found.add(a)
                todo.append(a)
    return found
