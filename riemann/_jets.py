"""The one room that differentiates: derivatives of functions of a point, many points at once.

All are jets: a function is run over Taylor coefficients (`riemann._arithmetic`), along all coordinates or along given
vectors. Gradients in many dimensions are taken backwards, through the operations on the coefficients. No other file may
use torch's own differentiation: therefore long.
"""

import contextlib
import functools
import itertools
import math
import sys
import warnings
import weakref
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from riemann import _arithmetic
from riemann._arithmetic import Orders, Refusal, generic, orders
from riemann._contraction import is_worth_points_last
from riemann._indices import matvec
from riemann._modules import unwrapped
from riemann._points.checks import broadcast_vectors, check_count, check_dense, check_points, has_layout, has_values
from riemann._points.chunks import in_chunks
from riemann._points.one_point import at_one_point, explained
from riemann._precision import full_precision
from riemann._recorder import differing, recorded
from riemann._types import ChunkSize, Field, Progress

FEW = 16  # dimensions up to which all directions at once are cheaper than going backwards

# ----------------------------------------------------------------------------------------- the public functions


def jet(
    f: Field,
    x: Float[Tensor, "*batch n"],
    order: int = 2,
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> tuple[Tensor, ...]:
    r"""Value and derivatives of a tensor field: $f,\ \partial_i f,\ \partial_i \partial_j f$, and so on.

    Args:
        f: field, one point `(n,)` to a tensor of any shape `(*s)`; called once a piece, and once to be weighed.
        x: points, `(*batch, n)`, floating point.
        order: highest derivative, 0 or more.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `order + 1` tensors: `(*batch, *s)`, `(*batch, *s, n)`, `(*batch, *s, n, n)`, …, derivative axes last.

    Raises:
        TypeError: `x` is not a floating-point tensor, or `f` does not return a tensor.
        ValueError: `x` is not finite, `f` drops derivatives, or it calls what torch differentiates wrongly.

    Note:
        Forward mode throughout: `n**order` tangents a point. Differentiable again, `vmap`-able.

    Example:
        >>> jet(lambda x: x[0] * x[1], torch.tensor([2.0, 3.0]), 1)
        (tensor(6.), tensor([3., 2.]))
    """
    check_count("order", order, 0)

    check_points(x, function="function")

    def jets(x: Tensor) -> tuple[Tensor, ...]:
        return jets_at(f, x, order)

    return in_chunks(jets, x, rank=2 + order, light=weight_of(f), chunk_size=chunk_size, progress=progress)


def jvp(
    f: Field,
    x: Float[Tensor, "*#batch n"],
    v: Float[Tensor, "*#batch n"],
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> tuple[Tensor, Tensor]:
    r"""Value and derivative along a vector: $f(x),\ v^i \partial_i f(x)$.

    Args:
        f: field, one point `(n,)` to a tensor of any shape `(*s)`.
        x: points, `(*batch, n)`.
        v: vectors, broadcast against `x`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        Two tensors `(*batch, *s)`.

    Raises:
        TypeError, ValueError: as `jet`.

    Example:
        >>> jvp(lambda x: x**2, torch.tensor([2.0, 3.0]), torch.tensor([1.0, 0.0]))
        (tensor([4., 9.]), tensor([4., 0.]))
    """
    x, v = broadcast_vectors(x, v=v)

    def pushed(x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        y, dy = jets_along(field(f, x), x, (v,), 1)
        return y, dy.squeeze(-1)

    return in_chunks(pushed, x, v, rank=2, light=weight_of(f), chunk_size=chunk_size, progress=progress)


def vjp(
    f: Field,
    x: Float[Tensor, "*batch n"],
    w: Float[Tensor, "..."],
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> tuple[Tensor, Tensor]:
    r"""Value and pulled-back covector: $f(x),\ w_A \partial_i f^A(x)$.

    Args:
        f: field, one point `(n,)` to a tensor of any shape `(*s)`.
        x: points, `(*batch, n)`.
        w: covectors, `(*batch, *s)`.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        `(*batch, *s)` and `(*batch, n)`.

    Raises:
        TypeError, ValueError: as `jet`.

    Example:
        >>> vjp(lambda x: x**2, torch.tensor([2.0, 3.0]), torch.tensor([1.0, 1.0]))
        (tensor([4., 9.]), tensor([4., 6.]))
    """
    check_points(x, function="function")
    if not isinstance(w, Tensor) or w.shape[: x.ndim - 1] != x.shape[:-1]:
        got, use = (
            (tuple(w.shape), "") if isinstance(w, Tensor) else (type(w).__name__, "; use `torch.as_tensor(w).to(x)`")
        )
        batch = tuple(x.shape[:-1])
        raise ValueError(f"`w` is {got}, expected a tensor {batch} + the shape of the function's value{use}")
    check_dense("w", w)

    def pulled(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        y = jets_at(f, x, 0)[0]
        if (w.shape, w.dtype, w.device) != (y.shape, y.dtype, y.device):
            here, there = tuple(w.shape[x.ndim - 1 :]), tuple(y.shape[x.ndim - 1 :])
            raise ValueError(
                f"`w` is {here}, {w.dtype} on {w.device} at one point, where the function is {there}, {y.dtype} on "
                f"{y.device}; a covector has the shape of the value, and leads with the batch of `x`"
            )
        at = field(f, x)
        return y, gradients(lambda p, w: (w * at(p)).sum(), x, w)[0]

    return in_chunks(pulled, x, w, rank=2, light=weight_of(f), chunk_size=chunk_size, progress=progress)


def recorded_gradients(value: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of a scalar with respect to tensors that it was computed from, such as parameters.

    Args:
        value: a scalar with a graph, which is kept.
        tensors: what to differentiate by.

    Returns:
        One gradient a tensor, of its shape; zeros where the value does not depend on it. `.grad` is not touched.

    Example:
        >>> w = torch.ones(2, requires_grad=True)
        >>> recorded_gradients((w**2).sum(), [w])
        (tensor([2., 2.]),)
    """
    return torch.autograd.grad(value, tensors, retain_graph=True, allow_unused=True, materialize_grads=True)


# ------------------------------------------------------------------------------------------- many points at once


def jets_at(f: Field, x: Tensor, order: int, name: str = "function") -> tuple[Tensor, ...]:
    """`(f, df, ddf, …)` of a user's function at points `(*batch, n)`, derivative axes last; messages call it `name`."""
    return jets_along(field(f, x, name), x, None, order, name=name)


def each_at(f: Field, x: Tensor, order: int, name: str = "function") -> Tensor:
    r"""Value and derivatives along all coordinates, each of them once, of what `field` gives; messages call it `name`.

    Returns:
        `(count, *batch, *s)`: the value, the $D_i$, the $D_i D_j$ with $i \le j$, and so on.
    """
    return _coefficients(f, x, _basis(x), orders(x.shape[-1], order, x.device), (), name)


def jets_of_each(each: Tensor, n: int, order: int) -> tuple[Tensor, ...]:
    """The `(f, df, ddf, …)` of what `each_at` gives."""
    tables = orders(n, order, each.device)
    return tuple(_placed(tables, each, *[range(n)] * k) for k in range(order + 1))


def each_of_jets(jets: Sequence[Tensor]) -> Tensor:
    """What `each_at` gives of those `(f, df, ddf, …)`."""
    value, *derivatives = jets
    parts = [value.unsqueeze(0)]
    if derivatives:
        tables = orders(derivatives[0].shape[-1], len(derivatives), value.device)
        for k, y in enumerate(derivatives, 1):
            flat = y.movedim(tuple(range(-k, 0)), tuple(range(k))).flatten(0, k - 1)
            parts.append(flat.index_select(0, tables.first_places(k)))
    return torch.cat(parts)


def jets_along(
    f: Callable[..., Any],
    x: Tensor,
    vectors: Sequence[Tensor] | None,
    order: int,
    *arguments: Tensor,
    name: str = "function",
) -> tuple[Tensor, ...]:
    """Value and derivatives along vectors: `f`, `D_a f`, `D_a D_b f`, … for the a-th and b-th of them.

    Args:
        f: `f(p, *arguments)` at one point, which calls users' functions as `field` gives them.
        x: points, `(*batch, n)`.
        vectors: each `(*batch, n)`; None for those of the coordinates.
        order: highest derivative.
        arguments: what f takes beside the point, constants, `(*batch, …)`.
        name: how messages call f.

    Returns:
        `(*batch, *s)`, `(*batch, *s, a)`, `(*batch, *s, a, b)`, ….
    """
    if vectors is None:
        tables, c, read = _along_coordinates(f, x, order, arguments, name)
    else:
        tables, read = orders(len(vectors), order, x.device), None
        c = _coefficients(f, x, vectors, tables, arguments, name)
    every = range(tables.variables)

    def placed(k: int) -> Tensor:
        return _placed(tables, c, *[every] * k) if read is None else _placed_among(tables, c, k, read, x.shape[-1])

    c, at_points = _laid_out(c, x)
    return tuple(at_points(placed(k)) for k in range(order + 1))


def pairs_at(
    f: Field, x: Tensor, name: str = "function"
) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """`(f, df, ddf)` as `jets_at`, of the second derivatives each once, `(*batch, *s, pairs)`; and by which i <= j.

    Others than these pairs and those with i and j exchanged are 0.
    """
    tables, c, read = _along_coordinates(field(f, x, name), x, 2, (), name)
    c, at_points = _laid_out(c, x)
    (value, first, second), (i, j) = _pairs(tables, c)
    if read is not None:
        first, coordinates = _placed_among(tables, c, 1, read, x.shape[-1]), torch.tensor(read, device=x.device)
        i, j = coordinates[i], coordinates[j]
    return (at_points(value), at_points(first), at_points(second)), (i, j)


def pairs_of_each(each: Tensor, n: int) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """What `pairs_at` gives, from what `each_at` does."""
    return _pairs(orders(n, 2, each.device), each)


def _pairs(tables: Orders, c: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    i, j = tables.pairs
    return (c[0], tables.block(c, 1).movedim(0, -1), tables.block(c, 2).movedim(0, -1)), (i - 1, j - 1)


def whole_of_pairs(ddf: Tensor, pairs: tuple[Tensor, Tensor], n: int) -> Tensor:
    """The second derivatives `(*batch, *s, n, n)` that `pairs_at` gives."""
    i, j = pairs
    whole = ddf.new_zeros(*ddf.shape[:-1], n, n)
    whole[..., i, j] = ddf
    whole[..., j, i] = ddf
    return whole


def _laid_out(c: Tensor, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Coefficients `(count, *batch, *s)` at points as the formulas like them in memory, see `_contraction`.

    And what makes `(*batch, *s, …)` of those picked from them, `(*batch, *s, …)` or with the points behind s.
    """
    if not _few_numbers_at_many_points(c, x):
        return c, lambda y: y
    c = c.flatten(1, x.ndim - 1).movedim(1, -1).contiguous()
    return c, lambda y: y.movedim(c.ndim - 2, 0).unflatten(0, x.shape[:-1])


def _along_coordinates(
    f: Callable[..., Any], x: Tensor, order: int, arguments: Sequence[Tensor], name: str
) -> tuple[Orders, Tensor, tuple[int, ...] | None]:
    """Coefficients along the coordinates that f reads, and which these are; None if they are all.

    A function is expected to read what it read before. Where it reads more, it is called again.
    """
    n, basis = x.shape[-1], _basis(x)
    whole = tuple(range(n))
    if not (order and has_layout(x)):
        tables = orders(n, order, x.device)
        return tables, _coefficients(f, x, basis, tables, arguments, name), None
    read = _read_before(f, n) or whole
    while True:
        tables, seen = orders(len(read), order, x.device), set[int]()
        c = _coefficients(f, x, [basis[k] for k in read], tables, arguments, name, seen)
        found = tuple(sorted(seen)) or read[:1]
        _remember_read(f, n, found)
        if seen <= {*read}:
            break
        read = whole
    if found != read:  # what is 0 is 0, also where it was made of what is not known
        c = c[tables.inside(tuple(read.index(k) for k in found))]
        tables = orders(len(found), order, x.device)
    return tables, c, None if found == whole else found


def _read_before(f: Callable[..., Any], n: int) -> tuple[int, ...] | None:
    """The coordinates that a user's function of a point `(n,)` read when it was called last."""
    try:
        return _READ.get(getattr(f, "of", f), {}).get(n)
    except TypeError:  # it has no hash, or cannot be referred to weakly
        return None


def _remember_read(f: Callable[..., Any], n: int, read: tuple[int, ...]) -> None:
    with contextlib.suppress(TypeError):
        _READ.setdefault(getattr(f, "of", f), {})[n] = read


_READ: weakref.WeakKeyDictionary[Any, dict[int, tuple[int, ...]]] = weakref.WeakKeyDictionary()


def _few_numbers_at_many_points(c: Tensor, x: Tensor) -> bool:
    """Whether the derivatives `(count, *batch, *s)` of tensors at points had better lie with the points last."""
    return (
        has_layout(c)
        and not c.requires_grad
        and is_worth_points_last(x.shape[:-1].numel(), (x.shape[-1], *c.shape[x.ndim :]))
    )


def gradients(
    f: Callable[..., Tensor], x: Tensor, *arguments: Tensor, along: Sequence[Sequence[Tensor]] = ((),)
) -> list[Tensor]:
    """The gradient of each of `D_a D_b … f`, for tuples `(a, b, …)` of vectors; of f alone for `()`.

    Args:
        f: `f(p, *arguments)` at one point, as in `jets_along`.
        x: points, `(*batch, n)`.
        arguments: constants, `(*batch, …)`.
        along: tuples of vectors `(*batch, n)`.

    Returns:
        `(*batch, *s, n)` for each tuple.
    """
    lead = _basis(x) if x.shape[-1] <= FEW else (generic(x.shape[-1], x).expand(x.shape),)
    ahead, vectors, rows = range(len(lead)), list(lead), []
    for row in along:
        rows.append([range(k, k + 1) for k in range(len(vectors), len(vectors) + len(row))])
        vectors += row
    chosen = tuple((k, *(r.start for r in row)) for row in rows for k in ahead)
    tables = orders(len(vectors), 1 + max(map(len, along)), x.device, chosen)

    def slopes(c: Tensor) -> list[Tensor]:  # of each row along the vectors that lead
        return [_placed(tables, c, ahead, *row).flatten(-1 - len(row)) for row in rows]

    if len(lead) == x.shape[-1]:
        return slopes(_coefficients(f, x, vectors, tables, arguments))

    def values(x: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        c = _coefficients(f, x, vectors, tables, arguments)
        return tuple(_placed(tables, c, *row).unsqueeze(-1).flatten(x.ndim - 1) for row in rows), slopes(c)

    with _explaining(x.reshape(-1, x.shape[-1])):
        found, kinks = _backwards(values, x)
    return [d.reshape(*kink.shape[:-1], x.shape[-1]) + 0 * kink for d, kink in zip(found, kinks, strict=True)]


def _backwards(
    values: Callable[[Tensor], tuple[tuple[Tensor, ...], list[Tensor]]], x: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients `(*batch, numbers, n)` of the values `(*batch, numbers)`, and what comes with these."""
    if has_values(x):  # outside transforms, which not every function runs in
        recording = torch.is_grad_enabled()
        with torch.enable_grad():
            p = x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
            y, rest = values(p)
        recording = recording and (x.requires_grad or any(a is not p for a in _leaves(y)))
        options = {"retain_graph": True, "create_graph": recording, "allow_unused": True, "materialize_grads": True}
        pull = lambda w: torch.autograd.grad(y, p, w, **options)[0]  # noqa: E731
        rest = rest if recording else [t.detach() for t in rest]
    else:
        y, of_all, rest = torch.func.vjp(values, x, has_aux=True)
        pull = lambda w: of_all(w)[0]  # noqa: E731
    if not any(t.requires_grad or not has_values(t) for t in y):  # constants
        return [x.new_zeros(*t.shape, x.shape[-1]) for t in y], rest
    zeros, found = [torch.zeros_like(t) for t in y], []
    for k, t in enumerate(y):
        ones = torch.eye(t.shape[-1], dtype=t.dtype, device=t.device)
        pulled = [pull((*zeros[:k], one.expand_as(t), *zeros[k + 1 :])) for one in ones]
        found.append(torch.stack(pulled, -2) if pulled else x.new_zeros(*t.shape, x.shape[-1]))
    return found, rest


def implicit(
    values: Callable[[Tensor], tuple[tuple[Tensor], list[Tensor]]], root: Tensor, name: str
) -> tuple[Tensor, ...]:
    """A root `(points, n)` of a function of points, with the derivatives that the function's vanishing gives it.

    Args:
        values: the function, and with it again what is returned beside the root, whose derivatives are those at a
            root that stands still.
        root: where the function is 0, to its accuracy.
        name: of what has first derivatives only.
    """
    (J,), (f, *rest) = _backwards(values, root)
    with torch.no_grad():
        inverse = torch.linalg.inv_ex(detached(J))[0]
    step = matvec(inverse, f)
    return once(root - (step - step.detach()), name), *rest


def linearised(f: Callable[..., Any], x: Tensor, name: str = "function") -> tuple[Tensor, Field, Field]:
    r"""f at one point `(n,)`, to `(m,)`, and its derivative there: $v \mapsto J v$, and $w \mapsto J^T w$.

    f is evaluated once, however many products are taken, which are constants. Where it has a kink nothing says so.
    """
    with torch.enable_grad():
        p = x.detach().requires_grad_()
        (y,) = jets_at(f, p, 0, name)
        if not y.requires_grad:
            return y, lambda v: torch.zeros_like(y), lambda w: torch.zeros_like(x)
        any_w = torch.zeros_like(y, requires_grad=True)
        options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        (pulled,) = torch.autograd.grad(y, p, any_w, create_graph=True, **options)  # linear in w: its transpose is J
    push = lambda v: torch.autograd.grad(pulled, any_w, v, **options)[0]  # noqa: E731
    return y.detach(), push, lambda w: torch.autograd.grad(y, p, w, **options)[0]


def _leaves(values: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that gradients of values would be accumulated in."""
    nodes, found, seen = [t.grad_fn for t in values], [], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        nodes += [before for before, _ in node.next_functions]
    return found


def second_derivatives_in_tiles(f: Field, x: Tensor, size: int) -> Iterator[tuple[range, range, Tensor | None, Tensor]]:
    """`D_k f` and `D_l D_k f` for l and k in blocks of `size` coordinates: half of the pairs of blocks is enough.

    Args:
        f: at one point, as in `jets_along`.
        x: points, `(*batch, n)`.
        size: how many.

    Yields:
        A block of l, and one of k that is the same or an earlier one; for the same one `(*batch, *s, k)`, else None;
        `(*batch, *s, l, k)`.
    """
    basis, n = _basis(x), x.shape[-1]
    blocks = [range(start, min(start + size, n)) for start in range(0, n, size)]
    for i, rows in enumerate(blocks):
        for columns in blocks[: i + 1]:
            same = rows == columns
            l = range(len(rows))
            k = l if same else range(len(rows), len(rows) + len(columns))
            tables = orders(k.stop, 2, x.device, None if same else tuple(itertools.product(l, k)))
            vectors = [basis[j] for j in (rows if same else (*rows, *columns))]
            c = _coefficients(f, x, vectors, tables, ())
            yield rows, columns, _placed(tables, c, k) if same else None, _placed(tables, c, l, k)


def derivatives_in_blocks(f: Field, x: Tensor, v: Tensor, size: int) -> Iterator[tuple[range, Tensor, Tensor]]:
    """`D_k f` and `D_v D_k f` for k in blocks of `size` coordinates, which come with them: `(*batch, *s, k)` each."""
    basis, n = _basis(x), x.shape[-1]
    for start in range(0, n, size):
        block = range(start, min(start + size, n))
        k = range(1, 1 + len(block))
        tables = orders(k.stop, 2, x.device, tuple((0, j) for j in k))
        c = _coefficients(f, x, [v, *basis[block.start : block.stop]], tables, ())
        yield block, _placed(tables, c, k), _placed(tables, c, range(1), k).squeeze(-2)


def hessian(f: Callable[..., Tensor], x: Tensor, *arguments: Tensor, together: int) -> Tensor:
    """Second derivatives `(*batch, n, n)` of a scalar function; in many dimensions so many rows at a time, backwards.

    Args:
        f: `f(p, *arguments)` at one point, as in `jets_along`.
        x: points, `(*batch, n)`.
        arguments: constants, `(*batch, …)`.
        together: how many rows.
    """
    n, tables = x.shape[-1], orders(1, 1, x.device)
    if n <= FEW:
        return jets_along(f, x, None, 2, *arguments)[2]
    rows = []
    for some in torch.eye(n, dtype=x.dtype, device=x.device).split(together):
        e = some.reshape(-1, *[1] * (x.ndim - 1), n).expand(-1, *x.shape)
        p, *constants = (a.expand(len(some), *a.shape) for a in (x, *arguments))

        def slopes(p: Tensor, e: Tensor = e, constants: Sequence[Tensor] = constants) -> tuple[tuple[Tensor], list]:
            return (_placed(tables, _coefficients(f, p, (e,), tables, constants), range(1)),), []

        with _explaining(x.reshape(-1, n)):
            (found,), _ = _backwards(slopes, p)
        rows.append(found.squeeze(-2))
    kinks = jets_along(f, x, (generic(n, x).expand(x.shape),), 2, *arguments)[2]
    return torch.cat(rows).movedim(0, -2) + 0 * kinks


def second_derivatives(f: Field, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`f`, `D_k f` and `D_k D_k f` for every coordinate: `(*batch, *s)` and twice `(*batch, *s, n)`."""
    n = x.shape[-1]
    tables = orders(n, 2, x.device, tuple((k, k) for k in range(n)))
    c = _coefficients(f, x, _basis(x), tables, ())
    return c[0], _placed(tables, c, range(n)), tables.block(c, 2).movedim(0, -1)


def _basis(x: Tensor) -> tuple[Tensor, ...]:
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return tuple(e.expand(x.shape) for e in eye)


def _placed(tables: Orders, c: Tensor, *axes: range) -> Tensor:
    """The derivatives among coefficients whose indices run over given ranges, as last axes."""
    if not axes:
        return c[0]
    if axes == (range(tables.variables),):
        return tables.block(c, 1).movedim(0, -1)
    found = _taken(tables.block(c, len(axes)), tables.places(*axes))
    return found.movedim(tuple(range(len(axes))), tuple(range(-len(axes), 0)))


def _placed_among(tables: Orders, c: Tensor, k: int, read: tuple[int, ...], n: int) -> Tensor:
    """The derivatives of degree k along some of n coordinates as last axes, 0 along the others."""
    if k == 0:
        return c[0]
    block = tables.block(c, k)
    block = torch.cat([block, block.new_zeros(1, *block.shape[1:])])
    found = _taken(block, tables.places_among(k, read, n))
    return found.movedim(tuple(range(k)), tuple(range(-k, 0)))


def _taken(block: Tensor, places: Tensor) -> Tensor:
    """`block[places]`, row by row."""
    return block.index_select(0, places.flatten()).unflatten(0, places.shape)


def _coefficients(
    f: Callable[..., Any],
    x: Tensor,
    vectors: Sequence[Tensor],
    tables: Orders,
    arguments: Sequence[Tensor],
    name: str = "function",
    read: set[int] | None = None,
) -> Tensor:
    """Coefficients of `f(p, *arguments)` at `p = x + s^a vectors_a`, `(count, *batch, *s)`.

    To `read` are added the coordinates that f reads.
    """
    batch, n = x.shape[:-1], x.shape[-1]
    count = math.prod(batch)
    flat = [a.reshape(count, *a.shape[len(batch) :]) for a in (x, *arguments)]
    if count == 0:  # shapes come from a point that stands in, gradients are those of none
        flat = [torch.cat([a, a.new_ones(1, *a.shape[1:])]) for a in flat]
    directions = [v.reshape(-1, n) if count else flat[0] for v in vectors] if tables.order else []
    evaluated = _arithmetic.evaluated
    if "torch._dynamo" in sys.modules:
        evaluated = torch.compiler.disable(evaluated)
    given = [torch.stack([flat[0], *directions]), *(a.unsqueeze(0) for a in flat[1:])]
    with _explaining(flat[0]), full_precision(x.device.type):
        c = evaluated(f, given, tables, name, read)
    return c[:, :count].reshape(len(c), *batch, *c.shape[2:])


@contextlib.contextmanager
def _explaining(x: Tensor) -> Iterator[None]:
    """Errors of a user's function at points `(points, n)`, told in the user's terms by the outermost call."""
    try:
        yield
    except Exception as error:
        if not has_values(x):
            raise
        raise explained(error, x[0]) from None


def field(f: Field, x: Tensor, name: str = "function") -> Field:
    """A user's function as `jets_along` and its like take it; its value is checked to be like the points x."""
    if not callable(f):
        raise TypeError(f"`{name}` is a {type(f).__name__}, expected a callable of one point of shape (n,)")
    _load_decompositions()
    inner = unwrapped(f)
    if isinstance(inner, torch.nn.Module):
        inner = functools.partial(at_one_point, inner)

    def at_the_surface(y: Tensor) -> Tensor:
        value = _at_the_surface(inner, y, name)
        if not isinstance(value, Tensor):
            raise TypeError(f"`{name}` returned {type(value).__name__} at one point, expected a torch.Tensor")
        if value.dtype != x.dtype or value.device != x.device:
            raise ValueError(
                f"`{name}` returned {value.dtype} on {value.device} for a point in {x.dtype} on {x.device}; make its "
                "constants with `dtype=x.dtype, device=x.device`, or move x"
            )
        return value

    at_the_surface.of = getattr(f, "of", f)  # type: ignore[attr-defined]  # what it is remembered by
    return at_the_surface


@functools.cache
def _load_decompositions() -> None:
    """Loads what forward mode in users' functions loads at its first use, without torch's warnings of its own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch._decomp.decompositions_for_jvp  # noqa: F401


def _at_the_surface(f: Field, y: Tensor, name: str) -> Any:
    """A user's function of a jet; its errors are marked, for the outermost call to explain."""
    try:
        with _eager():
            return _arithmetic.at_the_surface(f, y, name)
    except Exception as error:
        if "INTERNAL ASSERT FAILED" in str(error):
            raise Refusal(
                f"the {name} takes derivatives, or maps, in a way that torch does not over values which are "
                "differentiated outside, too: use `torch.func.jacrev` instead of `jacfwd`, and give tensors of a "
                "transform around riemann as parameters of a module, with `backward`"
            ) from error
        if not hasattr(error, "riemann_call"):
            error.riemann_call = f, name  # type: ignore[attr-defined]
        raise


def frozen(f: Callable[..., Any], *tensors: Tensor) -> Any:
    """`f` of the values of tensors, a constant: for choices (of a frame, of a sign) that no derivative goes through."""
    with torch._C.DisableTorchFunction(), torch.no_grad():
        return f(*map(_arithmetic.frozen, tensors))


def detached(x: Tensor) -> Tensor:
    """`x` cut off from its gradients; as it is inside transforms, which see that it is not an output."""
    return x.detach() if torch.compiler.is_compiling() or has_values(x) else x


@contextlib.contextmanager
def _eager() -> Iterator[None]:
    """What `torch.compile` has wrapped runs as plain Python."""
    with contextlib.ExitStack() as stack:
        if "torch._dynamo" in sys.modules and not torch.compiler.is_compiling():
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


# ------------------------------------------------------------------------------ tensors whose derivatives are given


def once(x: Tensor, name: str) -> Tensor:
    """`x`, whose first derivatives are right and whose second would not be: they raise."""
    return _Once.apply(x, name)


class _Once(torch.autograd.Function):
    """The identity, of which derivatives go through `_Never`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, name: str) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.name = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Never.apply(grad, ctx.name), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return _Never.apply(tangent, ctx.name)


class _Never(_Once):
    """The identity, of which derivatives raise."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        raise RuntimeError(f"`{ctx.name}` has first derivatives only, those of the implicit function")

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return _Never.backward(ctx, tangent)[0]


def twice(compiled: Callable[..., Any], plain: Callable[..., Any], arguments: Sequence[Tensor]) -> Any:
    """`compiled(*arguments)`, values and what has no derivatives; second derivatives are those of `plain`.

    Torch's compiler makes first derivatives only.
    """
    if torch.is_grad_enabled() and any(a.requires_grad for a in arguments):
        return _Twice.apply(compiled, plain, *arguments)
    return compiled(*arguments)


class _Twice(torch.autograd.Function):
    """Values of a compiled function; its first derivatives compiled, higher ones by the plain code."""

    @staticmethod
    def forward(ctx: Any, compiled: Callable[..., Any], plain: Callable[..., Any], *arguments: Tensor) -> Any:
        with torch.enable_grad():
            inner = [a.detach().requires_grad_(a.requires_grad) for a in arguments]
            values, doubt = compiled(*inner)
        ctx.save_for_backward(*arguments)
        ctx.plain, ctx.inner = plain, (values, inner)
        doubt = doubt.detach()
        ctx.mark_non_differentiable(doubt)
        return values.detach(), doubt

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        asked = ctx.needs_input_grad[2:]

        def pulled(values: Tensor, inner: Sequence[Tensor], again: bool) -> tuple[Any, ...]:
            needed = [a for a, wanted in zip(inner, asked, strict=True) if wanted]
            found = iter(torch.autograd.grad(values, needed, gradients[0], create_graph=again, allow_unused=True))
            return None, None, *(next(found) if wanted else None for wanted in asked)

        again = torch.is_grad_enabled()
        if not again and ctx.inner is not None:  # a compiled graph can be gone through once
            made, ctx.inner = ctx.inner, None
            with contextlib.suppress(AssertionError):  # it was compiled for tensors that lie otherwise
                return pulled(*made, False)
        with torch.enable_grad():
            values, _ = ctx.plain(*ctx.saved_tensors)
        return pulled(values, ctx.saved_tensors, again)


def weight_of(*functions: Any) -> Callable[[Tensor], float]:
    """The bytes that functions of a point make at points, for their values; remembered while the functions live."""

    def of_one(f: Any, x: Tensor) -> float:
        key = x.shape, x.dtype, x.device
        try:
            known = _WEIGHTS.setdefault(f, {})
        except TypeError:  # it has no hash, or cannot be referred to weakly
            known = {}
        if key not in known:
            try:
                with torch.no_grad():
                    known[key] = float(_arithmetic.weight(field(f, x), x))
            except Exception:  # the call itself says it better
                return math.inf
        return known[key]

    return lambda x: sum((of_one(f, x.detach()) for f in functions), 0.0)


_WEIGHTS: weakref.WeakKeyDictionary[Any, dict[tuple, float]] = weakref.WeakKeyDictionary()


def unsafe_values(f: Field, x: Tensor) -> Tensor:
    """What plain `torch.func.vmap` makes of f, points `(points, n)`, for comparison."""
    return torch.func.vmap(f)(x)


def with_tensors(module: torch.nn.Module, tensors: dict[str, Tensor], x: Tensor) -> Any:
    """`module(x)` with other parameters and buffers, by name."""
    return torch.func.functional_call(module, tensors, (x,))


class Unsteady(Refusal):
    """A function gives other numbers at each call: a recording would keep those of one."""

    def __init__(self) -> None:
        super().__init__(
            "the function gives other numbers each time it is called, and what is recorded would keep those of one "
            "call; draw random numbers once, outside, or call `.eval()` on a module in training mode"
        )


def operations(
    f: Callable[..., Tensor],
    known: Container[str],
    instead: Mapping[str, Callable[..., Any]],
    squares: bool,
    *arguments: Tensor,
    whole: bool = False,
) -> torch.fx.GraphModule:
    """The ATen operations of a function of one point, without side effects; what is not `known` torch decomposes.

    Tensors lead with one axis of length 1. Nothing is checked at the arguments: their values are used for no more than
    shapes. Functions of torch in the table `instead` are replaced, by name; with `squares`, roots know their squares.
    With `whole` the graph also holds what the result does not need.
    """
    table = {op: rule for op, rule in _decompositions().items() if op._schema.name.split("::")[1] not in known}
    table[torch.ops.aten._linalg_check_errors.default] = lambda *_, **__: None

    def at_point(*arguments: Tensor) -> Tensor:
        return _arithmetic.values_at_a_point(f, arguments, known, instead, squares)

    with torch.no_grad():
        module, again = (recorded(at_point, [a.unsqueeze(0) for a in arguments], table, whole) for _ in range(2))
    if differing(module, again):
        raise Unsteady
    return module


@functools.cache
def _decompositions() -> dict[Any, Any]:
    from torch._decomp import core_aten_decompositions

    return dict(core_aten_decompositions().items())
