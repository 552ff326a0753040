"""`compile`: one quantity of a metric as one compiled graph, by a closed form or by derivation; else in tiles."""

import functools
import itertools
import types
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from riemann import _curvature, _jets, formulas
from riemann._compiling import comparison
from riemann._curvature import QUANTITIES, LocalGeometry
from riemann._indices import check_positions
from riemann._messages.frames import warn
from riemann._metric import check_metric_callable, checked_jet, warn_of
from riemann._modules import unwrapped
from riemann._open import dispatched
from riemann._points.checks import carry_derivatives, check_count, check_points, has_values
from riemann._points.chunks import in_chunks
from riemann._points.memory import LARGE
from riemann._precision import full_precision
from riemann._rank import ROUNDING
from riemann._types import Metric

if TYPE_CHECKING:
    from riemann._compiling.derive import Code, JetCode

TILE = 2**22  # bytes of results that are written at a time
Plain = Callable[[Tensor], Tensor]
"""A quantity in plain tensor operations, points `(z, n)` to `(z, …)`: what a compiler takes."""


def compile(
    metric: Metric,
    quantity: str,
    *,
    dim: int | None = None,
    components: str = "all",
    backend: str | None = "inductor",
    budget: float = 10.0,
    **options: Any,
) -> "Compiled":
    r"""One quantity of a metric as one compiled graph, for many calls on many points.

    Ways are tried in this order; `.route` of the result says which was taken, and why.

    1. Closed form: the metric's type brings the quantity in plain tensor operations (`metrics.MLPCholesky`; types of
       yours by `compile.register`).
    2. Symbolic: the metric is traced into expressions, the quantity is derived from them exactly and written out as
       torch code: no differentiation is left. Where its expression would be long, the derivatives of g are written
       out instead, and the quantity is computed from them.
    3. Eager: the function of the same name, in tiles. A warning says why.

    Code is given to `torch.compile`, once for all sizes of the batch. Where it cannot compile (no C++ compiler), a
    warning says so, and the same code runs eagerly.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`. Numbers in it are compiled as they are now, floats as the
            rational of their shortest decimal (see `bridge.to_symbolic`). Parameters and buffers of a module stay free:
            later values are used, and results are differentiable to them.
        quantity: name of a function of metric and points: `"christoffel"`, `"riemann_tensor"`, ….
        dim: n; may be left out where the metric has a `dim`.
        components: `"all"`, or `"independent"` for a record of those that are not 0 and differ by more than a sign.
        backend: of `torch.compile`; None leaves the code as it is.
        budget: seconds that each step of a derivation may take.
        **options: of the function, such as `indices="llll"` or `kind=1`.

    Returns:
        A function of points `(*batch, n)` to what the function named returns, or to `Components`. On the symbolic way
        the points are the last axis in memory, which is the fastest to write; `.contiguous()` makes it the first.

    Raises:
        ArithmeticError: in the first call in each dtype and on each device, if the values are not those of the function
            at some of the points, beyond rounding; both are named.
        ValueError: an unknown quantity or value of an option, `dim` missing; as `at`, no metric in `dim` dimensions.
        TypeError: an option that the function does not have.

    Warns:
        UserWarning: once, if the eager way is taken, or nothing compiles.

    Note:
        The first call compiles, for each dtype and with gradients anew: 5 to 30 seconds. Points where the code gives no
        finite number, g is singular to rounding, or the expressions need not be what the metric computes (at the edge
        of a domain, in `torch.where(x == 0, …)`) are given to the generic function: its value, or NaN and a warning.
        What is returned can be pickled and copied as far as the metric can; it is compiled anew where it arrives.
        Gradients flow once; for second derivatives use `backend=None`. Inside `vmap` and other transforms the code runs
        uncompiled.

    Example:
        >>> def sphere(x):
        ...     return torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
        >>> ricci = compile(sphere, "ricci_tensor", dim=2, backend=None)
        >>> ricci(torch.tensor([[0.7, 0.2], [1.1, 3.0]])).shape
        torch.Size([2, 2, 2])
        >>> print(ricci.route)
        symbolic, 7 operations, as plain torch
    """
    check_metric_callable(metric)
    order = _checked(quantity, options, components)
    dim = getattr(unwrapped(metric), "dim", None) if dim is None else dim
    if dim is None:
        raise ValueError("`dim` is not known: a metric is a callable, so give its dimension, `dim=…`")
    check_count("dim", dim, 1)
    if not isinstance(budget, int | float) or not budget > 0:
        raise ValueError(f"`budget` is {budget!r}, expected seconds, more than 0")
    whole = components == "all"
    pattern = _symmetries(quantity, options, dim)
    kernel = _OfPoints(unwrapped(metric), quantity, options, pattern, whole)
    if kernel.plain is not None:
        route = "closed form"
    else:
        from riemann._compiling import derive

        kernel = None
        try:
            code = derive.derive(metric, quantity, options, dim, order, budget)
            if isinstance(code, derive.Code):
                kernel, route = _OfColumns(code, whole), f"symbolic, {code.operations} operations"
            else:
                kernel = _OfJets(code, quantity, options, pattern, whole)
                route = f"symbolic derivatives of the metric, {code.operations} operations ({code.why})"
        except derive.NotDerived as why:
            route = f"eager, in tiles: {why}"
            warn(f"`compile` runs `{quantity}` of this metric eagerly, in tiles: {why}")
    pattern = pattern if kernel is None else kernel.pattern
    return Compiled(metric, quantity, options, dim, order, pattern, whole, backend, kernel, route)


