"""`structure` and `structured`: the named metric that a metric is equal to, found in its operations."""

import functools
from typing import Any

import torch
from torch import Tensor

from riemann._curvature import scalar_curvature, snapshot
from riemann._curves import logarithm
from riemann._metric import check_metric_callable
from riemann._modules import unwrapped
from riemann._points.checks import check_count, check_points
from riemann._structure.finding import Finding, Structure
from riemann._types import Metric

LOOKED_AT = 3  # points, the last ones, at which a finding is compared: first are those on axes
DEEPEST = 4  # parts of parts that are looked at


def structure(metric: Metric, dim: int, *, x: Tensor | None = None) -> Structure:
    r"""What a metric is made of, found in its operations, with the named metric that is equal to it.

    The metric is recorded once, as a graph of operations, and the graph is run over residues modulo a prime: two
    expressions that agree there for random arguments are the same, however they are written (loops, stacks, einsum,
    any way of taking a Jacobian). What is found, in the order in which the first is chosen:

    | | |
    | --- | --- |
    | `Constant` | no entry depends on the point |
    | `Conformal` | a scalar of one sign times a constant matrix, or times a metric of known structure |
    | `Warped` | no product: a base, and behind it a fibre, whose block is a function of the base times its own |
    | `Product` | blocks that read coordinates of their own |
    | `Diagonal` | no entry off the diagonal |
    | `MLPCholesky` | $L L^T$, L elementwise in the outputs of a network of affine maps and elementwise units |
    | `Pullback` | $J^T J$ or $J^T h J$, J the Jacobian of a map that is computed on the way |
    | `Hessian` | second derivatives of one function |
    | `LowRankPlusDiagonal` | a diagonal and a few directions |

    Parts are looked at in the same way. Blocks of coordinates stand side by side, in the order of the types; that a
    metric would be a product with its coordinates in another order is said, and so are coordinates on which nothing
    depends. What is not seen to be the same is not used: the metric itself is the answer then.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        dim: n.
        x: points of its domain to look at it at, `(k, n)`, of the dtype and device in which it is used; found by
            itself if None, in float64 or the dtype of the parameters of a module.

    Returns:
        A record: `.findings`, printed one a line with the cost of curvature by it; `.metric`, the metric of the first
        of them, or `metric` itself.

    Raises:
        TypeError, ValueError: `metric` is not callable, `dim` is not a dimension, or no point of the domain was found.

    Note:
        Parameters, and other tensors that ask for gradients, stay the metric's own: they are seen as they are at each
        call, and gradients reach them. Other tensors and numbers that the metric uses (in closures, buffers) are copied
        as they are now; after a change of these, or of the code, or where a parameter was replaced by another one, ask
        again. A finding is compared with the metric at points, values and two derivatives, before it is returned.

    Example:
        >>> def half_plane(x):
        ...     return torch.eye(2) / x[1] ** 2
        >>> found = structure(half_plane, 2)
        >>> [finding.name for finding in found.findings], type(found.metric).__name__
        (['Conformal', 'Diagonal', 'ignorable'], 'Conformal')
    """
    check_metric_callable(metric)
    check_count("dim", dim, 1)
    if x is None:
        return looked(metric, _points(metric, dim))
    check_points(x)
    if x.shape[-1] != dim:
        raise ValueError(f"`x` has shape {tuple(x.shape)}, expected (*batch, {dim}): `dim` is {dim}")
    if not x.numel():
        raise ValueError("`x` holds no point, expected one or more, to look at the metric at")
    return looked(metric, x.detach().reshape(-1, dim))


