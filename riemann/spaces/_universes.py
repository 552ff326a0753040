"""Universes, of cosmology and of constant curvature; signature (-,+,+,+), G = c = 1."""

from typing import Any

import sympy as sp

from riemann.spaces._black_holes import ANGLES, SPHERICAL
from riemann.spaces._space import Number, Space, cartesian, choice, dimension, entry, formula, parameter

_MTW = "Misner, Thorne, Wheeler, Gravitation (1973)"
_HAWKING_ELLIS = "Hawking, Ellis, The Large Scale Structure of Space-Time (1973)"
_GP = "Griffiths, Podolsky, Exact Space-Times in Einstein's General Relativity (2009)"
FLAT = {
    "riemann_tensor": 0,
    "ricci_tensor": 0,
    "scalar_curvature": 0,
    "kretschmann_scalar": 0,
    "killing_dimension": 10,
}

_t, _r, _theta, _phi = SPHERICAL
_x, _y, _z = sp.symbols("x y z")
SPHERE = sp.diag(1, sp.sin(_theta) ** 2)


def _constant(K: Any) -> dict[str, Any]:
    """What is known of four dimensions of sectional curvature K."""
    return {
        "sectional_curvature": K,
        "einstein_constant": 3 * K,
        "scalar_curvature": 12 * K,
        "kretschmann_scalar": 24 * K**2,
        "weyl_tensor": 0,
        "killing_dimension": 10,
    }


