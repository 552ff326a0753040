"""A compiled quantity: the code at points, what it cannot be trusted with done by the function, and both compared."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._compiling import comparison
from riemann._compiling.components import Components, Pattern, picked, symmetries
from riemann._compiling.graph import Unrecorded
from riemann._compiling.kernels import Kernel, OfColumns, OfStructure
from riemann._compiling.loops import CERTAIN, Loop
from riemann._compiling.quantities import eagerly, of_jets, order_of, vectors_of
from riemann._compiling.running import Runner
from riemann._compiling.ways import MOST_DIMENSIONS, of_derivatives, way
from riemann._compiling.written import Renewed, Written
from riemann._messages.frames import warn
from riemann._metric import checked_jet, warn_of
from riemann._modules import unwrapped
from riemann._points import checks
from riemann._points.chunks import in_chunks
from riemann._points.faults import Note
from riemann._points.memory import LARGE
from riemann._precision import full_precision, lowered
from riemann._types import Metric

TILE = 2**22  # bytes of results that are written at a time


class Compiled(Renewed):
    """A quantity of a metric as a function of points; made by `compile`.

    Attributes:
        metric: what was compiled.
        quantity: its name.
        route: which way was taken, in words.
    """

    def __init__(
        self,
        metric: Metric,
        quantity: str,
        options: dict[str, Any],
        dim: int,
        whole: bool,
        backend: str | None,
        dynamic: bool,
        digits: bool,
        budget: float,
    ):
        self.metric: Metric = metric
        self.quantity: str = quantity
        self._options, self._dim, self._order = options, dim, order_of(quantity)
        self._independent, self._chosen = not whole, backend
        self._dynamic, self._says_digits, self._budget = dynamic, digits, budget
        self._renew()

    _dynamic, _says_digits, _budget = True, False, 10.0  # of what was pickled before there were these options
    _kernel: Kernel | None
    _pattern: Pattern

    MADE = "_kernel", "_pattern", "_route", "_runner", "_compared", "_repeating", "_written"
    LOCAL = "_runner", "_compared", "_repeating"

    def _renew(self) -> None:
        """Takes the first way that there is; says why, if it is the eager one."""
        args = self.metric, self.quantity, self._options, self._dim, not self._independent, self._budget
        self._kernel, self._route = way(*args)
        if self._kernel is None:
            reason = self._route.partition(": ")[2]
            warn(f"`compile` runs `{self.quantity}` of this metric eagerly, in tiles: {reason}")
        self._pattern = symmetries(*args[1:4]) if self._kernel is None else self._kernel.pattern
        self._make()

    def _make(self) -> None:
        """What is compiled anew where the function arrives."""
        self._runner = None if self._kernel is None else Runner(self._kernel, self._chosen, self._dynamic)
        self._compared: set[tuple[Any, ...]] = set()
        self._repeating: set[tuple[Any, ...]] = set()  # shapes and dtypes of calls that need no checks any more
        self._written = None if self._kernel is None else Written(unwrapped(self.metric), self._kernel.is_fixed)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._make()

    @property
    def options(self) -> dict[str, Any]:
        """Those of the quantity that it was compiled with."""
        return dict(self._options)

    @property
    def route(self) -> str:
        """Which way was taken."""
        return self._route if self._runner is None else f"{self._route}, {self._runner.by}"

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self._options.items())
        return f"<riemann.compile({self.quantity!r}{options}), n = {self._dim}: {self.route}>"

    def __call__(self, x: Tensor, *vectors: Tensor, **named: Tensor) -> Any:
        """The quantity at points `(*batch, n)`, of vectors broadcast against them."""
        if not (vectors or named or lowered()) and (values := self._again(x)) is not None:
            return values
        return self._of_anything(x, vectors, named)

    @full_precision()
    def _of_anything(self, x: Tensor, vectors: tuple[Tensor, ...], named: dict[str, Tensor]) -> Any:
        x, *given = self._checked(x, vectors, named)
        self._look()
        with checks.inside(x):
            y = self._at(x, *given)
        if not given and self._may_repeat(x):
            self._repeating.add((x.shape, x.dtype, x.device, x.layout))
        return y

    def _again(self, x: Any) -> Tensor | None:
        """The quantity at points like some before, with little around the code; None where something is new."""
        if not self._repeating or not isinstance(x, Tensor):
            return None
        if (x.shape, x.dtype, x.device, x.layout) not in self._repeating or checks.carry_derivatives(x):
            return None
        self._look()
        if (runner := self._runner) is None or not (runner.compiles and self._repeating and checks.surely_finite(x)):
            return None
        is_flat = x.ndim == 2  # at few points each operation counts
        values, doubt = runner.run(x if is_flat else x.reshape(-1, self._dim))
        if not doubt.amax().item() <= CERTAIN:
            return None
        return values if is_flat else values.reshape((*x.shape[:-1], *values.shape[1:]))

    def _may_repeat(self, x: Tensor) -> bool:
        """Whether what was just done for points of this shape is code that gives the tensor, at once."""
        return (
            self._runner is not None
            and self._runner.compiles
            and x.numel() > 0
            and not checks.carry_derivatives(x)
            and self._is_compared_code(x.reshape(-1, self._dim))
        )

    def _is_compared_code(self, x: Tensor) -> bool:
        """Whether the code was compared for points like `(z, n)` without gradients, and gives the tensor at once."""
        return (
            not self._independent
            and not self._says_digits
            and (x.dtype, x.device, False, True) in self._compared
            and not self._is_large(x)
        )

    def _at(self, x: Tensor, *given: Tensor) -> Any:
        """The quantity at points and vectors that were checked."""
        batch, flat = x.shape[:-1], x.reshape(-1, self._dim)
        vectors = tuple(v.reshape(-1, self._dim) for v in given)
        try:
            values = self._values(flat, vectors, batch)
        except Unrecorded:  # in this dtype
            values = None
        if values is None:
            values = self._eager(x, *given).reshape((len(flat), *self._pattern.shape))
            values = picked(values, self._pattern) if self._independent else values
        if self._says_digits and checks.has_values(x):
            self._say_digits(x)
        values = values.reshape((*batch, *values.shape[1:]))
        return Components(values, self._pattern) if self._independent else values

    def in_loops(self) -> Callable[..., Any]:
        """The quantity of the metric as it is now, at points and vectors `(z, n)` that a loop has looked at."""
        self._look()
        return Loop(self)

    def _may_loop(self, x: Tensor, vectors: tuple[Tensor, ...]) -> bool:
        """Whether the code for points and vectors of these shapes is compiled, was compared, and gives the tensor."""
        return (
            self._runner is not None
            and not checks.carry_derivatives(x, *vectors)
            and x.shape[-1] == self._dim
            and len(vectors) == len(vectors_of(self.quantity))
            and self._runner.is_compiled(x, *vectors)
            and self._is_compared_code(x)
        )

    def _say_digits(self, x: Tensor) -> None:
        """The warning of the eager function where rounding leaves few digits."""

        def looked_at(x: Tensor) -> Tensor:
            with torch.no_grad():
                _, faults = checked_jet(self.metric, x, max(1, self._order))
            warn_of({said: where for said, where in faults.items() if isinstance(said, Note)})
            return x[..., 0]

        in_chunks(looked_at, x.detach(), rank=4)

    def _checked(self, x: Tensor, vectors: tuple[Tensor, ...], named: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Points and vectors of one batch shape; raises unless there are those that the quantity takes."""
        names = vectors_of(self.quantity)
        given = {**dict(zip(names, vectors, strict=False)), **named}
        if len(vectors) > len(names) or set(given) != set(names) or len(vectors) + len(named) != len(names):
            takes = ", ".join(f"`{name}`" for name in ("x", *names))
            raise TypeError(f"`{self.quantity}` takes {takes}, and got {1 + len(vectors) + len(named)} arguments")
        if names:
            x, *given = checks.broadcast_vectors(x, **{name: given[name] for name in names})
        else:
            checks.check_points(x)
        if x.shape[-1] != self._dim:
            raise ValueError(
                f"`x` has shape {tuple(x.shape)}, expected (*batch, {self._dim}): `{self.quantity}` was compiled for "
                f"dim={self._dim}"
            )
        return (x, *given)

    def _values(self, x: Tensor, vectors: tuple[Tensor, ...], batch: torch.Size) -> Tensor | None:
        """The values at points `(z, n)` by the code; None where there is none."""
        if self._runner is None:
            return None
        values, doubt = self._run(x, vectors)
        if len(x) and checks.has_values(doubt):
            if bool((doubtful := ~(doubt <= CERTAIN)).any()):
                values = self._mended(x, vectors, values, doubtful.nonzero()[:, 0], batch)
            if not torch.compiler.is_compiling() and not self._compare(x, vectors, values):
                return self._values(x, vectors, batch)
        return values

    def _run(self, x: Tensor, vectors: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The values and doubts at points `(z, n)`; many in tiles, inside transforms and for gradients all at once."""
        assert self._runner is not None
        if not self._is_large(x) or checks.carry_derivatives(x, *vectors):
            return self._runner(x, *vectors)
        return self._runner.in_tiles(max(2, TILE // self._bytes(x)), x, *vectors)

    def _bytes(self, x: Tensor) -> int:
        """Of the result, a point."""
        assert self._kernel is not None
        pattern = self._kernel.pattern
        return x.element_size() * (len(pattern.first) if self._independent else len(pattern.places))

    def _is_large(self, x: Tensor) -> bool:
        """Whether points are better done in tiles."""
        return len(x) * self._bytes(x) > LARGE

    def _eager(self, x: Tensor, *vectors: Tensor) -> Tensor:
        return eagerly(self.quantity, self.metric, x, vectors, self._options)

    def _compare(self, x: Tensor, vectors: tuple[Tensor, ...], values: Tensor) -> bool:
        """Whether values are the function's, at some points; at the first call of each kind.

        Where an expression loses digits, there or nearer to 0, the derivatives of the metric take its place: False,
        once. Otherwise it raises.
        """
        assert self._runner is not None
        kind = x.dtype, x.device, x.requires_grad, self._runner.compiles
        if kind in self._compared:
            return True
        numbers = max(1, len(self._pattern.places))
        where = comparison.telling(x.detach(), most=max(1, min(8, comparison.MOST // numbers)))
        some, given = x.detach()[where], tuple(v.detach()[where] for v in vectors)
        found = self._difference(self._whole(values.detach()[where]), some, given)
        doubtful = isinstance(self._kernel, OfColumns) and (found is not None or self._loses_digits(self._kernel, some))
        if doubtful and self._by_derivatives(some, given):
            return False
        if found is not None:
            point, ours, theirs = found
            raise ArithmeticError(
                f"`{self.quantity}` as compiled ({self.route}) is {ours} at x = {point}, where "
                f"`riemann.{self.quantity}` of the metric is {theirs}. {self._remedy(some, given)}"
            )
        self._compared.add(kind)
        self._settle()
        return True

    def _difference(
        self, values: Tensor, x: Tensor, vectors: tuple[Tensor, ...], roundings: float = 1.0
    ) -> tuple[list[float], float, float] | None:
        """Where values `(z, m)` are not the function's, beyond rounding."""

        def function(x: Tensor) -> Tensor:
            if isinstance(self._kernel, OfStructure) and self._dim > MOST_DIMENSIONS:  # else minutes a point
                return self._plainly(self._kernel, x, vectors)[0]
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore", UserWarning)
                return self._eager(x, *vectors).reshape((len(x), -1))

        return comparison.difference(function, x, values, self._noise(x, vectors), roundings)

    def _loses_digits(self, kernel: Kernel, x: Tensor) -> bool:
        """Whether code has less than half the digits at points nearer to 0 than the first; not of vectors."""
        if vectors_of(self.quantity):
            return False
        near = comparison.nearer(x[:1])
        values, doubt = self._plainly(kernel, near, ())
        trusted = (doubt <= CERTAIN).nonzero()[:, 0]
        half = torch.finfo(x.dtype).eps ** -0.5 / comparison.ALLOWED
        return len(trusted) > 0 and self._difference(values[trusted], near[trusted], (), half) is not None

    def _plainly(self, kernel: Kernel, x: Tensor, vectors: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The entries of the tensors by code that is not compiled, `(z, m)`, and the doubts."""
        with torch.no_grad():
            kernel.prepare(x)
            values, doubt = kernel.shaped(*kernel(*kernel.arguments(x, *vectors)))
        return self._whole(values, kernel.pattern), doubt

    def _settle(self) -> None:
        """After calls of the metric: what it changes itself, as a counter, is no change."""
        if self._written is not None:
            self._written.settle()

    def _by_derivatives(self, x: Tensor, vectors: tuple[Tensor, ...]) -> bool:
        """Takes code of the metric's derivatives instead of the quantity's, if some is right at points."""
        args = self.metric, self.quantity, self._options, self._dim, not self._independent
        for kernel, route in of_derivatives(*args, why="its expression loses digits"):
            values, _ = self._plainly(kernel, x, vectors)
            if self._difference(values, x, vectors) is None and not self._loses_digits(kernel, x):
                self._kernel, self._pattern, self._route = kernel, kernel.pattern, route
                self._make()
                return True
        return False

    def _whole(self, values: Tensor, pattern: Pattern | None = None) -> Tensor:
        """The entries of the tensors, `(z, m)`."""
        pattern = pattern or self._pattern
        return (Components(values, pattern).full() if self._independent else values).reshape((len(values), -1))

    def _noise(self, x: Tensor, vectors: tuple[Tensor, ...]) -> Tensor:
        """What the last bits of g and its derivatives change the quantity by, `(z, 1)`; 0 where they are many."""
        if len(x) * self._dim ** (2 + self._order) > comparison.MOST:
            return x.new_zeros((len(x), 1))
        with torch.no_grad():
            jets, _ = checked_jet(self.metric, x, self._order)

            def quantity(jets: tuple[Tensor, ...]) -> Tensor:
                return of_jets(self.quantity, x, jets, vectors, self._options).reshape((len(x), -1))

            return comparison.spread([quantity(tuple(map(comparison.beside, jets, [k] * len(jets)))) for k in range(4)])

    def _remedy(self, x: Tensor, vectors: tuple[Tensor, ...]) -> str:
        """Whose fault it is, and what to do."""
        if self._runner is not None and self._runner.compiles:
            values, _ = self._plainly(self._runner.kernel, x, vectors)
            if self._difference(values, x, vectors) is None:
                return "torch's compiler is at fault, for the same code is right without it: use `backend=None`"
        return "Use the function itself, and please report this metric"

    def _mended(
        self, x: Tensor, vectors: tuple[Tensor, ...], values: Tensor, where: Tensor, batch: torch.Size
    ) -> Tensor:
        """The values with those at some points computed by the generic route, and its warning if there is no metric."""
        some, given = x[where], tuple(v[where] for v in vectors)
        jets, faults = checked_jet(self.metric, some, self._order)
        self._settle()
        exact = of_jets(self.quantity, some, jets, given, self._options).to(values.dtype)
        if self._independent:
            exact = picked(exact, self._pattern)
        if self.quantity == "sectional_curvature" and bool(exact.detach().isnan().any()):
            self._eager(x.reshape((*batch, -1)), *(v.reshape((*batch, -1)) for v in vectors))  # raises if no plane is
        if self.quantity != "geodesic_acceleration":  # of which solvers try such points
            nowhere = torch.zeros_like(x[:, 0], dtype=torch.bool)
            warn_of({name: nowhere.index_put((where,), mask).reshape(batch) for name, mask in faults.items()})
        return values.index_put((where,), exact)
