"""Two ways to one quantity, compared at a few points that tell them apart, against the rounding seen beside them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from riemann._jets import Unsteady

MOST = 2**20  # numbers that are compared
ALLOWED = 1000.0  # roundings that the ways may differ by


def telling(x: Tensor, most: int) -> Tensor:
    """Places in points `(z, n)`: first, last, some with a zero, a whole number, equal or extreme coordinates."""
    ordered = x.sort(-1).values
    size = x.abs()
    looks = [
        (x == 0).any(-1), (x == x.round()).any(-1), (ordered[:, 1:] == ordered[:, :-1]).any(-1), (x < 0).any(-1),
    ]  # fmt: skip
    places = [look.to(torch.uint8).argmax() for look in looks]  # the first that looks so, else the first of all
    places += [torch.tensor(len(x) - 1), size.amin(-1).argmin(), size.amax(-1).argmax()]
    return torch.stack([p.cpu() for p in places]).unique()[:most].to(x.device)


def nearer(x: Tensor) -> Tensor:
    """Points nearer to 0 than a point `(1, n)`, in all coordinates or in one: where expressions cancel most often."""
    n = x.shape[-1]
    scales = [torch.full((n,), 10.0**-k) for k in (1, 2, 3, 4)]
    scales += [torch.ones(n).index_fill(0, torch.tensor(k), 1e-3) for k in range(n)]
    return x * torch.stack(scales).to(x)


def beside(y: Tensor, seed: int) -> Tensor:
    """Numbers whose last bits are others."""
    draw = torch.Generator().manual_seed(seed)
    bits = torch.randint(-4, 5, y.shape, generator=draw).to(y)
    return y * (1 + torch.finfo(y.dtype).eps * bits)


def spread(values: Sequence[Tensor]) -> Tensor:
    """How far several values `(z, m)` are apart where all are finite, the largest at each point, `(z, 1)`."""
    y = torch.stack(list(values))
    apart = y.amax(0) - y.amin(0)
    return torch.where(apart.isfinite(), apart, 0).amax(-1, keepdim=True)


def difference(
    f: Callable[[Tensor], Tensor], x: Tensor, got: Tensor, noise: Tensor, roundings: float = 1.0
) -> tuple[list[float], float, float] | None:
    """Where values `(z, m)` at points `(z, n)` are not those of `f`: the point, the value and that of f, or None.

    Rounding is what `f` changes by where the last bits of a point do, or `noise`, `(z, 1)`, or so many `roundings` of
    the largest value. A function that changes where the point does not has none.
    """
    want, again = f(x), f(x)
    size = torch.where(want.isfinite(), want.abs(), 0).amax(-1, keepdim=True)
    size = torch.where(size == 0, 1, size)  # what is 0 on one way and rounded on the other
    unit = ALLOWED * torch.finfo(x.dtype).eps * size
    if not bool(_are_alike(want, again, unit).all()):
        raise Unsteady
    noise = noise + spread([f(beside(x, k)) for k in range(4)])
    same = _are_alike(got, want, ALLOWED * noise + roundings * unit)
    if bool(same.all()):
        return None
    k, entry = (int(i) for i in (~same).nonzero()[0])
    return x[k].tolist(), float(got[k, entry]), float(want[k, entry])


def _are_alike(a: Tensor, b: Tensor, apart: Tensor) -> Tensor:
    return ((a - b).abs() <= apart) | a.isnan() & b.isnan() | (a == b)
