"""Spaces of constant curvature, in their usual charts."""

import math
from typing import Any

import sympy as sp

from riemann.spaces._space import Number, Space, cartesian, choice, dimension, entry, parameter, spherical

_DO_CARMO = "do Carmo, Riemannian Geometry (1992), chapter 8"
_LEE = "Lee, Introduction to Riemannian Manifolds (2018), chapter 3"


def _constant(n: int, K: sp.Expr) -> dict[str, object]:
    """What is known where the sectional curvature is K."""
    return {
        "sectional_curvature": K,
        "einstein_constant": (n - 1) * K,
        "scalar_curvature": n * (n - 1) * K,
        "kretschmann_scalar": 2 * n * (n - 1) * K**2,
        "weyl_tensor": 0,
        "killing_dimension": n * (n + 1) // 2,
    }


def _square(x: tuple[sp.Symbol, ...]) -> sp.Expr:
    return sp.Add(*(c**2 for c in x))


def _outer(x: tuple[sp.Symbol, ...]) -> sp.Matrix:
    return sp.Matrix(x) * sp.Matrix([x])


def _curvilinear(n: int) -> dict[str, tuple[str, list[Any], dict[str, tuple[Any, Any]]]]:
    """Charts of flat space: coordinates, squares of the scale factors, bounds."""
    s, t, m, v = sp.symbols("sigma tau mu nu")
    round_, half = (0, 2 * sp.pi), (0, sp.oo)
    w, d = sp.sinh(m) ** 2 + sp.sin(v) ** 2, sp.cosh(t) - sp.cos(s)
    rho = sp.Symbol("rho")
    if n == 2:
        return {
            "parabolic": ("sigma tau", [s**2 + t**2] * 2, {"sigma": half}),
            "elliptic": ("mu nu", [w] * 2, {"mu": half, "nu": round_}),
            "bipolar": ("sigma tau", [1 / d**2] * 2, {"sigma": round_}),
        }
    if n != 3:
        return {}
    return {
        "cylindrical": ("rho phi z", [1, rho**2, 1], {"rho": half, "phi": round_}),
        "parabolic": ("sigma tau phi", [s**2 + t**2] * 2 + [(s * t) ** 2], {"sigma": half, "tau": half, "phi": round_}),
        "prolate": ("mu nu phi", [w, w, (sp.sinh(m) * sp.sin(v)) ** 2], {"mu": half, "nu": (0, sp.pi), "phi": round_}),
        "oblate": (
            "mu nu phi",
            [w, w, (sp.cosh(m) * sp.cos(v)) ** 2],
            {"mu": half, "nu": (-sp.pi / 2, sp.pi / 2), "phi": round_},
        ),
        "toroidal": (
            "sigma tau phi",
            [1 / d**2, 1 / d**2, (sp.sinh(t) / d) ** 2],
            {"sigma": round_, "tau": half, "phi": round_},
        ),
        "bispherical": (
            "sigma tau phi",
            [1 / d**2, 1 / d**2, (sp.sin(s) / d) ** 2],
            {"sigma": (0, sp.pi), "phi": round_},
        ),
    }


@entry
def euclidean(n: int = 3, chart: str = "cartesian") -> Space:
    r"""Euclidean space.

    $$ds^2 = dx_1^2 + \dots + dx_n^2 = dr^2 + r^2 d\Omega^2$$

    Args:
        n: dimension.
        chart: `"cartesian"` or `"spherical"` (polar for n = 2); for n = 2 also `"parabolic"`, `"elliptic"` and
            `"bipolar"`; for n = 3 also `"cylindrical"`, `"parabolic"`, `"prolate"`, `"oblate"`, `"toroidal"` and
            `"bispherical"`. Focal lengths are 1.

    Example:
        >>> import torch
        >>> from riemann import spaces
        >>> spaces.euclidean(2, chart="spherical")(torch.tensor([3.0, 0.0]))
        tensor([[1., 0.],
                [0., 9.]])
    """
    dimension(n, 1)
    charts = _curvilinear(n)
    choice("chart", chart, ("cartesian", *("spherical",) * (n > 1), *charts))
    facts = _constant(n, sp.Integer(0)) | {"riemann_tensor": 0}
    if chart == "cartesian":
        return Space(sp.eye(n), cartesian(n), facts=facts | {"christoffel": 0}, reference=_LEE)
    if chart == "spherical":
        r = sp.Symbol("r")
        angles, unit, bounds = spherical(n - 1)
        return Space(
            sp.diag(1, r**2 * unit), (r, *angles), domain={r: (0, sp.oo)} | bounds, facts=facts, reference=_LEE
        )
    names, squares, bounds = charts[chart]
    return Space(
        sp.diag(*squares),
        sp.symbols(names),
        domain={sp.Symbol(name): pair for name, pair in bounds.items()},
        facts=facts,
        reference="Moon, Spencer, Field Theory Handbook (1961)",
    )