@functools.singledispatch
def closed_form(metric: Any, quantity: str, **options: Any) -> Plain | None:
    """The quantity in plain tensor operations, where the type of the metric brings them."""
    return None


compile.register, compile.closed_form = closed_form.register, closed_form  # type: ignore[attr-defined]


class Pattern(NamedTuple):
    """Which entries of a tensor at a point are independent, and how the others follow.

    Attributes:
        shape: of the tensor.
        places: which of the m independent ones stands at each entry of the flat tensor; m itself stands for 0.
        signs: the sign with which it stands there.
    """

    shape: tuple[int, ...]
    places: tuple[int, ...]
    signs: tuple[int, ...]

    @property
    def first(self) -> list[int]:
        """Where each stands first in the flat tensor."""
        count = 1 + max((p for p, s in zip(self.places, self.signs, strict=True) if s), default=-1)
        return [self.places.index(p) for p in range(count)]


class Components(NamedTuple):
    """The components of a tensor that are not 0 and differ by more than a sign, as far as can be seen.

    Attributes:
        values: `(*batch, m)`.
        pattern: how the tensor is made of them.
    """

    values: Tensor
    pattern: Pattern

    @property
    def index(self) -> list[tuple[int, ...]]:
        """Where each of the m stands first in the tensor."""
        entries = list(itertools.product(*map(range, self.pattern.shape)))
        return [entries[k] for k in self.pattern.first]

    def full(self) -> Tensor:
        """The tensor, `(*batch, n, …, n)`."""
        y = torch.cat([self.values, self.values.new_zeros((*self.values.shape[:-1], 1))], -1)
        places = torch.tensor(self.pattern.places, device=y.device)
        signs = torch.tensor(self.pattern.signs, dtype=y.dtype, device=y.device)
        return (y.index_select(-1, places) * signs).reshape((*y.shape[:-1], *self.pattern.shape))


