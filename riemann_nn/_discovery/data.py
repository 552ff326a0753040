"""What metrics are fitted to: positions of motions at times, or distances between pairs of points."""

from typing import Any

import torch
from torch import Tensor


def checked_trajectories(trajectories: Any, times: Any) -> tuple[Tensor, Tensor]:
    """Trajectories and times in float64; raises unless they are such."""
    _are_tensors(trajectories=trajectories, times=times)
    if trajectories.ndim != 3 or trajectories.numel() == 0:
        one = "; of one motion use `trajectories.unsqueeze(0)`" if trajectories.ndim == 2 else ""
        raise ValueError(
            f"`trajectories` has shape {tuple(trajectories.shape)}, expected (N, T, n): motions, times, "
            f"coordinates{one}"
        )
    T = trajectories.shape[1]
    if times.shape != (T,):
        raise ValueError(
            f"`times` has shape {tuple(times.shape)}, expected ({T},): a time for each position, the same of all "
            "motions; cut or interpolate those that have others"
        )
    if T < 3:
        raise ValueError(f"`trajectories` have {T} positions each, too few: expected 3 or more")
    y, t = trajectories.detach().double(), times.detach().to(trajectories.device).double()
    if not bool(t.isfinite().all()):
        raise ValueError(f"`times` is not finite: {t.tolist()}")
    if not bool((t.diff() > 0).all()):
        k = int((~(t.diff() > 0)).nonzero()[0, 0])
        raise ValueError(
            f"`times` do not increase: {t[k].item():g} is followed by {t[k + 1].item():g} at {k + 1}; sort the "
            "positions by time, and leave out repetitions"
        )
    if not bool(y.isfinite().all()):
        where = (~y.isfinite().all(-1)).nonzero()[0].tolist()
        raise ValueError(
            f"`trajectories` is not finite at {where}; leave such trajectories out, cut them before, or "
            "write values interpolated in time"
        )
    if bool((y == y[:, :1]).all()):
        raise ValueError("`trajectories` do not move: points at rest say nothing of a metric")
    _vary(y, "trajectories")
    return y, t


def checked_pairs(pairs: Any, distances: Any) -> tuple[Tensor, Tensor]:
    """Pairs `(N, 2, n)` and distances `(N,)` in float64; raises unless they are such."""
    if isinstance(pairs, (tuple, list)) and len(pairs) == 2 and all(isinstance(p, Tensor) for p in pairs):
        if pairs[0].ndim != 2 or pairs[0].shape != pairs[1].shape:
            raise ValueError(
                f"`pairs` have shapes {tuple(pairs[0].shape)} and {tuple(pairs[1].shape)}, expected (N, n) both"
            )
        pairs = torch.stack(list(pairs), 1)
    _are_tensors(pairs=pairs, distances=distances)
    if pairs.ndim != 3 or pairs.shape[1] != 2 or pairs.numel() == 0:
        raise ValueError(f"`pairs` has shape {tuple(pairs.shape)}, expected (N, 2, n): pairs, their two points")
    if distances.shape != pairs.shape[:1]:
        raise ValueError(
            f"`distances` has shape {tuple(distances.shape)}, expected ({len(pairs)},): a distance for each pair"
        )
    points, d = pairs.detach().double(), distances.detach().to(pairs.device).double()
    if not bool(points.isfinite().all()):
        raise ValueError(f"`pairs` is not finite at {int((~points.isfinite().flatten(1).all(1)).nonzero()[0, 0])}")
    if not bool((d.isfinite() & (d > 0)).all()):
        k = int((~(d.isfinite() & (d > 0))).nonzero()[0, 0])
        raise ValueError(f"`distances` has {float(d[k]):g} at {k}, expected positive numbers; leave such pairs out")
    _vary(points, "pairs")
    same = (points[:, 0] == points[:, 1]).all(-1)
    if bool(same.any()):
        raise ValueError(f"`pairs` has the same point twice at {int(same.nonzero()[0, 0])}; leave such pairs out")
    return points, d


def _vary(points: Tensor, name: str) -> None:
    still = (points == points[:1, :1]).all(0).all(0)
    if bool(still.any()):
        raise ValueError(f"`{name}` have the same coordinate {int(still.nonzero()[0, 0])} throughout; leave it out")


def _are_tensors(**given: Any) -> None:
    for name, value in given.items():
        if not isinstance(value, Tensor):
            many = isinstance(value, (list, tuple)) and any(isinstance(part, Tensor) for part in value)
            how = "`torch.stack`, of parts cut to one shape" if many else "`torch.as_tensor`"
            raise TypeError(f"`{name}` is a {type(value).__name__}, expected a torch.Tensor; use {how}")
        if not value.is_floating_point():
            raise TypeError(f"`{name}` has dtype {value.dtype}, expected float64 (or float32)")
