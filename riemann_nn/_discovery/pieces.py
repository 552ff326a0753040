"""Pieces of trajectories, and the states that local polynomials see in noisy positions."""

from typing import NamedTuple

import torch
from torch import Tensor

_DEGREE = 3  # of the polynomials
_HALVES = (1, 2, 3, 4, 6, 8, 12, 16, 24)  # of their windows, in samples


class Pieces(NamedTuple):
    """The pieces that trajectories are cut into, each with a first state of its own; they share their ends.

    Attributes:
        trajectory: which one each is of, `(pieces,)`.
        rows: its samples, `(pieces, samples)`; those beyond the end repeat the last.
        present: whether a sample is there, `(pieces, samples)`.
        steps: time between samples, `(pieces, samples - 1)`; 0 beyond the end.
    """

    trajectory: Tensor
    rows: Tensor
    present: Tensor
    steps: Tensor

    def of(self, values: Tensor) -> Tensor:
        """Values along trajectories, `(N, T, …)`, along pieces."""
        return values[self.trajectory.unsqueeze(-1), self.rows]

    def joined(self, values: Tensor, like: Tensor) -> Tensor:
        """Values along pieces, `(pieces, samples, k)`, along trajectories `like` `(N, T, …)`: `(N, T, k)`."""
        out = values.new_zeros(*like.shape[:2], values.shape[-1])
        there = self.present
        out[self.trajectory.unsqueeze(-1).expand_as(self.rows)[there], self.rows[there]] = values[there]
        return out


def cut(y: Tensor, times: Tensor, length: int) -> Pieces:
    """Pieces of `length` intervals."""
    N, T, _ = y.shape
    first = torch.arange(0, T - 1, length, device=y.device)
    rows = first.unsqueeze(-1) + torch.arange(length + 1, device=y.device)
    present, rows = rows < T, rows.clamp(max=T - 1)
    each = lambda a: a.repeat(N, 1)
    trajectory = torch.arange(N, device=y.device).repeat_interleave(len(first))
    return Pieces(trajectory, each(rows), each(present), each(times[rows].diff(dim=1)))


def smoothed(y: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """States `(N, T, 2n)` of polynomials through neighbouring samples, and the noise of each coordinate, `(n,)`.

    The window is the one that predicts samples left out best.
    """
    T = y.shape[1]
    best = None
    for half in (h for h in _HALVES if 2 * h + 1 <= T):
        size = 2 * half + 1
        first = (torch.arange(T, device=y.device) - half).clamp(0, T - size)
        rows = first.unsqueeze(-1) + torch.arange(size, device=y.device)
        t = times[rows] - times.unsqueeze(-1)
        unit = t.abs().amax(1, keepdim=True)
        powers = torch.stack([(t / unit) ** k for k in range(min(_DEGREE, size - 2) + 1)], -1)
        c = torch.einsum("tks,Ntsn->kNtn", torch.linalg.pinv(powers)[:, :2], y[:, rows])
        weight = torch.linalg.pinv(powers)[:, 0].gather(-1, (torch.arange(T, device=y.device) - first).unsqueeze(-1))
        rest, kept = (c[0] - y).square(), (1 - weight)
        left_out = float((rest / kept.square() / y.var((0, 1))).mean())
        if best is None or left_out < best[0]:
            noise = (rest / kept).mean((0, 1)).sqrt()
            best = left_out, torch.cat((c[0], c[1] / unit), -1), noise
    assert best is not None
    return best[1:]
