"""Indices: contracted, and moved with the metric; their positions are strings over `u` (upper) and `l` (lower)."""

from torch import Tensor

from riemann._contraction import contract


def check_positions(indices: str, rank: int | None, what: str) -> None:
    """Raises unless `indices` has one `u` or `l` for each of `rank` indices; of any number of them for None."""
    if not isinstance(indices, str) or rank not in (None, len(indices)) or set(indices) - set("ul"):
        rank = len(indices) if rank is None and isinstance(indices, str) else rank
        count = "" if rank is None else f"{rank} "
        raise ValueError(
            f"`indices` of {what} is {indices!r}, expected {count}letters, each `u` (upper) or `l` (lower), "
            f"as in {'ulllllll'[: rank or 4]!r}"
        )


def matvec(A: Tensor, w: Tensor) -> Tensor:
    """`A^i_j w^j`, of matrices `(*batch, m, n)` and vectors `(*batch, n)`."""
    return (A @ w.unsqueeze(-1)).squeeze(-1)


def bilinear(h: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """`h_ij u^i v^j`, `(*batch,)`."""
    return contract("...ij,...i,...j->...", h, u, v)


def metric_trace(inverse: Tensor, h: Tensor) -> Tensor:
    """`g^ij h_ij`, `(*batch,)`."""
    return contract("...ij,...ij->...", inverse, h)


def contract_axis(T: Tensor, matrix: Tensor, axis: int, rank: int) -> Tensor:
    """T with its tensor axis `axis` (of `rank`) contracted with the last axis of a matrix `(*batch, n, n)`."""
    old = "abcdefgh"[:rank]
    return contract(f"...{old},...z{old[axis]}->...{old.replace(old[axis], 'z')}", T, matrix)


def move_indices(T: Tensor, g: Tensor, inverse: Tensor | None, old: str, new: str) -> Tensor:
    """T with indices at `old` positions, moved to `new` positions by g and its inverse (needed where one is raised)."""
    for axis, (a, b) in enumerate(zip(old, new, strict=True)):
        if a != b:
            matrix = g if b == "l" else inverse
            assert matrix is not None
            T = contract_axis(T, matrix, axis, len(old))
    return T
