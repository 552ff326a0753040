"""What is compiled: points, vectors and the numbers of a metric, to a quantity and the doubt of each point."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from riemann import _jets
from riemann._compiling import shapes
from riemann._compiling.components import Pattern, picked
from riemann._compiling.graph import Unrecorded, recorded
from riemann._compiling.quantities import of_each, of_jets, order_of, rounding, suspected, vectors_of
from riemann._metric import jets_and_each
from riemann._open import dispatched
from riemann._types import Metric

if TYPE_CHECKING:
    from riemann._compiling.derive import Code, JetCode


@functools.singledispatch
def closed_form(metric: Any, quantity: str, **options: Any) -> Callable[[Tensor], Tensor] | None:
    """The quantity in plain tensor operations, where the type of the metric brings them."""
    return None


Plain = Callable[[Tensor], Tensor]
"""A quantity in plain tensor operations, points `(z, n)` to `(z, …)`."""


class Kernel:
    """Arguments to values and the doubt of each point; and which entries of the values are independent.

    Where the doubt is not small, or NaN, the values need not be those of the quantity.
    """

    def __init__(self, pattern: Pattern):
        self.pattern = pattern

    by_columns = False  # whether coordinates are arguments of their own

    def leading(self, x: Tensor, *vectors: Tensor) -> int:
        """How many of the arguments, the first ones, lead with the points."""
        return len(vectors) + (x.shape[-1] if self.by_columns else 1)

    def knows_all(self, x: Tensor) -> bool:
        """Whether all that the code reads, and could ask for gradients, is among its arguments."""
        return True

    def is_fixed(self, a: Tensor) -> bool:
        """Whether the numbers in a tensor of the metric are in the code, and no argument."""
        return False

    def prepare(self, x: Tensor) -> Any:
        """A key of the code for points like x: other code, another key."""
        return None

    def weight(self, x: Tensor) -> int:
        """The bytes of the largest tensor in between, a point."""
        return 0

    def arguments(self, x: Tensor, *vectors: Tensor) -> list[Tensor]:
        """What the code takes at points and vectors `(z, n)`."""
        raise NotImplementedError

    def kept(self, x: Tensor, *vectors: Tensor) -> "tuple[list[Tensor], list[Tensor]] | None":
        """Memory for points and vectors like these, and the arguments that lie there; None if there is none."""
        return None

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def shaped(self, values: Tensor, doubt: Tensor) -> tuple[Tensor, Tensor]:
        """The values with points first."""
        return values, doubt


class OfColumns(Kernel):
    """Generated code: columns of coordinates and scalars, to rows of values."""

    def __init__(self, code: "Code", full: bool):
        super().__init__(Pattern(code.shape, code.places, code.signs))
        self.code, self.full = code, full

    def is_fixed(self, a: Tensor) -> bool:
        return not _is_scalar(self.code, a)

    def arguments(self, x: Tensor, *vectors: Tensor) -> list[Tensor]:
        columns = [column for a in (x, *vectors) for column in _columns(a)]
        return [*columns, *(s.to(x) for s in self.code.scalars())]

    def kept(self, x: Tensor, *vectors: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        own = [_side_by_side(a) for a in (x, *vectors)]
        columns = [column for a in own for column in a.unsqueeze(-1).unbind(0)]
        return [a.mT for a in own], [*columns, *(s.to(x) for s in self.code.scalars())]

    def leading(self, x: Tensor, *vectors: Tensor) -> int:
        return x.shape[-1] * (1 + len(vectors))

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        *values, doubt = self.code.columns(*arguments)
        if self.full:
            zero = torch.zeros_like(doubt)
            signed = {0: lambda p: zero, 1: lambda p: values[p], -1: lambda p: -values[p]}
            values = [signed[s](p) for p, s in zip(self.pattern.places, self.pattern.signs, strict=True)]
        return torch.stack(values) if values else doubt.new_zeros((0, *doubt.shape)), doubt

    def shaped(self, values: Tensor, doubt: Tensor) -> tuple[Tensor, Tensor]:
        values = values.squeeze(-1).movedim(0, -1)
        return values.reshape((len(doubt), *self.pattern.shape)) if self.full else values, doubt.squeeze(-1)


class OfPoints(Kernel):
    """A closed form: the operations on points that it records, once for each dtype and device.

    Tensors that the metric reads are arguments, as in `OfGraph`. A form that cannot be recorded is called as it is.
    """

    def __init__(
        self,
        metric: Metric,
        quantity: str,
        options: dict[str, Any],
        pattern: Pattern,
        full: bool,
        owner: Metric | None = None,
    ):
        super().__init__(pattern)
        self.metric, self.quantity, self.options, self.full = metric, quantity, options, full
        self.owner = metric if owner is None else owner  # whose tensors are read by name
        self.plain = dispatched(closed_form, metric)(metric, quantity, **options)
        self.graphs: dict[Any, tuple[torch.fx.GraphModule, Tensors] | None] = {}

    def __reduce__(self) -> Any:  # functions inside functions are not pickled
        return OfPoints, (self.metric, self.quantity, self.options, self.pattern, self.full, self.owner)

    def recorded(self, x: Tensor) -> "tuple[torch.fx.GraphModule, Tensors] | None":
        """The graph for points like x, and the tensors that it reads; None if there is none."""
        key = self.prepare(x)
        if key not in self.graphs:
            plain = self.form(x)
            try:
                graph, tensors, _ = recorded(functools.partial(self._values, plain), [x], {})
                self.graphs[key] = graph, Tensors(self.owner, tensors)
            except Unrecorded:
                self.graphs[key] = None
        return self.graphs[key]

    def form(self, x: Tensor) -> Plain:
        """The closed form for points like x."""
        assert self.plain is not None
        return self.plain

    def _values(self, plain: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
        values = plain(x)
        values = values if self.full else picked(values, self.pattern)
        flat = _jets.detached(values).reshape((x.shape[0], -1))
        return values, (flat - flat).sum(-1)  # NaN where a value is not finite

    def knows_all(self, x: Tensor) -> bool:
        return self.recorded(x) is not None

    def prepare(self, x: Tensor) -> Any:
        return x.dtype, x.device

    def arguments(self, x: Tensor, *vectors: Tensor) -> list[Tensor]:
        graph = self.recorded(x)
        return [_laid_out(x), *(graph[1]() if graph else ())]

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        graph = self.graphs[self.prepare(arguments[0])]
        return graph[0](*arguments) if graph else self._values(self.form(arguments[0]), *arguments)


class OfStructure(OfPoints):
    """The closed form of the metric of known type that a metric is equal to; found for each dtype and device."""

    def __init__(
        self,
        metric: Metric,
        quantity: str,
        options: dict[str, Any],
        pattern: Pattern,
        full: bool,
        same: Metric,
        at: tuple[torch.dtype, torch.device],
    ):
        super().__init__(same, quantity, options, pattern, full, metric)
        self.at, self.forms = at, {at: self.plain}

    def __reduce__(self) -> Any:
        return OfStructure, (self.owner, self.quantity, self.options, self.pattern, self.full, self.metric, self.at)

    def is_fixed(self, a: Tensor) -> bool:
        return not isinstance(a, torch.nn.Parameter) and not a.requires_grad

    def form(self, x: Tensor) -> Plain:
        key = self.prepare(x)
        if key not in self.forms:
            from riemann._compiling.derive import point

            same = structure_at(self.owner, point(self.owner, x.shape[-1]).to(x).unsqueeze(0))
            self.forms[key] = (
                None if same is None else dispatched(closed_form, same)(same, self.quantity, **self.options)
            )
        if (plain := self.forms[key]) is None:
            raise Unrecorded(f"no structure is found in {x.dtype}")
        return plain


def structure_at(metric: Metric, x: Tensor) -> Metric | None:
    """The metric of a named type that a metric is found to be equal to, at points `(k, n)`."""
    from riemann._structure.found import found

    return found(metric, x.shape[-1], x)[0]


def _is_scalar(code: "Code | JetCode", a: Tensor) -> bool:
    """Whether the numbers in a tensor are arguments of generated code."""
    tensors = getattr(code.scalars, "tensors", tuple)  # of what has no parameters it is `list`
    return any(a is t for t in tensors())


class OfDerivatives(Kernel):
    """Generated code of the metric's derivatives, and the formula of the quantity."""

    def __init__(self, code: "JetCode", quantity: str, options: dict[str, Any], pattern: Pattern, full: bool):
        super().__init__(pattern)
        self.code, self.quantity, self.options, self.full = code, quantity, options, full
        self.vectors = len(vectors_of(quantity))

    by_columns = True

    def is_fixed(self, a: Tensor) -> bool:
        return not _is_scalar(self.code, a)

    def arguments(self, x: Tensor, *vectors: Tensor) -> list[Tensor]:
        return [*map(_laid_out, vectors), *_columns(x), *(s.to(x) for s in self.code.scalars())]

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        vectors, arguments = arguments[: self.vectors], arguments[self.vectors :]
        jets, guard = self.code.jets(*arguments)
        x = torch.cat(arguments[: jets[0].shape[-1]], -1)
        values = of_jets(self.quantity, x, jets, vectors, self.options)
        values = values if self.full else picked(values, self.pattern)
        flat = _jets.detached(values).reshape((x.shape[0], -1))
        jets = tuple(map(_jets.detached, jets))
        doubt = guard + (flat - flat).sum(-1) + (jets[0] - jets[0]).sum((-1, -2))
        return values, doubt + rounding(_jets.detached(x), jets)


