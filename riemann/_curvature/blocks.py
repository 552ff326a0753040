r"""Ricci with bounded memory: second derivatives of the metric are contracted as they come, block by block.

$2\, \mathrm{Ric}_{bd} = g^{ac} (\partial_b \partial_c g_{ad} + \partial_d \partial_c g_{ab}
- \partial_b \partial_d g_{ac} - \partial_a \partial_c g_{bd}) + \dots$: a second derivative is needed in three
contractions only. A block holds $\partial_l \partial_k g$ for its rows l and all k up to the last of them.
"""

import torch
from torch import Tensor

from riemann import _jets, formulas
from riemann._metric import faults_of, jets_of, metric_field
from riemann._points.chunks import in_chunks
from riemann._points.faults import warn_of, with_nan
from riemann._rounding import few_digits_of_ricci
from riemann._types import Field, Metric

BYTES = 2**22  # what the second derivatives of a block may take: they stay in cache; a metric's intermediates add to it


def ricci_in_blocks(metric: Metric, x: Tensor) -> tuple[Tensor, Tensor]:
    """`g` and `Ric_bd` at points `(*batch, n)`, without an array of n⁴ numbers; NaN where g is not a metric.

    At most so many points at a time that one row of each takes no more than `BYTES`.
    """
    points, n = x.shape[:-1].numel(), x.shape[-1]
    row = n**3 * x.element_size()
    together = max(1, min(points, BYTES // row))
    size = max(1, min(n, BYTES // (together * row)))

    def judged(x: Tensor) -> tuple[Tensor, ...]:
        (g,) = jets_of(metric, x, 0)
        dg, ricci = _ricci(metric_field(metric, x), x, formulas.inverse_metric(g), size)
        faults = faults_of((g, dg), x)
        if faults:
            good = ~torch.stack(list(faults.values())).any(0)
            here = (y.detach() for y in (g, dg, formulas.inverse_metric(g), ricci))
            faults |= few_digits_of_ricci(*here, good)
        warn_of(faults)
        return with_nan(faults, g, ricci)

    return in_chunks(judged, x, rank=3, chunk_size=together)


def _ricci(g: Field, x: Tensor, inverse: Tensor, size: int) -> tuple[Tensor, Tensor]:
    r"""$\partial_k g_{ij}$ and $\mathrm{Ric}_{bd}$, from blocks of `size` rows."""
    dg, mixed, traces, laplacian = (torch.zeros_like(inverse) for _ in range(4))
    for start, dg, ddg in _jets.second_derivatives_in_blocks(g, x, size):  # g_ad,k and g_ad,lk
        stop = dg.shape[-1]
        block, below = slice(start, stop), ddg[..., :start]  # below: k before the block, for which k, l stand for l, k
        rows, before = inverse[..., block, :], inverse[..., :start, :]
        mixed[..., :stop] += torch.einsum("...la,...adlk->...dk", rows, ddg)
        mixed[..., block] += torch.einsum("...ka,...adlk->...dl", before, below)
        traces[..., block, :stop] += torch.einsum("...ac,...aclk->...lk", inverse, ddg)
        laplacian += torch.einsum("...lk,...bdlk->...bd", inverse[..., block, :stop], ddg)
        laplacian += torch.einsum("...lk,...bdlk->...bd", inverse[..., block, :start], below)
    traces = traces.tril() + traces.tril(-1).mT
    return dg, 0.5 * (mixed + mixed.mT - traces - laplacian) + formulas.ricci_products(inverse, dg)
