"""Other black holes, regular, in other dimensions, growing; stars and naked singularities; signature (-,+,+,+)."""

from typing import Any

import sympy as sp

from riemann.spaces._black_holes import ANGLES, SPHERICAL, VACUUM, outside, static
from riemann.spaces._space import Number, Space, dimension, entry, formula, parameter, require, spherical, squares

_MTW = "Misner, Thorne, Wheeler, Gravitation (1973)"
_POISSON = "Poisson, A Relativist's Toolkit (2004)"
_GP = "Griffiths, Podolsky, Exact Space-Times in Einstein's General Relativity (2009)"
_t, _r, _theta, _phi = SPHERICAL


@entry
def vaidya(m: Any = None) -> Space:
    r"""A black hole that light falls into.

    $$ds^2 = -\left(1 - \frac{2 m(v)}{r}\right) dv^2 + 2\, dv\, dr + r^2 d\Omega^2, \qquad
    \mathrm{Ric} = \frac{2 m'(v)}{r^2} dv^2$$

    Args:
        m: mass, expression in v; $1 + v/10$ by default.

    Example:
        >>> from riemann import spaces
        >>> spaces.vaidya().facts["ricci_tensor"][0, 0]
        1/(5*r**2)
    """
    v = sp.Symbol("v")
    m = 1 + v / 10 if m is None else formula("m", m, v)
    block = sp.Matrix([[2 * m / _r - 1, 1], [1, 0]])
    return Space(
        sp.diag(block, _r**2, _r**2 * sp.sin(_theta) ** 2),
        (v, _r, _theta, _phi),
        negative=1,
        domain={_r: (0, sp.oo)} | ANGLES,
        box={_r: (1, 8)},
        facts={
            "scalar_curvature": 0,
            "ricci_tensor": sp.diag(2 * m.diff(v) / _r**2, 0, 0, 0),
            "kretschmann_scalar": 48 * m**2 / _r**6,
        },
        reference=f"{_POISSON}, section 5.1",
    )


@entry
def schwarzschild_tangherlini(n: int = 5, mu: Number = 1) -> Space:
    r"""The static black hole in n dimensions.

    $$ds^2 = -f\, dt^2 + \frac{dr^2}{f} + r^2 d\Omega_{n-2}^2, \qquad f = 1 - \frac{\mu}{r^{n-3}}$$

    Args:
        n: dimension of the spacetime, at least 4.
        mu: mass parameter $\mu$; 2M for n = 4.

    Example:
        >>> from riemann import spaces
        >>> spaces.schwarzschild_tangherlini(4, 2).facts["kretschmann_scalar"]
        48/r**6
    """
    dimension(n, 4)
    mu = parameter("mu", mu, positive=True)
    f = 1 - mu / _r ** (n - 3)
    angles, unit, bounds = spherical(n - 2)
    horizon = mu ** sp.Rational(1, n - 3)
    return Space(
        sp.diag(-f, 1 / f, _r**2 * unit),
        (_t, _r, *angles),
        parameters={"mu": mu},
        negative=1,
        domain={_r: (horizon, sp.oo)} | bounds,
        box={_r: (horizon * sp.Rational(5, 4), horizon * 3)},
        facts=VACUUM
        | {
            "kretschmann_scalar": mu**2 * (n - 1) * (n - 2) ** 2 * (n - 3) / _r ** (2 * n - 2),
            "killing_dimension": 1 + (n - 1) * (n - 2) // 2,
        },
        reference="Tangherlini, Nuovo Cimento 27 (1963) 636",
    )


