"""`compile`: one quantity as one compiled graph, by a closed form, by derivation or by jets; else eagerly, in tiles."""

from typing import Any

from riemann._compiling.compiled import Compiled as Compiled
from riemann._compiling.components import Components as Components
from riemann._compiling.fields import CompiledJet, jet
from riemann._compiling.kernels import closed_form
from riemann._compiling.quantities import check
from riemann._metric import check_metric_callable
from riemann._modules import unwrapped
from riemann._points import checks
from riemann._types import Metric


def compile(
    metric: Metric,
    quantity: str,
    *,
    dim: int | None = None,
    components: str = "all",
    backend: str | None = "inductor",
    dynamic: bool | None = None,
    budget: float = 10.0,
    digits: bool = False,
    **options: Any,
) -> Compiled | CompiledJet:
    r"""One quantity of a metric as one compiled graph, for many calls on many points.

    Ways are tried in this order; `.route` of the result says which was taken, and why.

    1. Closed form: the metric's type, or the type that it is found to be equal to (`structure`), brings the quantity in
       plain tensor operations (`metrics.MLPCholesky`; types of yours by `compile.register`).
    2. Symbolic: the metric is traced into expressions, the quantity is derived from them exactly and written out as
       torch code: no differentiation is left. Where its expression would be long, the derivatives of g are written
       out instead, and the quantity is computed from them.
    3. Jets: the operations of the metric are recorded as they are done on its derivatives, with the formula of the
       quantity, as one graph: for networks, and whatever is too long for expressions.
    4. Eager: the function of the same name, in tiles, for what cannot be recorded. A warning says why.

    Code is given to `torch.compile`, at the first call for its number of points, at the first call with another number
    for all of them. Where it cannot compile (no C++ compiler), a warning says so, and the same code runs eagerly.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`. Numbers in it are compiled, floats as the rational of their
            shortest decimal (see `bridge.to_symbolic`). Parameters and buffers of a module stay free: later values are
            used, and results are differentiable to them. So do, with jets, all tensors of floating-point numbers that
            the metric reads.
        quantity: name of a function of metric and points: `"christoffel"`, `"riemann_tensor"`, …; of vectors, too:
            `"christoffel_vector"`, `"geodesic_acceleration"`, `"sectional_curvature"`, `"ricci_curvature"`. Or
            `"jet"`: `metric` is then any field, one point `(n,)` to a tensor, and the option `order` is that of `jet`.
        dim: n; may be left out where the metric has a `dim`.
        components: `"all"`, or `"independent"` for a record of those that are not 0 and differ by more than a sign.
        backend: of `torch.compile`; None leaves the code as it is.
        dynamic: as of `torch.compile`: True compiles for all numbers of points at once, which takes up to twice as long
            as for one. None does so for `"geodesic_acceleration"` alone, which solvers call at changing numbers.
        budget: seconds that each step of a derivation may take.
        digits: whether each call says where rounding leaves few digits, as the eager function does, in the time of its
            derivatives.
        **options: of the function, such as `indices="llll"` or `kind=1`.

    Returns:
        A function of points `(*batch, n)`, and of vectors, to what the function named returns, or to `Components`. On
        the symbolic way the points are the last axis in memory, which is the fastest to write; `.contiguous()` makes it
        the first.

    Raises:
        ArithmeticError: in the first call in each dtype and on each device, if the values are not those of the function
            at some of the points, beyond rounding; both are named.
        ValueError: an unknown quantity or value of an option, `dim` missing; as `at`, no metric in `dim` dimensions.
        TypeError: an option that the function does not have.

    Warns:
        UserWarning: once, if the eager way is taken, or nothing compiles; if the metric changes again and again.

    Note:
        Where the metric is written otherwise than when it was compiled (other numbers or functions in closures and
        globals, attributes of modules, a `forward`, hooks), the next call compiles anew.
        The first call compiles, for each dtype and with gradients anew: 5 to 30 seconds; the first with another number
        of points once more. Torch keeps what it compiled on disk, for the next process. Points where the code gives no
        finite number, g is singular to rounding, or the expressions need not be what the metric computes (at the edge
        of a domain, in `torch.where(x == 0, …)`) are given to the generic function: its value, or NaN and a warning.
        What is returned can be pickled and copied as far as the metric can; it is compiled anew where it arrives.
        Gradients flow compiled, second ones by the same code uncompiled. Inside `vmap` and other transforms the code
        runs uncompiled.

    Example:
        >>> def sphere(x):
        ...     return torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))
        >>> ricci = compile(sphere, "ricci_tensor", dim=2, backend=None)
        >>> ricci(torch.tensor([[0.7, 0.2], [1.1, 3.0]])).shape
        torch.Size([2, 2, 2])
        >>> print(ricci.route)
        symbolic, 7 operations, as plain torch
    """
    if dynamic not in (None, True):
        raise ValueError(f"`dynamic` is {dynamic!r}, expected None or True: of each number of points there is no graph")
    varies = bool(dynamic) or quantity == "geodesic_acceleration"
    if quantity == "jet":
        return jet(metric, dim, backend=backend, dynamic=varies, **options)
    check_metric_callable(metric)
    check(quantity, options, components)
    dim = getattr(unwrapped(metric), "dim", None) if dim is None else dim
    if dim is None:
        raise ValueError("`dim` is not known: a metric is a callable, so give its dimension, `dim=…`")
    checks.check_count("dim", dim, 1)
    if not checks.is_number(budget) or not budget > 0:
        raise ValueError(f"`budget` is {budget!r}, expected seconds, more than 0")
    return Compiled(metric, quantity, options, dim, components == "all", backend, varies, digits, budget)


compile.register, compile.closed_form = closed_form.register, closed_form  # type: ignore[attr-defined]
