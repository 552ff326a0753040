"""Curvature as a loss: squares of curvature, exact or sampled, unbiased, and free of the scale of the metric."""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

import riemann
from riemann._shared import door
from riemann_nn._fields.factored import is_light, log_volumes, normal_vectors, sectional_form
from riemann_nn._fields.metric_net import MetricNet
from riemann_nn._losses import reduce
from riemann_nn._losses.means import check_batch, weights_of


@door
def curvature_loss(
    metric: Any,
    x: Float[Tensor, "*batch n"],
    kind: str = "scalar",
    estimator: str = "exact",
    *,
    scale_free: bool = False,
    num_samples: int = 4,
    generator: torch.Generator | None = None,
    measure: str | Tensor = "points",
    chunk_size: int | str | None = "auto",
) -> Float[Tensor, ""]:
    r"""Mean square of a curvature over points.

    | kind | mean of | sampled |
    | --- | --- | --- |
    | `"scalar"` | $S^2$ | $(n(n-1))^2\, K K'$, independent planes |
    | `"sectional"` | $E[K^2]$ over planes | $K^2$ |
    | `"ricci"` | $\lvert Ric \rvert^2$ | $\tfrac12 (n(n+2)(n-1)^2\, K(p,q) K(p,q') - S^2)$, p common |
    | `"riemann"` | $\lvert Rm \rvert^2$ | from the other three, by the formula below |

    $E[K^2] = (S^2 + 4 \lvert Ric \rvert^2 + 3 \lvert Rm \rvert^2) / (n(n+2)(n^2-1))$ over uniformly random
    planes. For n > 3 only `"sectional"` and `"riemann"` are 0 exactly where the metric is flat; `"scalar"` is the
    paper's.

    Args:
        metric: callable, one point `(n,)` to a positive definite `(n, n)`; of any signature for `"exact"`, but for
            `"sectional"`. For `"exact"` also the curvature, compiled (`riemann.compile`): the scalar curvature for
            `"scalar"`, the Kretschmann scalar for `"riemann"`, Ricci with `indices="ul"` for `"ricci"`.
        x: points, `(*batch, n)`.
        kind: which curvature.
        estimator: `"exact"`, or `"sampled"`: unbiased, also in its gradients, memory O(n²) a plane; but for
            `"sectional"` it may come out negative.
        scale_free: multiplies each curvature by $(\det g)^{1/n}$ at its point, so that g and c g have the same loss:
            what to train with, for the literal loss falls when g grows.
        num_samples: independent planes (pairs of planes) at each point, for `"sampled"`.
        generator: source of randomness, on the device of `x`.
        measure: what the mean is over: `"points"` as they are; `"volume"`, points uniform in the chart weighted by
            their volume elements; or weights, `(*batch,)`. Weights are constants for gradients.
        chunk_size: points, or planes, at a time, or memory as in `"2GB"`.

    Returns:
        A scalar, the same on every rank of `torch.distributed`: the mean is over the points of all.

    Raises:
        ValueError: unknown names, no points, too few samples, a metric that is not positive definite where planes are
            averaged over.

    Note:
        The square of one noisy estimate would be $S^2$ plus its variance. What is sampled here is made of products
        of independent estimates. Exact `"sectional"` and `"riemann"` take memory O(n⁴) a point.

    Example:
        >>> from riemann_nn import curvature_loss
        >>> half_plane = lambda x: torch.eye(2) / x[1] ** 2
        >>> x = torch.tensor([[0.0, 1.0], [0.0, 2.0]])
        >>> curvature_loss(half_plane, x)
        tensor(4.)
    """
    check_names(kind, estimator)
    check_batch(x, 1)
    compiled, metric = (metric, metric.metric) if isinstance(metric, riemann.Compiled) else (None, metric)
    weights = weights_of(metric, x, measure)
    if compiled is not None:
        squares = _of_compiled(compiled, x, kind, estimator)
    elif estimator == "exact":
        squares = _exact(metric, x, kind, chunk_size)
    else:
        squares = sampled_squares(metric, x, kind, num_samples, generator, chunk_size=chunk_size)
    if scale_free:
        automatic = chunk_size == "auto"
        log_volume = (
            log_volumes(metric, x) if automatic else riemann.log_volume_element(metric, x, chunk_size=chunk_size)
        )
        squares = squares * torch.exp(4 / x.shape[-1] * log_volume)
    return reduce.mean(squares, weights)


_LEAST_SAMPLES = {"scalar": 2, "sectional": 1, "ricci": 2, "riemann": 2}


def check_names(kind: str, estimator: str) -> None:
    """Raises unless the names are known."""
    if kind not in _LEAST_SAMPLES:
        raise ValueError(f"`kind` is {kind!r}, expected one of {', '.join(map(repr, _LEAST_SAMPLES))}")
    if estimator not in ("exact", "sampled"):
        raise ValueError(f"`estimator` is {estimator!r}, expected 'exact' or 'sampled'")


def _exact(metric: Any, x: Tensor, kind: str, chunk_size: int | str | None) -> Tensor:
    n = x.shape[-1]
    if kind == "sectional":
        normal_vectors(metric, x, None, 0)  # planes are uniformly random where g is positive definite
    if kind == "scalar":
        return riemann.scalar_curvature(metric, x, chunk_size=chunk_size).square()
    if kind == "riemann":
        return riemann.kretschmann_scalar(metric, x, chunk_size=chunk_size)
    ricci = riemann.ricci_tensor(metric, x, "ul", chunk_size=chunk_size)
    ricci_square = torch.einsum("...ij,...ji->...", ricci, ricci)
    if kind == "ricci":
        return ricci_square
    if n == 1:  # no planes
        return ricci_square
    scalar = torch.einsum("...ii->...", ricci)
    riemann_square = riemann.kretschmann_scalar(metric, x, chunk_size=chunk_size)
    return (scalar.square() + 4 * ricci_square + 3 * riemann_square) / (n * (n + 2) * (n * n - 1))


