"""Index positions: strings over `u` (upper) and `l` (lower), and moving indices with the metric."""

from torch import Tensor

from riemann._contraction import contract


def check_positions(indices: str, rank: int, what: str) -> None:
    """Raises unless `indices` has one `u` or `l` for each of `rank` indices."""
    if not isinstance(indices, str) or len(indices) != rank or set(indices) - set("ul"):
        raise ValueError(
            f"`indices` of {what} is {indices!r}, expected {rank} letters, each `u` (upper) or `l` (lower), "
            f"as in {'ulllllll'[:rank]!r}"
        )


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
