r"""Ricci with bounded memory: second derivatives of the metric are contracted as they come, tile by tile.

$2\, \mathrm{Ric}_{bd} = g^{ac} (\partial_b \partial_c g_{ad} + \partial_d \partial_c g_{ab}
- \partial_b \partial_d g_{ac} - \partial_a \partial_c g_{bd}) + \dots$: a second derivative is needed in three
contractions only. A tile holds $\partial_l \partial_k g$ for a few l and a few k: $O(n^2)$ numbers.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from riemann import _jets, formulas
from riemann._curvature import snapshot
from riemann._messages.frames import warn
from riemann._metric import faults_of, jets_of, metric_field
from riemann._points.checks import has_values
from riemann._points.chunks import in_chunks
from riemann._points.faults import warn_of, with_nan
from riemann._rounding import few_digits_of_ricci
from riemann._types import Field, Metric

BYTES = 2**22  # what the second derivatives of a tile may take: they stay in cache; a metric's intermediates add to it
LEAST = 8  # coordinates on a side of a tile, whatever it takes: two first derivatives of each serve so many second ones
LONG, TRIED = 60.0, 2.0  # seconds that are said beforehand, and those after which they are known


def ricci_in_blocks(metric: Metric, x: Tensor) -> tuple[Tensor, Tensor]:
    """`g` and `Ric_bd` at points `(*batch, n)`, without an array of n⁴ numbers; NaN where g is not a metric."""
    points, n = x.shape[:-1].numel(), x.shape[-1]
    matrix = n**2 * x.element_size()
    together = max(1, min(points, BYTES // (LEAST**2 * matrix)))
    size = min(n, max(LEAST, math.isqrt(BYTES // (together * matrix))))
    size = -(-n // -(-n // size))  # tiles alike
    said = []

    def announce(seconds: float) -> None:
        seconds *= -(-points // together)
        if seconds > LONG and not said:
            said.append(True)
            warn(
                f"exact Ricci curvature in {n} dimensions takes about {_in_words(seconds)} here: n**2 / 2 second "
                f"derivatives of the metric at {points} point{'s' if points > 1 else ''}, which are contracted as they "
                f"come. {snapshot.structure_in_words(metric, x)}`estimate_scalar_curvature` has a few digits in a "
                "fraction of that"
            )

    def judged(x: Tensor) -> tuple[Tensor, ...]:
        (g,) = jets_of(metric, x, 0)
        dg, ricci = _ricci(metric_field(metric, x), x, formulas.inverse_metric(g), size, announce)
        faults = faults_of((g, dg), x)
        if faults:
            good = ~torch.stack(list(faults.values())).any(0)
            here = (y.detach() for y in (g, dg, formulas.inverse_metric(g), ricci))
            faults |= few_digits_of_ricci(*here, good)
        warn_of(faults)
        return with_nan(faults, g, ricci)

    return in_chunks(judged, x, rank=3, chunk_size=together)


def _ricci(g: Field, x: Tensor, inverse: Tensor, size: int, announce: Callable[[float], None]) -> tuple[Tensor, Tensor]:
    r"""$\partial_k g_{ij}$ and $\mathrm{Ric}_{bd}$, from tiles of `size` times `size` second derivatives."""
    firsts, (mixed, traces, laplacian) = [], (torch.zeros_like(inverse) for _ in range(3))
    tiles = _jets.second_derivatives_in_tiles(g, x, size)
    for rows, columns, first, ddg in _timed(tiles, announce) if has_values(x) else tiles:  # g_ad,k and g_ad,lk
        l, k = (slice(block.start, block.stop) for block in (rows, columns))
        mixed[..., k] += torch.einsum("...la,...adlk->...dk", inverse[..., l, :], ddg)
        traces[..., l, k] += torch.einsum("...ac,...aclk->...lk", inverse, ddg)
        part = torch.einsum("...lk,...bdlk->...bd", inverse[..., l, k], ddg)
        laplacian += part
        if first is not None:
            firsts.append(first)
        else:  # for which k, l stand for l, k
            mixed[..., l] += torch.einsum("...ka,...adlk->...dl", inverse[..., k, :], ddg)
            laplacian += part
    traces, dg = traces.tril() + traces.tril(-1).mT, torch.cat(firsts, -1)
    return dg, 0.5 * (mixed + mixed.mT - traces - laplacian) + formulas.ricci_products(inverse, dg)


Tile = tuple[range, range, Tensor | None, Tensor]


def _timed(tiles: Iterable[Tile], announce: Callable[[float], None]) -> Iterator[Tile]:
    """The same tiles; after a few seconds it is announced how many all of them take."""
    start, done, known = time.perf_counter(), 0.0, False
    for rows, columns, first, ddg in tiles:
        yield rows, columns, first, ddg
        done += len(rows) * len(columns) * (1.0 if first is None else 0.5)
        if not known and (passed := time.perf_counter() - start) > TRIED:
            known = True
            announce(passed * 0.5 * ddg.shape[-3] ** 2 / done)


def _in_words(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.0f} hours"