@entry
def sphere(n: int = 2, radius: Number = 1, chart: str = "angles") -> Space:
    r"""The round sphere.

    $$ds^2 = \rho^2 (d\theta_1^2 + \sin^2 \theta_1 (d\theta_2^2 + \dots))
    = \frac{4 \rho^2\, dx \cdot dx}{(1 + |x|^2)^2}
    = \rho^2 \left(\frac{dx \cdot dx}{1 + |x|^2} - \frac{(x \cdot dx)^2}{(1 + |x|^2)^2}\right)$$

    Args:
        n: dimension.
        radius: $\rho > 0$.
        chart: `"angles"`, `"stereographic"` or `"gnomonic"` (geodesics are straight), in this order above; for n = 3
            also `"hopf"`, $\rho^2 (d\eta^2 + \sin^2 \eta\, d\xi_1^2 + \cos^2 \eta\, d\xi_2^2)$.

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.sphere(3, radius=2), torch.tensor([1.0, 1.0, 0.0]))
        tensor(1.5000)
    """
    dimension(n, 1)
    choice("chart", chart, ("angles", "stereographic", "gnomonic", *("hopf",) * (n == 3)))
    rho = parameter("radius", radius, positive=True)
    facts = _constant(n, (1 / rho**2 if n > 1 else sp.Integer(0)))
    whole = {"volume": rho**n * 2 * sp.pi ** sp.Rational(n + 1, 2) / sp.gamma(sp.Rational(n + 1, 2))}
    if chart == "angles":
        angles, unit, bounds = spherical(n)
        return Space(rho**2 * unit, angles, parameters={"radius": rho}, domain=bounds, facts=facts | whole,
                     reference=_LEE)  # fmt: skip
    if chart == "hopf":
        eta, xi1, xi2 = sp.symbols("eta xi1 xi2")
        return Space(
            rho**2 * sp.diag(1, sp.sin(eta) ** 2, sp.cos(eta) ** 2),
            (eta, xi1, xi2),
            parameters={"radius": rho},
            domain={eta: (0, sp.pi / 2), xi1: (0, 2 * sp.pi), xi2: (0, 2 * sp.pi)},
            facts=facts | whole,
            reference="Berger, A Panoramic View of Riemannian Geometry (2003), chapter 4",
        )
    x = cartesian(n)
    s = 1 + _square(x)
    matrix = 4 * sp.eye(n) / s**2 if chart == "stereographic" else sp.eye(n) / s - _outer(x) / s**2
    return Space(rho**2 * matrix, x, parameters={"radius": rho}, facts=facts, reference=_LEE)


