r"""Ricci with bounded memory: second derivatives of the metric are contracted as they come, block by block.

$2\, \mathrm{Ric}_{bd} = g^{ac} (\partial_b \partial_c g_{ad} + \partial_d \partial_c g_{ab}
- \partial_b \partial_d g_{ac} - \partial_a \partial_c g_{bd}) + \dots$: a second derivative is needed in three
contractions only. A block holds $\partial_l \partial_k g$ for its rows l and all k up to the last of them.
"""

import torch
from torch import Tensor

from riemann import _jets, formulas
from riemann._metric import faults_of, safe_metric
from riemann._points.chunks import in_chunks
from riemann._points.faults import warn_of, with_nan
from riemann._rounding import few_digits_of_ricci
from riemann._types import Field, Metric

BYTES = 2**22  # what the second derivatives of a block may take: they stay in cache; a metric's intermediates add to it


def ricci_in_blocks(metric: Metric, x: Tensor) -> tuple[Tensor, Tensor]:
    """`g` and `Ric_bd` at points `(*batch, n)`, without an array of n⁴ numbers; NaN where g is no metric.

    At most so many points at a time that one row of each takes no more than `BYTES`.
    """
    _jets.check_points(x)
    points, n = x.shape[:-1].numel(), x.shape[-1]
    row = n**3 * x.element_size()
    together = max(1, min(points, BYTES // row))
    size = max(1, min(n, BYTES // (together * row)))

    def at_point(p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        here = safe_metric(metric, p, 2)
        g = here(p)
        return g, *_ricci(here, p, formulas.inverse_metric(g), size)

    def judged(x: Tensor) -> tuple[Tensor, ...]:
        g, dg, ricci = _jets.over_points(at_point, x)
        faults = faults_of((g, dg), x)
        if faults:
            good = ~torch.stack(list(faults.values())).any(0)
            here = (y.detach() for y in (g, dg, formulas.inverse_metric(g), ricci))
            faults |= few_digits_of_ricci(*here, good)
        warn_of(faults)
        return with_nan(faults, g, ricci)

    return in_chunks(judged, x, rank=3, chunk_size=together)


def _ricci(g: Field, x: Tensor, inverse: Tensor, size: int) -> tuple[Tensor, Tensor]:
    r"""$\partial_k g_{ij}$ and $\mathrm{Ric}_{bd}$ at one point, from blocks of `size` rows."""
    dg, mixed, traces, laplacian = (torch.zeros_like(inverse) for _ in range(4))
    for start, dg, ddg in _jets.second_derivatives_in_blocks(g, x, size):
        stop, below = len(dg), ddg[:, :start]  # below: k before the block, for which k, l stand for l, k
        mixed[:stop] += torch.einsum("ca,cbad->bd", inverse[start:stop], ddg)
        mixed[start:stop] += torch.einsum("ca,bcad->bd", inverse[:start], below)
        traces[start:stop, :stop] += torch.einsum("ac,dbac->db", inverse, ddg)
        laplacian += torch.einsum("ac,acbd->bd", inverse[start:stop, :stop], ddg)
        laplacian += torch.einsum("ac,acbd->bd", inverse[start:stop, :start], below)
    traces = traces.tril() + traces.tril(-1).mT
    dg = dg.movedim(0, -1)
    return dg, 0.5 * (mixed + mixed.mT - traces - laplacian) + formulas.ricci_products(inverse, dg)
