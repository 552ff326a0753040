"""The snapshot: the jets of a metric at points, and the formulas as methods on them."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from riemann import _jets, formulas
from riemann._metric import jets_of, metric_jet
from riemann._points.checks import check_count, check_points
from riemann._points.chunks import in_chunks
from riemann._types import ChunkSize, Metric, Progress


class LocalGeometry(NamedTuple):
    """The jets of a metric at points; every method is algebra on them. Made by `at`; a value that leaves `vmap`.

    Attributes:
        x: points, `(*batch, n)`.
        jets: `(g, dg, ddg)`, with `dddg` for `order=3`; derivative axes last.
    """

    x: Tensor
    jets: tuple[Tensor, ...]

    @property
    def g(self) -> Float[Tensor, "... n n"]:
        """Metric $g_{ij}$, `(*batch, n, n)`."""
        return self.jets[0]

    @property
    def dg(self) -> Float[Tensor, "... n n n"]:
        r"""First derivatives $\partial_k g_{ij}$, `[..., i, j, k]`."""
        return self._upto(1)[1]

    @property
    def ddg(self) -> Float[Tensor, "... n n n n"]:
        r"""Second derivatives $\partial_l \partial_k g_{ij}$, `[..., i, j, k, l]`."""
        return self._upto(2)[2]

    def _upto(self, order: int) -> tuple[Tensor, ...]:
        """The jets to `order`; a ValueError that says how to get them if they are not here."""
        if len(self.jets) <= order:
            raise ValueError(
                f"this snapshot holds derivatives to order {len(self.jets) - 1}, and this needs order {order}; "
                f"make it with `at(metric, x, order={order})`"
            )
        return self.jets[: order + 1]

    def inverse_metric(self) -> Float[Tensor, "... n n"]:
        """See `riemann.inverse_metric`."""
        return formulas.inverse_metric(self.g)

    def volume_element(self) -> Float[Tensor, "..."]:
        """See `riemann.volume_element`."""
        return formulas.volume_element(self.g)

    def log_volume_element(self) -> Float[Tensor, "..."]:
        """See `riemann.log_volume_element`."""
        return formulas.log_volume_element(self.g)

    def change_indices(self, T: Tensor, old: str, new: str) -> Tensor:
        """See `riemann.change_indices`."""
        return formulas.change_indices(self.g, T, old, new)

    def christoffel(self, kind: int = 2) -> Float[Tensor, "... n n n"]:
        """See `riemann.christoffel`."""
        return formulas.christoffel(*self._upto(1), kind=kind)

    def riemann_tensor(self, indices: str = "ulll") -> Float[Tensor, "... n n n n"]:
        """See `riemann.riemann_tensor`."""
        return formulas.riemann_tensor(*self._upto(2), indices=indices)

    def ricci_tensor(self, indices: str = "ll") -> Float[Tensor, "... n n"]:
        """See `riemann.ricci_tensor`."""
        return formulas.ricci_tensor(*self._upto(2), indices=indices)

    def scalar_curvature(self) -> Float[Tensor, "..."]:
        """See `riemann.scalar_curvature`."""
        return formulas.scalar_curvature(*self._upto(2))

    def einstein_tensor(self, indices: str = "ll") -> Float[Tensor, "... n n"]:
        """See `riemann.einstein_tensor`."""
        return formulas.einstein_tensor(*self._upto(2), indices=indices)

    def schouten_tensor(self, indices: str = "ll") -> Float[Tensor, "... n n"]:
        """See `riemann.schouten_tensor`."""
        return formulas.schouten_tensor(*self._upto(2), indices=indices)

    def weyl_tensor(self, indices: str = "ulll") -> Float[Tensor, "... n n n n"]:
        """See `riemann.weyl_tensor`."""
        return formulas.weyl_tensor(*self._upto(2), indices=indices)

    def kretschmann_scalar(self) -> Float[Tensor, "..."]:
        """See `riemann.kretschmann_scalar`."""
        return formulas.kretschmann_scalar(*self._upto(2))

    def sectional_curvature(self, u: Float[Tensor, "*#batch n"], v: Float[Tensor, "*#batch n"]) -> Float[Tensor, "..."]:
        """See `riemann.sectional_curvature`."""
        return formulas.sectional_curvature(*self._upto(2), u, v)

    def ricci_curvature(self, v: Float[Tensor, "*#batch n"]) -> Float[Tensor, "..."]:
        """See `riemann.ricci_curvature`."""
        return formulas.ricci_curvature(*self._upto(2), v)

    def curvature_endomorphism(
        self, u: Float[Tensor, "*#batch n"], v: Float[Tensor, "*#batch n"], w: Float[Tensor, "*#batch n"]
    ) -> Float[Tensor, "... n"]:
        """See `riemann.curvature_endomorphism`."""
        return formulas.curvature_endomorphism(*self._upto(2), u, v, w)

    def nabla_riemann(self) -> Float[Tensor, "... n n n n n"]:
        """See `riemann.nabla_riemann`; needs `order=3`."""
        return formulas.nabla_riemann(*self._upto(3))

    def cotton_tensor(self, indices: str = "lll") -> Float[Tensor, "... n n n"]:
        """See `riemann.cotton_tensor`; needs `order=3`."""
        return formulas.cotton_tensor(*self._upto(3), indices=indices)


def at(
    metric: Metric,
    x: Float[Tensor, "*batch n"],
    order: int = 2,
    *,
    chunk_size: ChunkSize = "auto",
    progress: Progress = False,
) -> LocalGeometry:
    """Differentiates the metric once, at points; everything else is algebra on the result.

    Args:
        metric: callable, one point `(n,)` to a symmetric nonsingular `(n, n)`.
        x: points, `(*batch, n)`.
        order: highest derivative of g: 1 for Christoffel symbols, 2 for curvature, 3 for its derivatives.
        chunk_size: points at a time, or memory as in `"2GB"`; `"auto"` keeps to 256 MB beside the results.
        progress: shows a bar (tqdm), or calls a function of the points done and of all.

    Returns:
        The snapshot, whose methods are named like the functions of this package.

    Raises:
        TypeError: `x` or what the metric returns is no floating-point tensor.
        ValueError: wrong shape, dtype or device, coordinates that are not finite, a metric that drops derivatives.

    Warns:
        UserWarning: where g is not finite, not symmetric or singular to rounding ("rank 2 of 3"), or its derivatives
            are not finite; results are NaN at that point, also those that need no inverse. And where rounding leaves
            fewer than 3 digits of the curvature, which is kept: see `bound_rounding`.

    Note:
        A metric inside DistributedDataParallel or `torch.compile` is unwrapped. Gradients of a loss on the result are
        then NOT synchronised between processes: wrap a module whose `forward` computes the loss.

    Example:
        >>> import torch
        >>> here = at(lambda x: torch.diag(torch.stack([x[1] ** -2, x[1] ** -2])), torch.tensor([0.0, 2.0]))
        >>> here.scalar_curvature()
        tensor(-2.)
    """
    check_count("order", order, 0)
    check_points(x)
    light = _jets.weight_of(metric)
    jets = in_chunks(
        lambda x: metric_jet(metric, x, order), x, rank=2 + order, light=light, chunk_size=chunk_size, progress=progress
    )
    return LocalGeometry(x, jets)


at.register, at.route = jets_of.register, jets_of.route  # a route of `at` returns the jets
