"""The value and derivatives of any field, compiled."""

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from riemann import _jets
from riemann._compiling import comparison, shapes
from riemann._compiling.components import Pattern
from riemann._compiling.graph import Unrecorded, recorded
from riemann._compiling.kernels import Kernel, Tensors
from riemann._compiling.running import Runner
from riemann._compiling.written import Renewed, Written
from riemann._messages.frames import warn
from riemann._modules import unwrapped
from riemann._points import checks
from riemann._precision import full_precision
from riemann._types import Field


class OfField(Kernel):
    """The recorded operations of a field's derivatives: `(z, m)`, all of them side by side."""

    def __init__(self, field: Field, order: int):
        super().__init__(Pattern((), (), ()))
        self.field, self.order = field, order
        self.graphs: dict[Any, tuple[torch.fx.GraphModule, Tensors, torch.Size]] = {}

    def recorded(self, x: Tensor) -> tuple[torch.fx.GraphModule, Tensors, torch.Size]:
        """The graph for points like x, the tensors that it reads, and the shape of the field's value."""
        key = self.prepare(x)
        if key not in self.graphs:
            shape = torch.Size()

            def flat(x: Tensor) -> tuple[Tensor, Tensor]:
                nonlocal shape
                jets = _jets.jets_at(self.field, x, self.order)
                shape = jets[0].shape[1:]
                values = torch.cat([y.reshape((x.shape[0], -1)) for y in jets], -1)
                return values, (values - values).detach().sum(-1)

            graph, tensors, _ = recorded(flat, [x], shapes.RULES)
            self.graphs[key] = graph, Tensors(self.field, tensors), shape
        return self.graphs[key]

    def prepare(self, x: Tensor) -> Any:
        return x.dtype, x.device

    def arguments(self, x: Tensor, *vectors: Tensor) -> list[Tensor]:
        return [x, *self.recorded(x)[1]()]

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        return self.graphs[self.prepare(arguments[0])][0](*arguments)


class CompiledJet(Renewed):
    """`riemann.jet` of a field as a function of points; made by `compile`.

    Attributes:
        field: what was compiled.
        order: the highest derivative.
        route: which way was taken, in words.
    """

    quantity = "jet"
    _dynamic = True  # of what was pickled before there was this option

    def __init__(self, field: Field, dim: int, order: int, backend: str | None, dynamic: bool):
        self.field: Field = field
        self.order: int = order
        self._dim, self._backend, self._dynamic, self._why = dim, backend, dynamic, ""
        self._renew()

    MADE = "_kernel", "_runner", "_compared", "_written", "_why"
    LOCAL = "_kernel", "_runner", "_compared"

    def _make(self) -> None:
        self._kernel = OfField(self.field, self.order)
        self._runner = Runner(self._kernel, self._backend, self._dynamic)
        self._compared: set[Any] = set()
        self._written = Written(unwrapped(self.field), self._kernel.is_fixed)

    def _renew(self) -> None:
        self._why = ""
        self._make()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._make()

    @property
    def route(self) -> str:
        """Which way was taken."""
        return f"eager: {self._why}" if self._why else f"jets, {self._runner.by}"

    def __repr__(self) -> str:
        return f"<riemann.compile('jet', order={self.order}), n = {self._dim}: {self.route}>"

    def _record(self, x: Tensor) -> None:
        """Records for points like x; says why if that cannot be."""
        try:
            self._kernel.recorded(x)
        except Unrecorded as error:
            self._why = str(error)
            warn(f"`compile` runs `jet` of this field eagerly: {self._why}")

    @full_precision()
    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """The value and derivatives at points `(*batch, n)`."""
        checks.check_points(x)
        if x.shape[-1] != self._dim:
            raise ValueError(f"`x` has shape {tuple(x.shape)}, expected (*batch, {self._dim}), as `jet` was compiled")
        self._look()
        if not self._why:
            self._record(x.reshape(-1, self._dim))
        if self._why:
            return _jets.jet(self.field, x, self.order)
        flat = x.reshape(-1, self._dim)
        values, doubt = self._runner(flat)
        if len(flat) and checks.has_values(doubt):
            if bool((where := doubt != 0).any()):  # not finite: as the function has it, with its errors
                exact = self._flat(flat[where])
                values = values.index_put((where.nonzero()[:, 0],), exact)
            self._compare(flat, values)
        return self._parts(values, x.shape[:-1], self._kernel.recorded(x)[2])

    def _flat(self, x: Tensor) -> Tensor:
        jets = _jets.jets_at(self.field, x, self.order)
        return torch.cat([y.reshape((len(x), -1)) for y in jets], -1)

    def _parts(self, values: Tensor, batch: torch.Size, shape: torch.Size) -> tuple[Tensor, ...]:
        """The derivatives of each order."""
        n, size = self._dim, math.prod(shape)
        parts = values.split([size * n**k for k in range(self.order + 1)], -1)
        return tuple(y.reshape((*batch, *shape, *itertools.repeat(n, k))) for k, y in enumerate(parts))

    def _compare(self, x: Tensor, values: Tensor) -> None:
        """Raises unless values are the function's at some points; at the first call of each kind."""
        kind = x.dtype, x.device, x.requires_grad
        if kind in self._compared:
            return
        some = comparison.telling(x.detach(), most=8)
        with torch.no_grad():
            points = x.detach()[some]
            found = comparison.difference(self._flat, points, values.detach()[some], points.new_zeros((len(some), 1)))
        if found is not None:
            point, ours, theirs = found
            raise ArithmeticError(
                f"`jet` as compiled ({self.route}) is {ours} at x = {point}, where `riemann.jet` of the field is "
                f"{theirs}. Use `backend=None`, or the function itself, and please report this field"
            )
        self._compared.add(kind)
        self._written.settle()


def jet(field: Field, dim: int | None, *, backend: str | None, dynamic: bool, order: int = 2) -> CompiledJet:
    """`riemann.jet` of a field, compiled; see `compile`."""
    if not callable(field):
        raise TypeError(f"`metric` is a {type(field).__name__}, expected a field: a callable of one point (n,)")
    if dim is None:
        raise ValueError("`dim` is not known: a field is a callable, so give its dimension, `dim=…`")
    checks.check_count("dim", dim, 1)
    checks.check_count("order", order, 0)
    return CompiledJet(field, dim, order, backend, dynamic)
