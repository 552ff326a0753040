"""How nearly a metric is symmetric: the residuals of Killing's equation over many points, and where they jump."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Unpack

from torch import Tensor

from riemann._calculus.killing_fields import killing_fields
from riemann._types import Field, KillingOptions, Metric

_ZERO = 1e-9  # residuals that are less count as this much
_GAP = 3.0  # between residuals of symmetries, and the least of what is none
_LARGE = 0.5  # a residual of no symmetry: those of generic fields are 1 and more


class KillingSpectrum(NamedTuple):
    r"""Residuals of Killing's equation, and how many of them a gap sets apart.

    Attributes:
        values: $\lVert L_X g \rVert$ of fields of norm 1, of the next orthogonal to those before, increasing.
        gaps: the ratio of each to the one before, up to one more than a metric can have: the first speaks for 1 field.
        dimension: of the space of symmetries before the widest gap; 0 where none is as wide as 3.
    """

    values: Tensor
    gaps: Tensor
    dimension: int


def killing_spectrum(
    metric: Metric,
    box: Sequence[Sequence[int | float]] | None = None,
    basis: str | Field | Sequence[Field] = "polynomial",
    *,
    degree: int = 1,
    **options: Unpack[KillingOptions],
) -> KillingSpectrum:
    r"""How nearly a metric has symmetries: for learned and noisy metrics, where `killing_dimension` is 0 or -1.

    `killing_dimension` asks whether derivatives of curvature at a point vanish, which those of a learned metric do not.
    Here the least residuals of Killing's equation over many points are compared with each other: symmetries stand
    before a gap. Only those in the basis are seen; `killing_fields` with a `tolerance` within the gap returns them.

    Args:
        metric: callable, one point `(n,)` to `(n, n)`.
        box: as for `killing_fields`.
        basis: as for `killing_fields`.
        degree: of the named bases; lower than there, for a large basis fits noise.
        **options: as for `killing_fields`; `points` of a learned metric are its data.

    Returns:
        `.values`, `.gaps`, `.dimension`.

    Raises:
        TypeError, ValueError: as `killing_fields`.

    Example:
        >>> wrinkled = lambda x: (1 + 0.01 * torch.sin(9 * x[1])) * (1 + x @ x) * torch.eye(2)
        >>> killing_spectrum(wrinkled, ((-1, 1), (-1, 1))).dimension
        1
    """
    found = killing_fields(metric, box, basis, degree=degree, **{"tolerance": math.inf, **options})
    points, kind = options.get("points"), options.get("kind", "killing")
    n = len(box or ()) if points is None else points.shape[-1]
    values = found.spectrum
    most = n * (n + 1) // 2 + (kind == "homothetic")
    if kind == "conformal":  # of which there is no end in the plane
        most = (n + 1) * (n + 2) // 2 if n > 2 else len(values)
    first = values[: most + 1].clamp(min=_ZERO)
    gaps = first[1:] / first[:-1]
    small = gaps.where(first[:-1] < _LARGE, 0.0)
    if len(small) and float(small.max()) >= _GAP:
        dimension = int(small.argmax()) + 1
    else:  # all that there can be, or none
        dimension = len(first) if len(first) <= most and float(first[-1]) < _LARGE / _GAP else 0
    return KillingSpectrum(values, gaps, dimension)