@entry
def myers_perry(mu: Number = 2, a: Number = 0.6, b: Number = 0.3) -> Space:
    r"""The rotating black hole in five dimensions.

    $$ds^2 = -dt^2 + \frac{\mu}{\Sigma} (dt - a \sin^2\theta\, d\phi - b \cos^2\theta\, d\psi)^2
    + \frac{r^2 \Sigma}{\Delta} dr^2 + \Sigma\, d\theta^2 + (r^2 + a^2) \sin^2\theta\, d\phi^2
    + (r^2 + b^2) \cos^2\theta\, d\psi^2$$

    with $\Sigma = r^2 + a^2 \cos^2\theta + b^2 \sin^2\theta$ and
    $\Delta = (r^2 + a^2)(r^2 + b^2) - \mu r^2$.

    Args:
        mu: mass parameter $\mu$.
        a: first rotation.
        b: second rotation, $(|a| + |b|)^2 \le \mu$.

    Example:
        >>> from riemann import spaces
        >>> spaces.myers_perry().coordinates
        ('t', 'r', 'theta', 'phi', 'psi')
    """
    mu, a, b = parameter("mu", mu, positive=True), parameter("a", a), parameter("b", b)
    require((sp.Abs(a) + sp.Abs(b)) ** 2 <= mu, f"`a` is {a}, `b` is {b}, `mu` is {mu}: expected (|a| + |b|)^2 <= mu")
    psi = sp.Symbol("psi")
    sin2, cos2 = sp.sin(_theta) ** 2, sp.cos(_theta) ** 2
    S, D = _r**2 + a**2 * cos2 + b**2 * sin2, (_r**2 + a**2) * (_r**2 + b**2) - mu * _r**2
    coordinates = (*SPHERICAL, psi)
    flat = sp.diag(-1, _r**2 * S / D, S, (_r**2 + a**2) * sin2, (_r**2 + b**2) * cos2)
    return Space(
        flat + squares((mu / S, [1, 0, 0, -a * sin2, -b * cos2])),
        coordinates,
        parameters={"mu": mu, "a": a, "b": b},
        negative=1,
        condition=D > 0,
        domain={_r: (0, sp.oo), _theta: (0, sp.pi / 2), _phi: (0, 2 * sp.pi), psi: (0, 2 * sp.pi)},
        box={_r: (sp.sqrt(mu) * sp.Rational(5, 4), 3 * sp.sqrt(mu))},
        facts=VACUUM,
        reference="Myers, Perry, Annals of Physics 172 (1986) 304",
    )


@entry
def btz(M: Number = 1, J: Number = 0.5, length: Number = 1) -> Space:
    r"""The black hole of Banados, Teitelboim and Zanelli, in three dimensions.

    $$ds^2 = -N^2 dt^2 + \frac{dr^2}{N^2} + r^2 \left(d\phi - \frac{J}{2 r^2} dt\right)^2, \qquad
    N^2 = -M + \frac{r^2}{l^2} + \frac{J^2}{4 r^2}$$

    Args:
        M: mass.
        J: angular momentum, |J| <= M l.
        length: $l$, of anti-de Sitter space.

    Example:
        >>> from riemann import spaces
        >>> spaces.btz(length=2).facts["sectional_curvature"]
        -1/4
    """
    M, J, L = parameter("M", M, positive=True), parameter("J", J), parameter("length", length, positive=True)
    require(sp.Abs(J) <= M * L, f"`J` is {J}, `M` is {M}, `length` is {L}: a black hole has |J| <= M length")
    coordinates = (_t, _r, _phi)
    N2 = -M + _r**2 / L**2 + J**2 / (4 * _r**2)
    horizon = L * sp.sqrt((M + sp.sqrt(M**2 - J**2 / L**2)) / 2)
    return Space(
        squares((-N2, [1, 0, 0]), (1 / N2, [0, 1, 0]), (_r**2, [-J / (2 * _r**2), 0, 1])),
        coordinates,
        parameters={"M": M, "J": J, "length": L},
        negative=1,
        domain={_r: (horizon, sp.oo), _phi: (0, 2 * sp.pi)},
        box={_r: (horizon * sp.Rational(5, 4), horizon * 4)},
        facts={
            "sectional_curvature": -1 / L**2,
            "einstein_constant": -2 / L**2,
            "scalar_curvature": -6 / L**2,
            "kretschmann_scalar": 12 / L**4,
            "killing_dimension": 6,
        },
        reference="Banados, Teitelboim, Zanelli, Phys. Rev. Lett. 69 (1992) 1849",
    )


def _static_facts(f: Any) -> dict[str, Any]:
    """Curvature of -f dt^2 + dr^2 / f + r^2 dOmega^2."""
    df, ddf = f.diff(_r), f.diff(_r, 2)
    return {
        "scalar_curvature": -ddf - 4 * df / _r + 2 * (1 - f) / _r**2,
        "kretschmann_scalar": ddf**2 + 4 * df**2 / _r**2 + 4 * (1 - f) ** 2 / _r**4,
        "killing_dimension": 4,
    }


def _regular(f: Any, parameters: dict[str, Any], M: Any, reference: str) -> Space:
    facts = {key: sp.simplify(value) for key, value in _static_facts(f).items()}
    return Space(static(f), SPHERICAL, parameters=parameters, negative=1, condition=f > 0, facts=facts,
                 domain={_r: (0, sp.oo)} | ANGLES, box={_r: (sp.Rational(5, 2) * M, 8 * M)},
                 reference=reference)  # fmt: skip