def structured(metric: Metric, dim: int, *, x: Tensor | None = None) -> Any:
    """The metric as one of a named type that knows its structure, as far as it was found; `structure` says more.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        dim: n.
        x: points of its domain, `(k, n)`; found by itself if None.

    Returns:
        A metric of `riemann.metrics`, equal to `metric`; or `metric`.

    Raises:
        TypeError, ValueError: as `structure`.

    Example:
        >>> import riemann as rm
        >>> ball = structured(lambda x: 4 * torch.eye(3) / (1 - x @ x) ** 2, 3)
        >>> rm.scalar_curvature(ball, torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)).round(decimals=9)
        tensor(-6., dtype=torch.float64)
    """
    return structure(metric, dim, x=x).metric


def found(metric: Metric, dim: int, sample_points: Tensor) -> tuple[Any, str]:
    """The structured metric that a metric is, or None; and in words what was found, or why there is nothing.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        dim: n.
        sample_points: of its domain, `(k, n)`, of the dtype and device in which it is used.
    """
    try:
        result = looked(metric, sample_points.detach().reshape(-1, dim))
    except Exception as error:  # who asks has another way
        return None, f"it could not be looked for ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
    return (None if result.metric is metric else result.metric), str(result)


def public_name(metric: Metric) -> str:
    """The name of its type in `riemann.metrics`."""
    return next(kind.__name__ for kind in type(metric).__mro__ if kind.__module__.startswith("riemann.metrics"))


def looked(metric: Metric, points: Tensor, depth: int = 0, smooth: bool = False) -> Structure:
    """What is found in a metric at points of its domain; of parts of metrics, `depth` deep, the first finding.

    A part of a metric that calls nothing but analytic functions is `smooth`, which its operations may not show.
    """
    from riemann._structure import blocks, low_rank, maps, networks
    from riemann._structure.look import Look
    from riemann._structure.proof import agree

    if scalar_curvature.route(metric) != "generic":
        name = type(unwrapped(metric)).__name__
        return Structure(metric, [Finding(name, metric, "it is of this type", "curvature by its own routes")])
    try:
        look = Look(metric, points, smooth)
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        return Structure(metric, [], f"its operations cannot be recorded ({str(error).partition(chr(10))[0]})")

    def inner(part: Any, points: Tensor) -> Any:
        if findings or depth >= DEEPEST:  # what is not chosen is not taken apart
            return None
        within = looked(part, points, depth + 1, look.recording.is_smooth).metric
        return None if within is part else within

    findings: list[Finding] = []
    finders = [blocks.constant, blocks.conformal, blocks.warped, blocks.product, blocks.diagonal]
    finders += [networks.mlp_cholesky, maps.pullback, maps.hessian, low_rank.low_rank, blocks.scaled]
    finders += [blocks.apart, blocks.ignorable]
    for finder in finders if look.n > 1 else finders[:1]:
        try:
            finding = finder(look, inner)
        except (ValueError, TypeError, RuntimeError, NotImplementedError):  # of a part that is no field by itself
            continue
        if finding is None:
            continue
        if finding.metric is None or depth or agree(metric, finding.metric, points[-LOOKED_AT:]):
            findings.append(finding)
            look.settled = finding.metric is not None
        if depth and finding.metric is not None:
            break
    chosen = next((f.metric for f in findings if f.metric is not None), metric)
    return Structure(chosen, findings, "it is none of those that are known here")


def _points(metric: Metric, dim: int) -> Tensor:
    from riemann._verification.sample import sample_points

    like = next((p for p in metric.parameters()), None) if isinstance(metric, torch.nn.Module) else None
    with torch.no_grad():
        return sample_points(metric, dim, dtype=torch.float64 if like is None else like.dtype)


@functools.wraps(snapshot.name_structure)
def _named(metric: Metric, x: Tensor) -> str | None:
    same = found(metric, x.shape[-1], x.reshape(-1, x.shape[-1])[:LOOKED_AT])[0]
    return None if same is None else public_name(same)


def _for_one_call(metric: Metric, x: Tensor) -> Metric:
    from riemann._structure.once import for_one_call

    return for_one_call(metric, x)


snapshot.name_structure, logarithm.for_one_call = _named, _for_one_call