_COMPILED = {
    "scalar": ("scalar_curvature", {}),
    "ricci": ("ricci_tensor", {"indices": "ul"}),
    "riemann": ("kretschmann_scalar", {}),
}
"""What each exact loss is made of, if it is one quantity."""


def _of_compiled(curvature: riemann.Compiled, x: Tensor, kind: str, estimator: str) -> Tensor:
    """Squares of a compiled curvature at each point."""
    if estimator != "exact" or kind not in _COMPILED:
        raise ValueError(
            f"the loss of kind {kind!r}, {estimator}, is not made of one compiled quantity: give `curvature_loss` the "
            "metric itself, or what `riemann.structured` makes of it"
        )
    quantity, options = _COMPILED[kind]
    if (curvature.quantity, curvature.options) != (quantity, options):
        words = "".join(f", {name}={value!r}" for name, value in options.items())
        raise ValueError(f"`metric` is {curvature!r}; kind {kind!r} takes `riemann.compile(…, {quantity!r}{words})`")
    value = curvature(x)
    value = value.full() if isinstance(value, riemann.Components) else value
    if kind == "ricci":
        return torch.einsum("...ij,...ji->...", value, value)
    return value.square() if kind == "scalar" else value


def sampled_squares(
    metric: Any,
    x: Tensor,
    kind: str,
    num_samples: int,
    generator: torch.Generator | None = None,
    *,
    chunk_size: int | str | None = "auto",
) -> Tensor:
    """Unbiased estimates of the square of a curvature at each point, `(*batch,)`."""
    n, m = x.shape[-1], num_samples
    if not isinstance(m, int) or m < _LEAST_SAMPLES[kind]:
        raise ValueError(
            f"`num_samples` is {m!r}, expected a whole number, {_LEAST_SAMPLES[kind]} or more for {kind!r}"
        )
    if n == 1:
        return 0 * riemann.log_volume_element(metric, x)
    K = _curvatures_of_planes(metric, x, m, 2 if kind in ("ricci", "riemann") else 1, generator, chunk_size)
    first = K[0]
    square = first.square().mean(0)
    if kind == "sectional":
        return square
    different = (first.sum(0).square() - first.square().sum(0)) / (m * (m - 1))  # of K_i K_j, i not j
    scalar_square = (n * (n - 1)) ** 2 * different
    if kind == "scalar":
        return scalar_square
    ricci_square = 0.5 * (n * (n + 2) * (n - 1) ** 2 * (first * K[1]).mean(0) - scalar_square)
    if kind == "ricci":
        return ricci_square
    return (n * (n + 2) * (n * n - 1) * square - scalar_square - 4 * ricci_square) / 3


def _curvatures_of_planes(
    metric: Any, x: Tensor, samples: int, planes: int, generator: torch.Generator | None, chunk_size: int | str | None
) -> Tensor:
    r"""Sectional curvatures of uniformly random planes, `(planes, samples, *batch)`; those of one sample share p.

    Normal vectors of covariance $g^{-1}$ span them; of these, orthonormal in g, `sectional_form` is the curvature.
    Areas of vectors that happen to be nearly parallel, as in two dimensions some soon are, would be lost to rounding.
    """
    vectors, covectors = normal_vectors(metric, x, generator, (planes + 1) * samples)
    p, q = vectors[:samples], vectors[samples:].unflatten(0, (planes, samples))
    p_lower, q_lower = covectors[:samples], covectors[samples:].unflatten(0, (planes, samples))
    length = (p * p_lower).sum(-1, keepdim=True).sqrt()
    p, p_lower = p / length, p_lower / length
    for _ in range(2):  # once loses digits where p and q are nearly parallel
        along = (q * p_lower).sum(-1, keepdim=True)
        q, q_lower = q - along * p, q_lower - along * p_lower
        length = (q * q_lower).sum(-1, keepdim=True).sqrt()
        q, q_lower = q / length, q_lower / length
    if chunk_size == "auto" and isinstance(metric, MetricNet) and is_light(metric):
        return sectional_form(metric, x, p.expand_as(q), q)
    return riemann.sectional_form(metric, x, p.expand_as(q), q, chunk_size=chunk_size)


class CurvatureLoss(torch.nn.Module):
    """`curvature_loss` of a metric as a module: the form that DistributedDataParallel and `functional_call` need.

    Args:
        metric: as for `curvature_loss`; its parameters are those of the module.
        kind: as for `curvature_loss`.
        estimator: as for `curvature_loss`.
        **options: further arguments of `curvature_loss`.

    Example:
        >>> import torch
        >>> from riemann_nn import CurvatureLoss, MetricNet
        >>> CurvatureLoss(MetricNet(2))(torch.randn(8, 2)).item() < 1e-6
        True
    """

    metric: Any
    kind: str
    estimator: str
    options: dict[str, Any]
    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...

    def __init__(self, metric: Any, kind: str = "scalar", estimator: str = "exact", **options: Any):
        super().__init__()
        check_names(kind, estimator)
        self.metric, self.kind, self.estimator, self.options = metric, kind, estimator, options

    def forward(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, ""]:
        """The loss at points `(*batch, n)`."""
        return curvature_loss(self.metric, x, self.kind, self.estimator, **self.options)