@entry
def bardeen(M: Number = 1, g: Number = 0.5) -> Space:
    r"""Bardeen's regular black hole.

    $$ds^2 = -f\, dt^2 + \frac{dr^2}{f} + r^2 d\Omega^2, \qquad f = 1 - \frac{2 M r^2}{(r^2 + g^2)^{3/2}}$$

    Args:
        M: mass.
        g: magnetic charge.

    Example:
        >>> from riemann import spaces
        >>> spaces.bardeen(M=1, g=0).facts["kretschmann_scalar"].subs("r", 2)
        3/4
    """
    M, g = parameter("M", M, positive=True), parameter("g", g)
    f = 1 - 2 * M * _r**2 / (_r**2 + g**2) ** sp.Rational(3, 2)
    return _regular(f, {"M": M, "g": g}, M, "Ayon-Beato, Garcia, Phys. Lett. B 493 (2000) 149")


@entry
def hayward(M: Number = 1, length: Number = 0.5) -> Space:
    r"""Hayward's regular black hole.

    $$ds^2 = -f\, dt^2 + \frac{dr^2}{f} + r^2 d\Omega^2, \qquad f = 1 - \frac{2 M r^2}{r^3 + 2 M l^2}$$

    Args:
        M: mass.
        length: $l$; the centre is de Sitter space of this radius.

    Example:
        >>> from riemann import spaces
        >>> spaces.hayward(M=1, length=0.5).facts["scalar_curvature"].subs("r", 0)
        48
    """
    M, L = parameter("M", M, positive=True), parameter("length", length, positive=True)
    f = 1 - 2 * M * _r**2 / (_r**3 + 2 * M * L**2)
    return _regular(f, {"M": M, "length": L}, M, "Hayward, Phys. Rev. Lett. 96 (2006) 031103")


@entry
def interior_schwarzschild(M: Number = 1, R: Number = 4) -> Space:
    r"""A star of constant density, inside; conformally flat.

    $$ds^2 = -\tfrac14 \left(3 \sqrt{1 - 2M/R} - \sqrt{1 - 2 M r^2 / R^3}\right)^2 dt^2
    + \frac{dr^2}{1 - 2 M r^2 / R^3} + r^2 d\Omega^2$$

    Args:
        M: mass.
        R: radius of the star, R > 9M/4.

    Example:
        >>> from riemann import spaces
        >>> spaces.interior_schwarzschild(1, 4).facts["energy_density"]
        3/(256*pi)
    """
    M, R = parameter("M", M, positive=True), parameter("R", R, positive=True)
    require(4 * R > 9 * M, f"`R` is {R} and `M` is {M}: a star that holds has R > 9M/4")
    f = 1 - 2 * M * _r**2 / R**3
    lapse = (3 * sp.sqrt(1 - 2 * M / R) - sp.sqrt(f)) / 2
    return Space(
        sp.diag(-(lapse**2), 1 / f, _r**2, _r**2 * sp.sin(_theta) ** 2),
        SPHERICAL,
        parameters={"M": M, "R": R},
        negative=1,
        domain={_r: (0, R)} | ANGLES,
        facts={"weyl_tensor": 0, "energy_density": 3 * M / (4 * sp.pi * R**3), "killing_dimension": 4},
        reference=f"{_MTW}, box 23.2",
    )


@entry
def janis_newman_winicour(b: Number = 1, gamma: Number = 0.5) -> Space:
    r"""A naked singularity with a massless scalar field.

    $$ds^2 = -f^\gamma dt^2 + f^{-\gamma} dr^2 + r^2 f^{1-\gamma} d\Omega^2, \qquad f = 1 - \frac{b}{r}$$

    Args:
        b: radius of the singularity.
        gamma: $\gamma$; 1 is Schwarzschild's metric with b = 2M.

    Example:
        >>> from riemann import spaces
        >>> spaces.janis_newman_winicour(2, 1).facts["scalar_curvature"]
        0
    """
    b, gamma = parameter("b", b, positive=True), parameter("gamma", gamma)
    f = 1 - b / _r
    R2 = _r**2 * f ** (1 - gamma)
    g_rr, ricci = f**-gamma, b**2 * (1 - gamma**2) / (2 * _r**4 * f**2)
    return Space(
        sp.diag(-(f**gamma), g_rr, R2, R2 * sp.sin(_theta) ** 2),
        SPHERICAL,
        parameters={"b": b, "gamma": gamma},
        negative=1,
        facts={
            "ricci_tensor": sp.diag(0, ricci, 0, 0),
            "scalar_curvature": ricci / g_rr,
            "killing_dimension": 4,
        },
        reference="Virbhadra, Int. J. Mod. Phys. A 12 (1997) 4831",
        **outside(b, 4 * b),
    )


