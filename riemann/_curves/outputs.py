"""States at the parameters asked for: by the polynomial along the step in which they lie, or at its end."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from riemann._curves import dop853 as pair

Flow = Callable[[Tensor, Tensor], Tensor]  # parameters (b,), states (b, d) -> derivatives (b, d)

WAITING = 2**26  # bytes of steps that wait for outputs to be made of them


class Tried(NamedTuple):
    """A step that some points try."""

    lanes: Tensor  # (m,), which points
    accepted: Tensor  # (m,)
    t: Tensor  # (m,), the parameters that it goes from and to
    t_new: Tensor
    h: Tensor
    y: Tensor  # (m, d), the states there
    y_new: Tensor


class Step(NamedTuple):
    """One accepted step of some points, and which parameters of output lie in it."""

    lanes: Tensor  # (m,), points that step
    start: Tensor  # (m,), their parameter
    size: Tensor  # (m,)
    inner: tuple[Tensor, Tensor, Tensor]  # position in lanes, row of output, fraction of the step: dense output
    ends: tuple[Tensor, Tensor]  # position in lanes, row of output: at the end of the step


class Outputs:
    """Makes outputs of steps: `together`, of several as of one of all their points, or of each by itself.

    Attributes:
        steps: those of which outputs were made.
        values: the states at parameters that lie in each step, and at those at its end.
    """

    def __init__(self, flow: Flow, times: Tensor, k: pair.Slopes, together: bool):
        self.flow, self.times, self.table = flow, times, k.table
        self.together = together and 2 * k.slopes.nbytes <= WAITING
        self.waiting: list[tuple[Tried, Tensor]] = []
        self.bytes = 0
        self.steps: list[Step] = []
        self.values: list[Tensor] = []

    def add(self, tried: Tried, k: pair.Slopes) -> None:
        """One more step, by its slopes."""
        if not self.together:
            self._make(tried, k)
            return
        slopes = k.slopes[:0] if len(self.times) == 1 else k.kept()  # nothing lies inside of steps to one parameter
        self.waiting.append((tried, slopes))
        self.bytes += sum(a.nbytes for a in (*tried, slopes))
        if self.bytes > WAITING:
            self.finish()

    def finish(self) -> None:
        """Makes what is waiting."""
        if not self.waiting:
            return
        steps, slopes = zip(*self.waiting, strict=True)
        *parts, y, y_new = zip(*steps, strict=True)
        lie = [torch.cat([a.mT for a in states], 1).mT for states in (y, y_new)]  # each component side by side
        self.waiting, self.bytes = [], 0
        self._make(Tried(*map(torch.cat, parts), *lie), pair.Slopes.joined(self.table, slopes))

    def _make(self, tried: Tried, k: pair.Slopes) -> None:
        lanes, accepted, t, t_new, h, y, y_new = tried
        first, stop = (torch.searchsorted(self.times, bound, right=True) for bound in (t, t_new))
        count = torch.where(accepted, stop - first, 0)
        owner = torch.repeat_interleave(count)
        row = torch.arange(len(owner), device=t.device) - (count.cumsum(0) - count)[owner] + first[owner]
        fraction = (self.times[row] - t[owner]) / h[owner]
        at_end = self.times[row] == t_new[owner]
        position = accepted.cumsum(0) - 1
        inner, ends = owner[~at_end], owner[at_end]
        step = Step(
            lanes[accepted],
            t[accepted],
            h[accepted],
            (position[inner], row[~at_end], fraction[~at_end]),
            (position[ends], row[at_end]),
        )
        self.steps.append(step)
        self.values += states(self.flow, inner, fraction[~at_end], ends, t, h, y, k, y_new)


def states(
    flow: Flow,
    inner: Tensor,
    fraction: Tensor,
    ends: Tensor,
    t: Tensor,
    h: Tensor,
    y: Tensor,
    k: pair.Slopes | pair.Terms,
    y_new: Tensor,
) -> list[Tensor]:
    """Those inside the step of some points, at fractions of it, and those at the ends of others."""
    if len(inner) == 0:
        return [y_new[inner], y_new[ends]]
    need, owner = torch.unique(inner, return_inverse=True)
    if 2 * len(need) > len(y):  # choosing costs more than it spares
        return [_evaluated(_dense(flow, t, h, y, k, y_new), inner, fraction), y_new[ends]]
    polynomial = _dense(flow, t[need], h[need], y[need], k.of(need), y_new[need])
    return [_evaluated(polynomial, owner, fraction), y_new[ends]]


def _dense(flow: Flow, t: Tensor, h: Tensor, y: Tensor, k: pair.Slopes | pair.Terms, y_new: Tensor) -> Tensor:
    """Coefficients of the polynomial of degree 7 along a step, `(8, b, d)`; three more slopes."""
    size = h[:, None]
    for row, c in enumerate(pair.DENSE_NODES, pair.DENSE_STAGES):
        k.append(flow(t + c * h, torch.addcmul(y, size, k.combined(row))))
    change, start, end = y_new - y, size * k[0], size * k[12]
    first = torch.stack((y, change, start - change, 2 * change - (end + start)))
    return torch.cat((first, size * k.combined(pair.DENSE)))


def _evaluated(polynomial: Tensor, owner: Tensor, fraction: Tensor) -> Tensor:
    *lower, value = polynomial[:, owner]
    s = fraction[:, None].expand(value.shape)
    for power, coefficient in reversed(list(enumerate(lower))):
        value = torch.addcmul(coefficient, value, s if power % 2 == 0 else 1 - s)
    return value