class Compiled:
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
        order: int,
        pattern: Pattern,
        whole: bool,
        backend: str | None,
        kernel: "_Kernel | None",
        route: str,
    ):
        self.metric: Metric = metric
        self.quantity: str = quantity
        self._options, self._dim, self._order = options, dim, order
        self._pattern, self._independent = pattern, not whole
        self._kernel, self._route, self._chosen = kernel, route, backend
        self._make()

    def _make(self) -> None:
        """What is compiled anew where the function arrives."""
        kernel, backend = self._kernel, self._chosen
        self._compiled = None if kernel is None or backend is None else _torch_compiled(kernel, backend)
        self._backend = "as plain torch" if self._compiled is None else f"by {backend}"
        self._compared: set[tuple[Any, ...]] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_compiled", "_backend", "_compared")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._make()

    @property
    def route(self) -> str:
        """Which way was taken."""
        return self._route if self._kernel is None else f"{self._route}, {self._backend}"

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self._options.items())
        return f"<riemann.compile({self.quantity!r}{options}), n = {self._dim}: {self.route}>"

    @full_precision()
    def __call__(self, x: Tensor) -> Any:
        """The quantity at points `(*batch, n)`."""
        check_points(x)
        if x.shape[-1] != self._dim:
            raise ValueError(
                f"`x` has shape {tuple(x.shape)}, expected (*batch, {self._dim}): `{self.quantity}` was compiled for "
                f"dim={self._dim}"
            )
        batch = x.shape[:-1]
        flat = x.reshape(-1, self._dim)
        if self._kernel is None:
            values = self._eager(x).reshape((len(flat), *self._pattern.shape))
            values = picked(values, self._pattern) if self._independent else values
        else:
            values, doubt = self._run(flat)
            if len(flat) and has_values(doubt):
                if bool((doubtful := ~(doubt <= 0.25)).any()):
                    values = self._mended(flat, values, doubtful.nonzero()[:, 0], batch)
                if not torch.compiler.is_compiling() and not self._compare(flat, values):
                    return self(x)
        values = values.reshape((*batch, *values.shape[1:]))
        return Components(values, self._pattern) if self._independent else values

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The values and doubts at points `(z, n)`; large results in tiles, so that what is between stays in the cache.

        Inside transforms and for gradients, all at once.
        """
        assert self._kernel is not None
        pattern = self._kernel.pattern
        size = x.element_size() * (len(pattern.first) if self._independent else len(pattern.places))
        if len(x) * size <= LARGE or carry_derivatives(x):
            return self._at_once(x)
        return in_chunks(self._at_once, x, rank=2, chunk_size=max(2, TILE // size))

    def _at_once(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The kernel at points `(z, n)`, compiled where that can be."""
        kernel: Any = self._kernel
        arguments = kernel.arguments(x)
        if self._compiled is None or x.shape[0] < 2 or not has_values(x):  # sizes 0 and 1 are graphs of their own
            return kernel.shaped(*kernel(*arguments))
        try:
            with warnings.catch_warnings():  # torch's own, while it compiles: not for who calls this
                warnings.filterwarnings("ignore", category=DeprecationWarning)
                warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor")
                return kernel.shaped(*self._compiled(*arguments))
        except Exception as error:
            result = kernel.shaped(*kernel(*arguments))  # raises where the code is at fault
            self._compiled, self._backend = None, "as plain torch, for nothing compiles here"
            reason = str(error).strip().split("\n")[0]
            warn(
                f"`compile`: torch.compile failed ({type(error).__name__}: {reason}), so the same code "
                "runs eagerly. Is a C++ compiler installed?"
            )
            return result

    def _eager(self, x: Tensor) -> Tensor:
        return getattr(_curvature, self.quantity)(self.metric, x, **self._options)

    def _compare(self, x: Tensor, values: Tensor) -> bool:
        """Whether values are the function's, at some points; at the first call of each kind.

        Where an expression loses digits the derivatives of the metric take its place: False, once. Else it raises.
        """
        kind = x.dtype, x.device, x.requires_grad, self._compiled is not None and len(x) > 1
        if kind in self._compared:
            return True
        numbers = max(1, len(self._pattern.places))
        where = comparison.telling(x.detach(), most=max(1, min(8, comparison.MOST // numbers)))
        some = x.detach()[where]

        def function(x: Tensor) -> Tensor:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore", UserWarning)
                return self._eager(x).reshape((len(x), -1))

        noise = self._noise(some)
        if (found := comparison.difference(function, some, self._whole(values.detach()[where]), noise)) is not None:
            point, ours, theirs = found
            if isinstance(self._kernel, _OfColumns) and self._by_derivatives(some, function, noise):
                return False
            raise ArithmeticError(
                f"`{self.quantity}` as compiled ({self.route}) is {ours} at x = {point}, where "
                f"`riemann.{self.quantity}` of the metric is {theirs}. {self._remedy(some, function, noise)}"
            )
        self._compared.add(kind)
        return True

    def _by_derivatives(self, x: Tensor, function: Plain, noise: Tensor) -> bool:
        """Takes the code of the metric's derivatives instead of the quantity's, if that is right at points."""
        from riemann._compiling import derive

        unfit, args = "its expression loses digits", (self.quantity, self._options, self._dim, self._order)
        try:
            code = derive.derive(self.metric, *args, budget=60.0, unfit=unfit)
        except derive.NotDerived:
            return False
        pattern = _symmetries(self.quantity, self._options, self._dim)
        kernel = _OfJets(code, self.quantity, self._options, pattern, not self._independent)
        with torch.no_grad():
            values = kernel.shaped(*kernel(*kernel.arguments(x)))[0]
        values = Components(values, pattern).full() if self._independent else values
        if comparison.difference(function, x, values.reshape((len(x), -1)), noise) is not None:
            return False
        self._kernel, self._pattern = kernel, pattern
        self._route = f"symbolic derivatives of the metric, {code.operations} operations ({code.why})"
        self._make()
        return True

    def _whole(self, values: Tensor) -> Tensor:
        """The entries of the tensors, `(z, m)`."""
        return (Components(values, self._pattern).full() if self._independent else values).reshape((len(values), -1))

    def _noise(self, x: Tensor) -> Tensor:
        """What the last bits of g and its derivatives change the quantity by, `(z, 1)`; 0 where they are many."""
        if len(x) * self._dim ** (2 + self._order) > comparison.MOST:
            return x.new_zeros((len(x), 1))
        with torch.no_grad():
            jets, _ = checked_jet(self.metric, x, self._order)

            def quantity(jets: tuple[Tensor, ...]) -> Tensor:
                return getattr(LocalGeometry(x, jets), self.quantity)(**self._options).reshape((len(x), -1))

            return comparison.spread([quantity(tuple(map(comparison.beside, jets, [k] * len(jets)))) for k in range(4)])

    def _remedy(self, x: Tensor, function: Plain, noise: Tensor) -> str:
        """Whose fault it is, and what to do."""
        if self._compiled is not None and self._kernel is not None:
            with torch.no_grad():
                plain = self._kernel.shaped(*self._kernel(*self._kernel.arguments(x)))[0]
            if comparison.difference(function, x, self._whole(plain), noise) is None:
                return "torch's compiler is at fault, for the same code is right without it: use `backend=None`"
        return "Use the function itself, and please report this metric"

    def _mended(self, x: Tensor, values: Tensor, where: Tensor, batch: torch.Size) -> Tensor:
        """The values with those at some points computed by the generic route, and its warning if there is no metric."""
        some = x[where]
        jets, faults = checked_jet(self.metric, some, self._order)
        here = LocalGeometry(some, jets)
        exact = getattr(here, self.quantity)(**self._options).to(values.dtype)
        if self._independent:
            exact = picked(exact, self._pattern)
        nowhere = torch.zeros_like(x[:, 0], dtype=torch.bool)
        warn_of({name: nowhere.index_put((where,), mask).reshape(batch) for name, mask in faults.items()})
        return values.index_put((where,), exact)


# ---------------------------------------------------------------------------------------------------------- kernels


def picked(full: Tensor, pattern: Pattern) -> Tensor:
    """The independent ones of tensors `(z, n, …, n)`: `(z, m)`."""
    first = torch.tensor(pattern.first, dtype=torch.long, device=full.device)
    return full.reshape((full.shape[0], -1)).index_select(-1, first)


class _Kernel:
    """What is compiled: arguments to a tensor and the doubt of each point; and which entries are independent."""

    def __init__(self, pattern: "Pattern"):
        self.pattern = pattern

    def arguments(self, x: Tensor) -> list[Tensor]:
        raise NotImplementedError

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def shaped(self, values: Tensor, doubt: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class _OfColumns(_Kernel):
    """Generated code: columns of coordinates and scalars, to rows of values."""

    def __init__(self, code: "Code", full: bool):
        super().__init__(Pattern(code.shape, code.places, code.signs))
        self.code, self.full = code, full

    def arguments(self, x: Tensor) -> list[Tensor]:
        columns = x.mT.contiguous().unsqueeze(-1).unbind(0)  # a compiler reads them as they lie
        return [*columns, *(s.to(x) for s in self.code.scalars())]

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


class _OfPoints(_Kernel):
    """A closed form: points to values."""

    def __init__(self, metric: Metric, quantity: str, options: dict[str, Any], pattern: "Pattern", full: bool):
        super().__init__(pattern)
        self.metric, self.quantity, self.options, self.full = metric, quantity, options, full
        self.plain = dispatched(closed_form, metric)(metric, quantity, **options)

    def __reduce__(self) -> Any:  # functions inside functions are not pickled
        return _OfPoints, (self.metric, self.quantity, self.options, self.pattern, self.full)

    def arguments(self, x: Tensor) -> list[Tensor]:
        return list(x.mT.contiguous().unsqueeze(-1).unbind(0))

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        values = self.plain(torch.cat(arguments, -1))
        values = values if self.full else picked(values, self.pattern)
        flat = _jets.detached(values).reshape((arguments[0].shape[0], -1))
        return values, (flat - flat).sum(-1)  # NaN where a value is not finite

    def shaped(self, values: Tensor, doubt: Tensor) -> tuple[Tensor, Tensor]:
        return values, doubt


class _OfJets(_Kernel):
    """Generated code of the metric's derivatives, and the formula of the quantity."""

    def __init__(self, code: "JetCode", quantity: str, options: dict[str, Any], pattern: Pattern, full: bool):
        super().__init__(pattern)
        self.code, self.quantity, self.options, self.full = code, quantity, options, full

    def arguments(self, x: Tensor) -> list[Tensor]:
        return [*x.mT.contiguous().unsqueeze(-1).unbind(0), *(s.to(x) for s in self.code.scalars())]

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        jets, guard = self.code.jets(*arguments)
        x = torch.cat(arguments[: jets[0].shape[-1]], -1)
        values = getattr(LocalGeometry(x, jets), self.quantity)(**self.options)
        values = values if self.full else picked(values, self.pattern)
        flat = _jets.detached(values).reshape((x.shape[0], -1))
        g = _jets.detached(jets[0])
        size = ROUNDING * g.abs()
        if len(jets) > 1:
            size = size + (_jets.detached(jets[1]).abs() * _jets.detached(x).abs()[:, None, None]).sum(-1)
        doubt = torch.finfo(x.dtype).eps * (formulas.inverse_metric(g).abs() * size).sum((-2, -1))
        return values, guard + (flat - flat).sum(-1) + _jets.detached(jets[0] - jets[0]).sum((-1, -2)) + doubt

    def shaped(self, values: Tensor, doubt: Tensor) -> tuple[Tensor, Tensor]:
        return values, doubt


def _torch_compiled(kernel: _Kernel, backend: str) -> Callable[..., Any]:
    """The kernel under `torch.compile`, once for all sizes of the batch."""

    def run(*arguments: Tensor) -> tuple[Tensor, Tensor]:
        return kernel(*arguments)

    code = run.__code__.replace(co_name=f"{run.__name__}_{id(kernel)}")  # torch counts graphs by code, eight at most
    own = types.FunctionType(code, run.__globals__, run.__name__, None, run.__closure__)
    options = {"max_fusion_size": 4096} if backend == "inductor" else None
    return torch.compile(own, dynamic=True, fullgraph=True, backend=backend, options=options)


# ---------------------------------------------------------------------------------------------------- what is asked


def _checked(quantity: str, options: dict[str, Any], components: str) -> int:
    """The order of derivatives that a quantity takes; raises unless there is one of that name with these options."""
    if quantity not in QUANTITIES:
        raise ValueError(f"`quantity` is {quantity!r}, expected one of {', '.join(QUANTITIES)}")
    if components not in ("all", "independent"):
        raise ValueError(f"`components` is {components!r}, expected 'all' or 'independent'")
    known = QUANTITIES[quantity]
    for name in options:
        if name != known.option:
            has = f"has the option `{known.option}`" if known.option else "has no options"
            raise TypeError(f"`{name}` is no option of `{quantity}`, which {has}")
    return known.order


def _symmetries(quantity: str, options: dict[str, Any], n: int) -> Pattern:
    """The shape of a quantity, and which entries are equal or opposite for every metric."""
    known = QUANTITIES[quantity]
    indices = options.get("indices", known.indices)
    check_positions(indices, known.rank, f"`{quantity}`")
    if (kind := options.get("kind", 2)) not in (1, 2):
        raise ValueError(f"`kind` is {kind!r}, expected 1 (Gamma_kij) or 2 (Gamma^k_ij)")
    alike = known.alike(n, indices).values()
    seen: dict[tuple[int, ...], int] = {}
    for first, sign in alike:
        if sign:
            seen.setdefault(first, len(seen))
    places = tuple(seen[first] if sign else len(seen) for first, sign in alike)
    return Pattern((n,) * known.rank, places, tuple(sign for _, sign in alike))