@entry
def curzon(M: Number = 1) -> Space:
    r"""The particle of Curzon and Chazy: a static vacuum with an axis.

    $$ds^2 = -e^{2U} dt^2 + e^{-2U} (e^{2K} (d\rho^2 + dz^2) + \rho^2 d\phi^2), \qquad
    U = -\frac{M}{R}, \quad K = -\frac{M^2 \rho^2}{2 R^4}, \quad R^2 = \rho^2 + z^2$$

    Args:
        M: mass.

    Example:
        >>> from riemann import spaces
        >>> spaces.curzon().facts["ricci_tensor"]
        0
    """
    M = parameter("M", M, positive=True)
    rho, z = sp.symbols("rho z")
    R2 = rho**2 + z**2
    U, K = -M / sp.sqrt(R2), -(M**2) * rho**2 / (2 * R2**2)
    g_rho = sp.exp(2 * K - 2 * U)
    return Space(
        sp.diag(-sp.exp(2 * U), g_rho, g_rho, rho**2 * sp.exp(-2 * U)),
        (_t, rho, z, _phi),
        parameters={"M": M},
        negative=1,
        domain={rho: (0, sp.oo), _phi: (0, 2 * sp.pi)},
        box={rho: (M, 4 * M), z: (M, 4 * M)},
        facts=VACUUM | {"killing_dimension": 2},
        reference=f"{_GP}, chapter 10",
    )


@entry
def zipoy_voorhees(m: Number = 1, delta: Number = 2) -> Space:
    r"""The static vacuum of Zipoy and Voorhees around a rod, in prolate coordinates.

    $$ds^2 = -f^\delta dt^2 + \frac{m^2}{f^\delta} \left(\left(\frac{x^2 - 1}{x^2 - y^2}\right)^{\delta^2} (x^2 - y^2)
    \left(\frac{dx^2}{x^2 - 1} + \frac{dy^2}{1 - y^2}\right) + (x^2 - 1)(1 - y^2) d\phi^2\right), \quad
    f = \frac{x - 1}{x + 1}$$

    Args:
        m: half the length of the rod; the mass is $m \delta$.
        delta: $\delta$; 1 is Schwarzschild's metric.

    Example:
        >>> from riemann import spaces
        >>> spaces.zipoy_voorhees().coordinates
        ('t', 'x', 'y', 'phi')
    """
    m, d = parameter("m", m, positive=True), parameter("delta", delta)
    x, y = sp.symbols("x y")
    f, X, Y, D = ((x - 1) / (x + 1)) ** d, x**2 - 1, 1 - y**2, x**2 - y**2
    radial = m**2 / f * (X / D) ** (d**2) * D
    return Space(
        sp.diag(-f, radial / X, radial / Y, m**2 / f * X * Y),
        (_t, x, y, _phi),
        parameters={"m": m, "delta": d},
        negative=1,
        domain={x: (1, sp.oo), y: (-1, 1), _phi: (0, 2 * sp.pi)},
        facts=VACUUM | {"killing_dimension": 4 if d == 1 else 2},
        reference=f"{_GP}, chapter 10",
    )


@entry
def c_metric(m: Number = 0.1, A: Number = 1) -> Space:
    r"""An accelerated black hole.

    $$ds^2 = \frac{1}{A^2 (x + y)^2} \left(-F\, dt^2 + \frac{dy^2}{F} + \frac{dx^2}{G} + G\, d\phi^2\right), \qquad
    G = 1 - x^2 - 2 m A x^3, \quad F = y^2 - 1 - 2 m A y^3$$

    Args:
        m: mass, $m A < 1 / \sqrt{27}$.
        A: acceleration.

    Example:
        >>> from riemann import spaces
        >>> x, y = spaces.c_metric().symbolic.coordinates[2:0:-1]
        >>> spaces.c_metric().facts["kretschmann_scalar"].subs({x: 0, y: 1})
        12/25
    """
    m, A = parameter("m", m, positive=True), parameter("A", A, positive=True)
    require(27 * (m * A) ** 2 < 1, f"`m` is {m} and `A` is {A}: expected 27 m^2 A^2 < 1")
    x, y = sp.symbols("x y")
    F, G = y**2 - 1 - 2 * m * A * y**3, 1 - x**2 - 2 * m * A * x**3
    return Space(
        sp.diag(-F, 1 / F, 1 / G, G) / (A * (x + y)) ** 2,
        (_t, y, x, _phi),
        parameters={"m": m, "A": A},
        negative=1,
        domain={_phi: (0, 2 * sp.pi)},
        condition=sp.And(F > 0, G > 0, x + y > 0),
        box={x: (-sp.Rational(1, 3), sp.Rational(1, 3)), y: (sp.Rational(7, 5), sp.Rational(9, 5))},
        facts=VACUUM | {"kretschmann_scalar": 48 * m**2 * (A * (x + y)) ** 6, "killing_dimension": 2},
        reference=f"{_GP}, chapter 14",
    )
