r"""Tensors in the index conventions of other packages, and a test of signs that any package can take.

Ours are those of Misner, Thorne and Wheeler: $\Gamma^k_{ij}$ is `[k, i, j]`, and $R^a{}_{bcd} = \partial_c
\Gamma^a_{db} - \dots$ is `[a, b, c, d]`, so that $R(\partial_c, \partial_d) \partial_b = R^a{}_{bcd} \partial_a$, and
spheres have positive curvature. What other packages write is a permutation of the axes of that, and a sign:

>>> import torch
>>> R = torch.zeros(2, 2, 2, 2)
>>> R[0, 1, 0, 1], R[0, 1, 1, 0] = 1.0, -1.0
>>> convert(R, "riemann_tensor", to="geomstats")[1, 0, 1, 0]
tensor(1.)
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from riemann._calculus.connection import laplacian
from riemann._curvature import tensors
from riemann._messages.names import only as _only

__all__ = [
    "Order", "PACKAGES", "QUANTITIES", "SelfTest", "convert", "self_test",
]  # fmt: skip


class Order(NamedTuple):
    """How a package writes a tensor: our letters in the order in which it has them, a factor, and its formula."""

    letters: str
    factor: Callable[[int], int]
    formula: str


def _order(letters: str, formula: str, factor: Callable[[int], int] = lambda n: 1) -> Order:
    return Order(letters, factor, formula)


def _minus(n: int) -> int:
    return -1


_OURS = {
    "christoffel": _order("kij", "[k, i, j] is Γ^k_ij"),
    "riemann_tensor": _order("abcd", "R^a_bcd = ∂_c Γ^a_db − ∂_d Γ^a_cb + …"),
    "ricci_tensor": _order("ij", "R^a_iaj"),
    "cotton_tensor": _order("ijk", "D_k P_ij − D_j P_ik"),
}
QUANTITIES = tuple(_OURS)
_ALIKE = {name: _OURS[name] for name in QUANTITIES[:3]}

PACKAGES: Mapping[str, Mapping[str, Order]] = {
    "mtw": _OURS,
    "einsteinpy": _ALIKE,
    "ogrepy": _ALIKE,
    "sympy": _ALIKE,
    "sage": {**_ALIKE, "cotton_tensor": _order("ijk", "(n − 2) (D_k P_ij − D_j P_ik)", lambda n: n - 2)},
    "geomstats": {
        **_ALIKE,
        "riemann_tensor": _order("bcda", "[i, j, k, l] is R_ijk^l = dx^l(R(X_j, X_k) X_i)"),
    },
    "jaxgeometry": {
        **_ALIKE,
        "riemann_tensor": _order("cdba", "[i, j, k, l] is R_ijk^l = dx^l(R(X_i, X_j) X_k)"),
    },
    "maxima": {
        "christoffel": _order("ijk", "mcs[i, j, k] is Γ^k_ij"),
        "riemann_tensor": _order("bcda", "riem[i, j, k, l] is R_ijk^l = ∂_k Γ^l_ij − ∂_j Γ^l_ik + …", _minus),
        "ricci_tensor": _OURS["ricci_tensor"],
    },
    "manifolds.jl": {
        "christoffel": _OURS["christoffel"],
        "riemann_tensor": _order("acdb", "[u, i, j, k] is dx^u(R(X_i, X_j) X_k)"),
    },
    "xact": {
        **_ALIKE,
        "riemann_tensor": _order("cdba", "R_abc^d w_d = (D_a D_b − D_b D_a) w_c, the default signs", _minus),
    },
    "autograv": {
        **_ALIKE,
        "riemann_tensor": _order("abcd", "R^j_klm = ∂_m Γ^j_kl − ∂_l Γ^j_km + …", _minus),
    },
}


def convert(tensor: Float[Tensor, "..."], quantity: str, *, to: str = "mtw", of: str = "mtw") -> Float[Tensor, "..."]:
    r"""A tensor in the conventions of another package, or of another package in ours.

    Args:
        tensor: batch axes, then those of the tensor, its indices where the formula of the package has them: of the
            Riemann tensor one is up.
        quantity: `"christoffel"`, `"riemann_tensor"`, `"ricci_tensor"` or `"cotton_tensor"`.
        to: the package whose conventions are wanted, one of `PACKAGES`; `"mtw"` is ours.
        of: the package that the tensor comes from.

    Returns:
        The tensor, a view where no sign changes.

    Raises:
        TypeError: `tensor` is not a tensor.
        ValueError: an unknown package or quantity, or too few axes.

    Note:
        `PACKAGES[name][quantity].formula` is what a package computes. Manifolds.jl has no entry for Ricci: in 0.11 its
        charts contract the other pair of indices, and its sign is that of -Ric; contract its Riemann tensor.

    Example:
        >>> import torch
        >>> R = torch.rand(5, 3, 3, 3, 3)
        >>> convert(convert(R, "riemann_tensor", to="xact"), "riemann_tensor", of="xact").equal(R)
        True
    """
    theirs, ours = _known(of, quantity), _known(to, quantity)
    rank = len(ours.letters)
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"`tensor` is a {type(tensor).__name__}, expected a torch.Tensor; use `torch.as_tensor(tensor)`"
        )
    if tensor.ndim < rank or len(set(tensor.shape[tensor.ndim - rank :])) > 1:
        raise ValueError(f"`tensor` has shape {tuple(tensor.shape)}, expected (*batch, {'n, ' * (rank - 1)}n)")
    n = tensor.shape[-1]
    factor = ours.factor(n) / theirs.factor(n) if theirs.factor(n) else 0.0
    moved = (
        tensor if theirs.letters == ours.letters else torch.einsum(f"...{theirs.letters}->...{ours.letters}", tensor)
    )
    return moved if factor == 1 else factor * moved


def _known(package: str, quantity: str) -> Order:
    if quantity not in QUANTITIES:
        raise ValueError(f"`quantity` is {quantity!r}, expected one of {', '.join(QUANTITIES)}")
    orders = PACKAGES.get(package.lower() if isinstance(package, str) else package)
    if orders is None:
        raise ValueError(f"nothing is known of the package {package!r}; known are {', '.join(PACKAGES)}")
    if quantity not in orders:
        raise ValueError(f"{package} has no {quantity} that we know the conventions of; it has {', '.join(orders)}")
    return orders[quantity]


# ------------------------------------------------------------------------------------------------------ the self-test


class SelfTest(NamedTuple):
    """Signs and orders of indices on spaces where they show, beside the values that conventions require.

    Attributes:
        rows: what is computed, the value wanted, the value found.
    """

    rows: tuple[tuple[str, float, float], ...]

    @property
    def ok(self) -> bool:
        """Whether all of them agree, to 1e-4."""
        return all(_agree(wanted, found) for _, wanted, found in self.rows)

    def raise_if_failed(self) -> None:
        """Raises `AssertionError` with the table unless `ok`."""
        if not self.ok:
            raise AssertionError(f"conventions differ:\n{self}")

    def __str__(self) -> str:
        lines = [f"{'quantity':42}{'wanted':>12}{'found':>12}"]
        for name, wanted, found in self.rows:
            lines.append(f"{name:42}{wanted:12.6f}{found:12.6f}{'' if _agree(wanted, found) else '  differs'}")
        return "\n".join(lines)


def _agree(wanted: float, found: float) -> bool:
    return abs(wanted - found) <= 1e-4


def self_test(functions: Mapping[str, Callable[..., Any]] | None = None, *, package: str = "mtw") -> SelfTest:
    r"""Signs and index orders of functions, ours or yours, on spheres and the hyperbolic plane.

    Args:
        functions: by name, such as `{"riemann_tensor": f}`, functions `f(metric, x)` of a metric and one point `(n,)`
            that return arrays; those of `riemann` by default. Beside the four tensors `"scalar_curvature"`,
            `"einstein_tensor"`, and `"laplacian"`, which takes a metric and a scalar field, are known.
        package: the conventions that they claim to follow.

    Returns:
        The table, which prints, with `.ok` and `.raise_if_failed()`.

    Raises:
        ValueError: an unknown package or function.

    Example:
        >>> self_test().ok
        True
    """
    known = (*QUANTITIES[:3], "scalar_curvature", "einstein_tensor", "laplacian")
    own = functions is None
    functions = {"laplacian": laplacian, **vars(tensors)} if functions is None else functions
    if not own and (unknown := sorted(set(functions) - set(known))):
        raise ValueError(f"there is no test of {unknown[0]!r}; there are {', '.join(known)}")
    x2, x3 = torch.tensor([0.7, 0.4], dtype=torch.float64), torch.tensor([0.7, 1.1, 0.4], dtype=torch.float64)
    sin, cos = math.sin(0.7), math.cos(0.7)

    def found(name: str, metric: Any, x: Tensor) -> Tensor:
        value = torch.as_tensor(functions[name](metric, x)).detach().double()
        return convert(value, name, of=package) if name in QUANTITIES and not own else value

    rows: list[tuple[str, float, Any]] = []
    if "christoffel" in functions:
        gamma = found("christoffel", _sphere, x2)
        rows += [
            ("Γ^θ_φφ of the unit sphere", -sin * cos, gamma[0, 1, 1]),
            ("Γ^φ_θφ of the unit sphere", cos / sin, gamma[1, 0, 1]),
        ]
    if "riemann_tensor" in functions:
        R = found("riemann_tensor", _sphere, x2)
        rows += [
            ("R^θ_φθφ of the unit sphere", sin**2, R[0, 1, 0, 1]),
            ("R^φ_θθφ of the unit sphere", -1.0, R[1, 0, 0, 1]),
            ("K of the hyperbolic plane", -1.0, found("riemann_tensor", _half_plane, x2)[0, 1, 0, 1] * x2[1] ** 2),
        ]
    if "ricci_tensor" in functions:
        rows.append(("Ric_χχ of the unit 3-sphere", 2.0, found("ricci_tensor", _sphere, x3)[0, 0]))
    if "scalar_curvature" in functions:
        rows += [
            ("S of the unit sphere", 2.0, found("scalar_curvature", _sphere, x2)),
            ("S of the hyperbolic plane", -2.0, found("scalar_curvature", _half_plane, x2)),
        ]
    if "einstein_tensor" in functions:
        rows.append(("G_χχ of the unit 3-sphere", -1.0, found("einstein_tensor", _sphere, x3)[0, 0]))
    if "laplacian" in functions:
        value = functions["laplacian"](_sphere, lambda x: torch.cos(x[0]))(x2)
        rows.append(("Δ cos θ of the unit sphere", -2 * cos, value))
    return SelfTest(tuple((name, float(wanted), float(value)) for name, wanted, value in rows))


def _sphere(x: Tensor) -> Tensor:
    """The unit sphere in angles, of any dimension: each angle shrinks those after it."""
    sines = torch.cat((torch.ones_like(x[:1]), torch.sin(x[:-1]) ** 2))
    return torch.diag(torch.cumprod(sines, 0))


def _half_plane(x: Tensor) -> Tensor:
    return torch.eye(2, dtype=x.dtype, device=x.device) / x[1] ** 2


if not TYPE_CHECKING:  # which knows the names
    __dir__, __getattr__ = _only(__name__, __all__)