@entry
def minkowski(n: int = 4, chart: str = "cartesian") -> Space:
    r"""Minkowski space.

    $$ds^2 = -dt^2 + dx^2 + dy^2 + dz^2 = -dt^2 + dr^2 + r^2 d\Omega^2 = -2\, du\, dv + dx^2 + dy^2$$

    Args:
        n: dimension of the spacetime, at least 2; 4 for other charts than Cartesian.
        chart: `"cartesian"`, `"spherical"` or `"null"`, in this order above.

    Example:
        >>> import torch
        >>> from riemann import spaces
        >>> spaces.minkowski()(torch.zeros(4)).diagonal()
        tensor([-1.,  1.,  1.,  1.])
    """
    choice("chart", chart, ("cartesian", *("spherical", "null") * (dimension(n, 2) == 4)))
    shared = {"negative": 1, "reference": f"{_MTW}, chapter 2",
              "facts": FLAT | {"killing_dimension": n * (n + 1) // 2}}  # fmt: skip
    if chart == "cartesian":
        return Space(sp.diag(-1, sp.eye(n - 1)), (_t, *cartesian(n - 1)), **shared)
    if chart == "spherical":
        return Space(sp.diag(-1, 1, _r**2 * SPHERE), SPHERICAL, domain={_r: (0, sp.oo)} | ANGLES, **shared)
    return Space(sp.diag(sp.Matrix([[0, -1], [-1, 0]]), 1, 1), (*sp.symbols("u v"), _x, _y), **shared)


@entry
def rindler(a: Number = 1) -> Space:
    r"""Minkowski space for an accelerated observer.

    $$ds^2 = -(1 + a x)^2 dt^2 + dx^2 + dy^2 + dz^2$$

    Args:
        a: acceleration at x = 0.

    Example:
        >>> import torch
        >>> from riemann import spaces
        >>> spaces.rindler(2)(torch.tensor([0.0, 1.0, 0.0, 0.0]))[0, 0]
        tensor(-9.)
    """
    a = parameter("a", a, positive=True)
    return Space(
        sp.diag(-((1 + a * _x) ** 2), 1, 1, 1),
        (_t, _x, _y, _z),
        parameters={"a": a},
        negative=1,
        domain={_x: (-1 / a, sp.oo)},
        facts=FLAT,
        reference=f"{_MTW}, chapter 6",
    )


@entry
def milne() -> Space:
    r"""The inside of a light cone of Minkowski space, as an expanding universe.

    $$ds^2 = -dt^2 + t^2 (d\chi^2 + \sinh^2 \chi\, d\Omega^2)$$

    Example:
        >>> from riemann import spaces
        >>> spaces.milne().facts["riemann_tensor"]
        0
    """
    chi = sp.Symbol("chi")
    return Space(
        sp.diag(-1, _t**2, _t**2 * sp.sinh(chi) ** 2 * SPHERE),
        (_t, chi, _theta, _phi),
        negative=1,
        domain={_t: (0, sp.oo), chi: (0, sp.oo)} | ANGLES,
        facts=FLAT,
        reference="Rindler, Relativity (2006), chapter 16",
    )


@entry
def de_sitter(H: Number = 1, chart: str = "flat") -> Space:
    r"""De Sitter space.

    $$ds^2 = -dt^2 + e^{2Ht} (dx^2 + dy^2 + dz^2)
    = -(1 - H^2 r^2) dt^2 + \frac{dr^2}{1 - H^2 r^2} + r^2 d\Omega^2
    = -dt^2 + H^{-2} \cosh^2(Ht) (d\chi^2 + \sin^2 \chi\, d\Omega^2)$$

    Args:
        H: Hubble rate; the curvature is $H^2$.
        chart: `"flat"`, `"static"` or `"closed"`, in this order above.

    Example:
        >>> from riemann import spaces
        >>> spaces.de_sitter(H="H").facts["scalar_curvature"]
        12*H**2
    """
    H = parameter("H", H, positive=True)
    choice("chart", chart, ("flat", "static", "closed"))
    shared = {"parameters": {"H": H}, "negative": 1, "facts": _constant(H**2)}
    if chart == "flat":
        return Space(sp.diag(-1, sp.exp(2 * H * _t) * sp.eye(3)), (_t, _x, _y, _z), box={_t: (-1 / H, 1 / H)},
                     reference=f"{_HAWKING_ELLIS}, section 5.2", **shared)  # fmt: skip
    if chart == "static":
        f = 1 - (H * _r) ** 2
        return Space(sp.diag(-f, 1 / f, _r**2 * SPHERE), SPHERICAL, domain={_r: (0, 1 / H)} | ANGLES,
                     reference=f"{_HAWKING_ELLIS}, section 5.2", **shared)  # fmt: skip
    chi = sp.Symbol("chi")
    unit = sp.diag(1, sp.sin(chi) ** 2 * SPHERE)
    return Space(
        sp.diag(-1, sp.cosh(H * _t) ** 2 / H**2 * unit),
        (_t, chi, _theta, _phi),
        domain={chi: (0, sp.pi)} | ANGLES,
        box={_t: (-1 / H, 1 / H)},
        reference=f"{_HAWKING_ELLIS}, section 5.2",
        **shared,
    )


@entry
def anti_de_sitter(length: Number = 1, chart: str = "poincare") -> Space:
    r"""Anti-de Sitter space.

    $$ds^2 = \frac{l^2}{z^2} (-dt^2 + dx^2 + dy^2 + dz^2)
    = l^2 (-\cosh^2 \rho\, dt^2 + d\rho^2 + \sinh^2 \rho\, d\Omega^2)
    = -(1 + r^2/l^2) dt^2 + \frac{dr^2}{1 + r^2/l^2} + r^2 d\Omega^2$$

    Args:
        length: $l$; the curvature is $-1/l^2$.
        chart: `"poincare"`, `"global"` or `"static"`, in this order above.

    Example:
        >>> from riemann import spaces
        >>> spaces.anti_de_sitter(length="l").facts["scalar_curvature"]
        -12/l**2
    """
    L = parameter("length", length, positive=True)
    choice("chart", chart, ("poincare", "global", "static"))
    shared = {"parameters": {"length": L}, "negative": 1, "facts": _constant(-1 / L**2)}
    if chart == "poincare":
        return Space(L**2 / _z**2 * sp.diag(-1, 1, 1, 1), (_t, _x, _y, _z), domain={_z: (0, sp.oo)},
                     reference=f"{_GP}, chapter 5", **shared)  # fmt: skip
    if chart == "global":
        rho = sp.Symbol("rho")
        return Space(
            L**2 * sp.diag(-(sp.cosh(rho) ** 2), 1, sp.sinh(rho) ** 2 * SPHERE),
            (_t, rho, _theta, _phi),
            domain={rho: (0, sp.oo)} | ANGLES,
            reference=f"{_GP}, chapter 5",
            **shared,
        )
    f = 1 + (_r / L) ** 2
    return Space(sp.diag(-f, 1 / f, _r**2 * SPHERE), SPHERICAL, domain={_r: (0, sp.oo)} | ANGLES,
                 box={_r: (L / 2, 4 * L)}, reference=f"{_GP}, chapter 5", **shared)  # fmt: skip


@entry
def flrw(k: Number = 0, a: Any = None) -> Space:
    r"""The universe of Friedmann, Lemaitre, Robertson and Walker.

    $$ds^2 = -dt^2 + a(t)^2 \left(\frac{dr^2}{1 - k r^2} + r^2 d\Omega^2\right), \qquad
    S = 6 \left(\frac{a''}{a} + \frac{a'^2 + k}{a^2}\right)$$

    Args:
        k: curvature of space.
        a: scale factor, expression in t; $t^{2/3}$ (dust) by default. An undetermined function
            `sympy.Function("a")(t)` stays one in `symbolic`.

    Example:
        >>> from riemann import spaces
        >>> spaces.flrw(k=0).facts["scalar_curvature"]
        4/(3*t**2)
    """
    k = parameter("k", k)
    a = _t ** sp.Rational(2, 3) if a is None else formula("a", a, _t)
    da, dda = a.diff(_t), a.diff(_t, 2)
    G_tt, pressure = 3 * (da**2 + k) / a**2, -(2 * dda / a + (da**2 + k) / a**2)
    space = a**2 * sp.diag(1 / (1 - k * _r**2), _r**2 * SPHERE)
    reach = 1 / sp.sqrt(sp.Max(k, sp.Rational(1, 4)))
    return Space(
        sp.diag(-1, space),
        SPHERICAL,
        parameters={"k": k},
        negative=1,
        domain={_t: (0, sp.oo), _r: (0, sp.oo)} | ANGLES,
        condition=k * _r**2 < 1,
        box={_r: (reach / 8, 7 * reach / 8)},
        facts={
            "scalar_curvature": 6 * (dda / a + (da**2 + k) / a**2),
            "kretschmann_scalar": 12 * ((dda / a) ** 2 + ((da**2 + k) / a**2) ** 2),
            "einstein_tensor": sp.diag(G_tt, pressure * space),
            "energy_density": G_tt / (8 * sp.pi),
            "weyl_tensor": 0,
            **({"killing_dimension": 6} if a == _t ** sp.Rational(2, 3) else {}),
        },
        reference=f"{_MTW}, chapter 27",
    )


@entry
def einstein_static(R: Number = 1) -> Space:
    r"""Einstein's static universe.

    $$ds^2 = -dt^2 + R^2 (d\chi^2 + \sin^2 \chi\, d\Omega^2)$$

    Args:
        R: radius of space.

    Example:
        >>> from riemann import spaces
        >>> spaces.einstein_static(R=2).facts["scalar_curvature"]
        3/2
    """
    R, chi = parameter("R", R, positive=True), sp.Symbol("chi")
    unit = sp.diag(1, sp.sin(chi) ** 2 * SPHERE)
    return Space(
        sp.diag(-1, R**2 * unit),
        (_t, chi, _theta, _phi),
        parameters={"R": R},
        negative=1,
        domain={chi: (0, sp.pi)} | ANGLES,
        facts={
            "ricci_tensor": sp.diag(0, 2 * unit),
            "scalar_curvature": 6 / R**2,
            "kretschmann_scalar": 12 / R**4,
            "weyl_tensor": 0,
            "energy_density": 3 / (8 * sp.pi * R**2),
            "killing_dimension": 7,
        },
        reference=f"{_HAWKING_ELLIS}, section 5.1",
    )


@entry
def kasner(p1: Number = -1 / 3, p2: Number = 2 / 3, p3: Number = 2 / 3) -> Space:
    r"""The universe of Kasner: vacuum where $\sum p_i = \sum p_i^2 = 1$.

    $$ds^2 = -dt^2 + t^{2 p_1} dx^2 + t^{2 p_2} dy^2 + t^{2 p_3} dz^2$$

    Args:
        p1: first exponent.
        p2: second exponent.
        p3: third exponent.

    Example:
        >>> from riemann import spaces
        >>> spaces.kasner(1, 1, 1).facts["scalar_curvature"]
        6/t**2
    """
    p = tuple(parameter(f"p{i}", q) for i, q in enumerate((p1, p2, p3), 1))
    total, squares = sum(p), sum(q**2 for q in p)
    metric = [_t ** (2 * q) for q in p]
    ricci = [q * (total - 1) / _t**2 * g for q, g in zip(p, metric, strict=True)]
    return Space(
        sp.diag(-1, *metric),
        (_t, _x, _y, _z),
        parameters={f"p{i}": q for i, q in enumerate(p, 1)},
        negative=1,
        domain={_t: (0, sp.oo)},
        facts={
            "ricci_tensor": sp.diag((total - squares) / _t**2, *ricci),
            "scalar_curvature": (squares + total**2 - 2 * total) / _t**2,
            "energy_density": (total**2 - squares) / (16 * sp.pi * _t**2),
        },
        reference=f"{_MTW}, chapter 30",
    )


@entry
def goedel(omega: Number = 1) -> Space:
    r"""Goedel's rotating universe.

    $$ds^2 = -dt^2 + dx^2 - \tfrac12 e^{2 \sqrt2 \omega x} dy^2 + dz^2 - 2 e^{\sqrt2 \omega x} dt\, dy, \qquad
    \mathrm{Ric} = 2 \omega^2 u \otimes u$$

    Args:
        omega: vorticity $\omega$.

    Example:
        >>> from riemann import spaces
        >>> spaces.goedel("omega").facts["scalar_curvature"]
        -2*omega**2
    """
    w = parameter("omega", omega, positive=True)
    E = sp.exp(sp.sqrt(2) * w * _x)
    return Space(
        [[-1, 0, -E, 0], [0, 1, 0, 0], [-E, 0, -(E**2) / 2, 0], [0, 0, 0, 1]],
        (_t, _x, _y, _z),
        parameters={"omega": w},
        negative=1,
        box={_x: (-1 / w, 1 / w)},
        facts={
            "ricci_tensor": 2 * w**2 * sp.Matrix([[1, 0, E, 0], [0, 0, 0, 0], [E, 0, E**2, 0], [0, 0, 0, 0]]),
            "scalar_curvature": -2 * w**2,
            "kretschmann_scalar": 12 * w**4,
            "killing_dimension": 5,
        },
        reference=f"{_HAWKING_ELLIS}, section 5.7",
    )


@entry
def bertotti_robinson(q: Number = 1) -> Space:
    r"""The product of two-dimensional anti-de Sitter space and a sphere, of one radius: a uniform field.

    $$ds^2 = \frac{q^2}{r^2} (-dt^2 + dr^2) + q^2 d\Omega^2$$

    Args:
        q: radius of both.

    Example:
        >>> from riemann import spaces
        >>> spaces.bertotti_robinson(q="q").facts["kretschmann_scalar"]
        8/q**4
    """
    q = parameter("q", q, positive=True)
    plane = sp.diag(-1, 1) / _r**2
    return Space(
        q**2 * sp.diag(plane, SPHERE),
        SPHERICAL,
        parameters={"q": q},
        negative=1,
        domain={_r: (0, sp.oo)} | ANGLES,
        facts={
            "ricci_tensor": sp.diag(-plane, SPHERE),
            "scalar_curvature": 0,
            "kretschmann_scalar": 8 / q**4,
            "weyl_tensor": 0,
            "killing_dimension": 6,
        },
        reference=f"{_GP}, chapter 7",
    )


@entry
def nariai(Lambda: Number = 1) -> Space:
    r"""The product of two-dimensional de Sitter space and a sphere, of one radius.

    $$ds^2 = \frac1\Lambda \left(-(1 - x^2) dt^2 + \frac{dx^2}{1 - x^2} + d\Omega^2\right)$$

    Args:
        Lambda: cosmological constant $\Lambda$.

    Example:
        >>> from riemann import spaces
        >>> spaces.nariai().facts["scalar_curvature"]
        4
    """
    L = parameter("Lambda", Lambda, positive=True)
    return Space(
        sp.diag(-(1 - _x**2), 1 / (1 - _x**2), SPHERE) / L,
        (_t, _x, _theta, _phi),
        parameters={"Lambda": L},
        negative=1,
        domain={_x: (-1, 1)} | ANGLES,
        facts={
            "einstein_constant": L,
            "scalar_curvature": 4 * L,
            "kretschmann_scalar": 8 * L**2,
            "killing_dimension": 6,
        },
        reference=f"{_GP}, chapter 7",
    )


@entry
def kantowski_sachs(a: Any = None, b: Any = None) -> Space:
    r"""The universe of Kantowski and Sachs: a line and a sphere that change with time.

    $$ds^2 = -dt^2 + a(t)^2 dz^2 + b(t)^2 d\Omega^2, \qquad
    8 \pi \varepsilon = 2 \frac{a' b'}{a b} + \frac{b'^2 + 1}{b^2}$$

    Args:
        a: expression in t; $t^2$ by default.
        b: expression in t; $t$ by default.

    Example:
        >>> from riemann import spaces
        >>> spaces.kantowski_sachs().facts["energy_density"]
        3/(4*pi*t**2)
    """
    a = _t**2 if a is None else formula("a", a, _t)
    b = _t if b is None else formula("b", b, _t)
    da, db, dda, ddb = a.diff(_t), b.diff(_t), a.diff(_t, 2), b.diff(_t, 2)
    sphere = (db**2 + 1) / b**2
    return Space(
        sp.diag(-1, a**2, b**2 * SPHERE),
        (_t, _z, _theta, _phi),
        negative=1,
        domain={_t: (0, sp.oo)} | ANGLES,
        facts={
            "scalar_curvature": 2 * (dda / a + 2 * ddb / b + 2 * da * db / (a * b) + sphere),
            "kretschmann_scalar": 4 * ((dda / a) ** 2 + 2 * (ddb / b) ** 2 + 2 * (da * db / (a * b)) ** 2 + sphere**2),
            "energy_density": sp.simplify((2 * da * db / (a * b) + sphere) / (8 * sp.pi)),
        },
        reference="Kantowski, Sachs, J. Math. Phys. 7 (1966) 443",
    )