class OfGraph(Kernel):
    """The recorded operations of the metric's derivatives, by the arithmetic of jets, and of the formula.

    They are recorded once for each dtype and device. Tensors of the metric are arguments; those that a module has now
    under the names of those that it had.
    """

    def __init__(self, metric: Metric, quantity: str, options: dict[str, Any], pattern: Pattern, full: bool):
        super().__init__(pattern)
        self.metric, self.quantity, self.options, self.full = metric, quantity, options, full
        self.order = order_of(quantity)
        self.graphs: dict[Any, tuple[torch.fx.GraphModule, Tensors, int]] = {}

    def __reduce__(self) -> Any:  # recorded anew where it arrives, with its own tensors
        return OfGraph, (self.metric, self.quantity, self.options, self.pattern, self.full)

    def recorded(self, x: Tensor) -> "tuple[torch.fx.GraphModule, Tensors, int]":
        """The graph for points like x, the tensors that it reads, and the bytes in between, a point."""
        key = self.prepare(x)
        if key not in self.graphs:
            like = [x] * (1 + len(vectors_of(self.quantity)))
            try:
                found = recorded(functools.partial(self._values, self.metric), like, shapes.RULES)
            except Unrecorded:  # what the type brings for its derivatives: the generic way may be
                found = recorded(functools.partial(self._values, lambda p: self.metric(p)), like, shapes.RULES)
            graph, tensors, weight = found
            self.graphs[key] = graph, Tensors(self.metric, tensors), weight * x.element_size()
        return self.graphs[key]

    def operations(self, x: Tensor) -> int:
        """How many the graph has."""
        return sum(node.op == "call_function" for node in self.recorded(x)[0].graph.nodes)

    def _values(self, metric: Metric, x: Tensor, *vectors: Tensor) -> tuple[Tensor, Tensor]:
        jets, each = jets_and_each(metric, x, self.order)
        values = of_each(self.quantity, x, jets, each, vectors, self.options)
        values = values if self.full else picked(values, self.pattern)
        flat, jets = values.detach().reshape((x.shape[0], -1)), tuple(y.detach() for y in jets)
        return values, (flat - flat).sum(-1) + rounding(x.detach(), jets) + suspected(each.detach(), self.order)

    def prepare(self, x: Tensor) -> Any:
        return x.dtype, x.device

    def weight(self, x: Tensor) -> int:
        return self.recorded(x)[2]

    def arguments(self, x: Tensor, *vectors: Tensor) -> list[Tensor]:
        return [*map(_laid_out, (x, *vectors)), *self.recorded(x)[1]()]

    def kept(self, x: Tensor, *vectors: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        own = [a.clone(memory_format=torch.contiguous_format) for a in (x, *vectors)]
        return own, [*own, *self.recorded(x)[1]()]

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        return self.graphs[self.prepare(arguments[0])][0](*arguments)


def _columns(x: Tensor) -> list[Tensor]:
    """The coordinates of points, `(z, 1)` each, side by side: a compiler reads them as they lie."""
    return list(_side_by_side(x).unsqueeze(-1).unbind(0))


def _side_by_side(x: Tensor) -> Tensor:
    """Rows of coordinates, in memory of their own: what shares it with other arguments is compiled anew each time."""
    return x.mT.clone(memory_format=torch.contiguous_format)


def _laid_out(a: Tensor) -> Tensor:
    """The same numbers in the one layout that is compiled for: another one would be compiled anew."""
    return a.clone(memory_format=torch.contiguous_format) if a.storage_offset() else a.contiguous()


class Tensors:
    """Tensors that a metric reads, as they are now: those of a module by name, for `module.double()` makes others.

    Raises:
        ValueError: one is not of the shape or the dtype that it had when it was recorded.
    """

    def __init__(self, metric: Metric, tensors: list[Tensor]):
        self.metric, self.tensors, self.kinds = metric, tensors, [(t.shape, t.dtype) for t in tensors]
        self.owners: list[tuple[str, str] | None] = [None] * len(tensors)
        if isinstance(metric, torch.nn.Module):
            named = {**dict(metric.named_parameters()), **dict(metric.named_buffers())}
            names = {id(t): name for name, t in named.items()}
            for k, t in enumerate(tensors):
                if (name := names.get(id(t))) is not None:
                    path, _, last = name.rpartition(".")
                    self.owners[k] = path, last

    def __call__(self) -> list[Tensor]:
        found = [
            t if owner is None else self._named(*owner) for t, owner in zip(self.tensors, self.owners, strict=True)
        ]
        if (kinds := [(t.shape, t.dtype) for t in found]) != self.kinds:
            self._refuse(kinds)
        return found

    def _named(self, path: str, name: str) -> Tensor:
        return getattr(self.metric.get_submodule(path) if path else self.metric, name)

    def _refuse(self, kinds: list[tuple[torch.Size, torch.dtype]]) -> None:
        """Says of which tensor the shape or the dtype has changed."""
        k = next(k for k, (had, has) in enumerate(zip(self.kinds, kinds, strict=True)) if had != has)
        if (owner := self.owners[k]) is not None:
            had = f"the module had a parameter `{'.'.join(filter(None, owner))}`"
        else:
            had = "the metric read a tensor"
        other = self.kinds[k][1] != kinds[k][1]
        was, now = (f"{tuple(shape)}" + f" of {dtype}" * other for shape, dtype in (self.kinds[k], kinds[k]))
        raise ValueError(f"{had} {was} when it was compiled, and it is {now} now")