@entry
def hyperbolic(n: int = 2, radius: Number = 1, model: str = "half_space") -> Space:
    r"""Hyperbolic space.

    $$ds^2 = \rho^2 \frac{dx \cdot dx}{x_n^2}
    = \frac{4 \rho^2\, dx \cdot dx}{(1 - |x|^2)^2}
    = \rho^2 \left(\frac{dx \cdot dx}{1 - |x|^2} + \frac{(x \cdot dx)^2}{(1 - |x|^2)^2}\right)
    = dx \cdot dx - \frac{(x \cdot dx)^2}{\rho^2 + |x|^2}
    = d\chi^2 + \rho^2 \sinh^2(\chi / \rho)\, d\Omega^2$$

    Args:
        n: dimension, at least 2.
        radius: $\rho > 0$; the curvature is $-1 / \rho^2$.
        model: `"half_space"`, `"ball"`, `"klein"` (geodesics are straight), `"hyperboloid"` (seen from above) or
            `"polar"`, in this order above.

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.hyperbolic(3, model="ball"), torch.zeros(3))
        tensor(-6.)
    """
    dimension(n, 2)
    choice("model", model, ("half_space", "ball", "klein", "hyperboloid", "polar"))
    rho = parameter("radius", radius, positive=True)
    shared = {"parameters": {"radius": rho}, "facts": _constant(n, -1 / rho**2)}
    x = cartesian(n)
    s = _square(x)
    reach = sp.Rational(9, 10) / sp.Integer(math.isqrt(n - 1) + 1)  # a cube inside the ball
    ball = {"condition": s < 1, "domain": dict.fromkeys(x, (-1, 1)), "box": dict.fromkeys(x, (-reach, reach))}
    if model == "half_space":
        return Space(rho**2 * sp.eye(n) / x[-1] ** 2, x, domain={x[-1]: (0, sp.oo)}, reference=_DO_CARMO, **shared)
    if model == "ball":
        return Space(4 * rho**2 * sp.eye(n) / (1 - s) ** 2, x, reference=_LEE, **ball, **shared)
    if model == "klein":
        return Space(rho**2 * (sp.eye(n) / (1 - s) + _outer(x) / (1 - s) ** 2), x, reference=_LEE, **ball, **shared)
    if model == "hyperboloid":
        return Space(sp.eye(n) - _outer(x) / (rho**2 + s), x, reference=_LEE, **shared)
    chi = sp.Symbol("chi")
    angles, unit, bounds = spherical(n - 1)
    return Space(
        sp.diag(1, rho**2 * sp.sinh(chi / rho) ** 2 * unit),
        (chi, *angles),
        domain={chi: (0, sp.oo)} | bounds,
        reference=_LEE,
        **shared,
    )


@entry
def flat_torus(*lengths: Number) -> Space:
    r"""The flat torus, a box with opposite sides identified.

    $$ds^2 = dx_1^2 + \dots + dx_n^2, \qquad x_i \sim x_i + L_i$$

    Args:
        *lengths: $L_i > 0$ of the sides; $(2 \pi, 2 \pi)$ by default.

    Example:
        >>> from riemann import spaces
        >>> spaces.flat_torus(1, 2).facts["volume"]
        2
    """
    sides = [parameter(f"L{i}", L, positive=True) for i, L in enumerate(lengths or (2 * sp.pi, 2 * sp.pi), 1)]
    n, x = len(sides), cartesian(len(sides))
    return Space(
        sp.eye(n),
        x,
        parameters={f"L{i}": L for i, L in enumerate(sides, 1)},
        domain={c: (0, L) for c, L in zip(x, sides, strict=True)},
        facts=_constant(n, sp.Integer(0)) | {"riemann_tensor": 0, "volume": sp.Mul(*sides)},
        reference="Lee, Introduction to Riemannian Manifolds (2018), chapter 2",
    )


@entry
def space_form(n: int = 2, K: Number = 1) -> Space:
    r"""The space of constant curvature K of either sign, stereographically.

    $$ds^2 = \frac{dx \cdot dx}{(1 + \tfrac{K}{4} |x|^2)^2}$$

    Args:
        n: dimension, at least 2.
        K: sectional curvature.

    Example:
        >>> from riemann import spaces
        >>> spaces.space_form(2, K="K").symbolic.scalar_curvature().simplify()
        2*K
    """
    dimension(n, 2)
    K, x = parameter("K", K), cartesian(n)
    s = 1 + K * _square(x) / 4
    reach = sp.Rational(9, 10) / ((math.isqrt(n - 1) + 1) * (1 + sp.sqrt(sp.Abs(K)) / 2))
    return Space(
        sp.eye(n) / s**2,
        x,
        parameters={"K": K},
        condition=s > 0,
        box=dict.fromkeys(x, (-reach, reach)),
        facts=_constant(n, K),
        reference="Riemann, On the Hypotheses which Lie at the Bases of Geometry (1854), II.4",
    )
