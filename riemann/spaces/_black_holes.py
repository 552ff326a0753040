"""Black holes and other bodies in general relativity; signature (-,+,+,+), G = c = 1."""

from typing import Any

import sympy as sp

from riemann.spaces._space import Number, Space, choice, entry, parameter, require, squares

_MTW = "Misner, Thorne, Wheeler, Gravitation (1973)"
_POISSON = "Poisson, A Relativist's Toolkit (2004)"
_GP = "Griffiths, Podolsky, Exact Space-Times in Einstein's General Relativity (2009)"
VACUUM = {"ricci_tensor": 0, "einstein_tensor": 0, "scalar_curvature": 0, "einstein_constant": 0}

_t, _r, _theta, _phi = SPHERICAL = tuple(sp.symbols("t r theta phi"))
ANGLES = {_theta: (0, sp.pi), _phi: (0, 2 * sp.pi)}


def outside(horizon: Any, width: Any = 8) -> dict[str, Any]:
    """Domain and box of sampling outside a horizon."""
    near, far = horizon * sp.Rational(5, 4), horizon + width
    return {"domain": {_r: (horizon, sp.oo)} | ANGLES, "box": {_r: (near, far)}}


def static(f: Any) -> sp.Matrix:
    """The matrix of -f dt^2 + dr^2 / f + r^2 dOmega^2."""
    return sp.diag(-f, 1 / f, _r**2, _r**2 * sp.sin(_theta) ** 2)


def _spherical_cartesian() -> tuple[tuple[sp.Symbol, ...], sp.Expr]:
    t, x, y, z = sp.symbols("t x y z")
    return (t, x, y, z), sp.sqrt(x**2 + y**2 + z**2)


_CHARTS = (
    "schwarzschild",
    "eddington_finkelstein",
    "painleve_gullstrand",
    "lemaitre",
    "isotropic",
    "harmonic",
    "kerr_schild",
)


@entry
def schwarzschild(M: Number = 1, chart: str = "schwarzschild") -> Space:
    r"""The black hole of Schwarzschild.

    $$ds^2 = -(1 - 2M/r)\, dt^2 + \frac{dr^2}{1 - 2M/r} + r^2 (d\theta^2 + \sin^2 \theta\, d\phi^2)$$

    Args:
        M: mass.
        chart: `"schwarzschild"`; `"eddington_finkelstein"`, $-(1 - 2M/r) dv^2 + 2 dv\, dr + r^2 d\Omega^2$;
            `"painleve_gullstrand"`, $-dT^2 + (dr + \sqrt{2M/r}\, dT)^2 + r^2 d\Omega^2$; `"lemaitre"`,
            $-d\tau^2 + \frac{2M}{r} d\rho^2 + r^2 d\Omega^2$ with $r^3 = \tfrac92 M (\rho - \tau)^2$; `"isotropic"`,
            $-\left(\frac{1 - M/2\rho}{1 + M/2\rho}\right)^2 dt^2 + (1 + M/2\rho)^4 (d\rho^2 + \rho^2 d\Omega^2)$;
            `"harmonic"`, with radius $r - M$; `"kerr_schild"`, $\eta + \frac{2M}{r} l \otimes l$ with
            $l = dt + dr$, in Cartesian coordinates.

    Example:
        >>> from riemann import spaces
        >>> spaces.schwarzschild(M="M").facts["kretschmann_scalar"]
        48*M**2/r**6
    """
    M, chart = parameter("M", M, positive=True), choice("chart", chart, _CHARTS)
    facts = lambda r: VACUUM | {"kretschmann_scalar": 48 * M**2 / r**6, "killing_dimension": 4}  # noqa: E731
    shared = {"parameters": {"M": M}, "negative": 1}
    sphere = sp.diag(1, sp.sin(_theta) ** 2)
    f = 1 - 2 * M / _r
    inwards = {"domain": {_r: (0, sp.oo)} | ANGLES, "box": {_r: (M, 10 * M)}}
    if chart == "schwarzschild":
        return Space(static(f), SPHERICAL, facts=facts(_r), reference=f"{_MTW}, eq. 31.1", **outside(2 * M, 8 * M),
                     **shared)  # fmt: skip
    if chart == "eddington_finkelstein":
        block = sp.Matrix([[-f, 1], [1, 0]])
        return Space(sp.diag(block, _r**2 * sphere), (sp.Symbol("v"), *SPHERICAL[1:]), facts=facts(_r),
                     reference=f"{_MTW}, box 31.2", **inwards, **shared)  # fmt: skip
    if chart == "painleve_gullstrand":
        v = sp.sqrt(2 * M / _r)
        block = sp.Matrix([[-f, v], [v, 1]])
        return Space(sp.diag(block, _r**2 * sphere), (sp.Symbol("T"), *SPHERICAL[1:]), facts=facts(_r),
                     reference=f"{_POISSON}, section 5.1", **inwards, **shared)  # fmt: skip
    if chart == "lemaitre":
        tau, rho = sp.symbols("tau rho")
        r = (sp.Rational(9, 2) * M * (rho - tau) ** 2) ** sp.Rational(1, 3)
        return Space(
            sp.diag(-1, 2 * M / r, r**2 * sphere),
            (tau, rho, _theta, _phi),
            facts=facts(r),
            reference="Landau, Lifshitz, The Classical Theory of Fields (1975), section 102",
            condition=rho > tau,
            domain=ANGLES,
            box={tau: (0, M), rho: (2 * M, 9 * M)},
            **shared,
        )
    if chart == "isotropic":
        rho = sp.Symbol("rho")
        u = M / (2 * rho)
        return Space(
            sp.diag(-(((1 - u) / (1 + u)) ** 2), (1 + u) ** 4 * sp.diag(1, rho**2 * sphere)),
            (_t, rho, _theta, _phi),
            facts=facts(rho * (1 + u) ** 2),
            reference=f"{_MTW}, eq. 31.22",
            domain={rho: (M / 2, sp.oo)} | ANGLES,
            box={rho: (M, 8 * M)},
            **shared,
        )
    if chart == "harmonic":
        f = (_r - M) / (_r + M)
        return Space(
            sp.diag(-f, 1 / f, (_r + M) ** 2 * sphere),
            SPHERICAL,
            facts=facts(_r + M),
            reference="Weinberg, Gravitation and Cosmology (1972), section 8.2",
            **outside(M, 8 * M),
            **shared,
        )
    coordinates, r = _spherical_cartesian()
    forms = squares((2 * M / r, [1, *(c / r for c in coordinates[1:])]))
    return Space(
        sp.diag(-1, 1, 1, 1) + forms,
        coordinates,
        facts=facts(r) | {"volume_element": 1},
        reference=f"{_MTW}, exercise 33.8",
        condition=r > 0,
        box=dict.fromkeys(coordinates[1:], (M, 4 * M)),
        **shared,
    )


@entry
def reissner_nordstroem(M: Number = 1, Q: Number = 0.5) -> Space:
    r"""The charged black hole.

    $$ds^2 = -f\, dt^2 + \frac{dr^2}{f} + r^2 d\Omega^2, \qquad f = 1 - \frac{2M}{r} + \frac{Q^2}{r^2}$$

    Args:
        M: mass.
        Q: charge, |Q| <= M.

    Example:
        >>> from riemann import spaces
        >>> spaces.reissner_nordstroem(1, 1).facts["scalar_curvature"]
        0
    """
    M, Q = parameter("M", M, positive=True), parameter("Q", Q)
    require(sp.Abs(Q) <= M, f"`Q` is {Q} and `M` is {M}: a black hole has |Q| <= M")
    f = 1 - 2 * M / _r + Q**2 / _r**2
    ricci = Q**2 / _r**4 * sp.diag(f, -1 / f, _r**2, _r**2 * sp.sin(_theta) ** 2)
    return Space(
        static(f),
        SPHERICAL,
        parameters={"M": M, "Q": Q},
        negative=1,
        facts={
            "scalar_curvature": 0,
            "ricci_tensor": ricci,
            "kretschmann_scalar": 8 * (6 * M**2 * _r**2 - 12 * M * Q**2 * _r + 7 * Q**4) / _r**8,
            "killing_dimension": 4,
        },
        reference=f"{_MTW}, eq. 31.24",
        **outside(M + sp.sqrt(M**2 - Q**2), 8 * M),
    )


def _kerr_newman(M: Any, a: Any, Q: Any) -> sp.Matrix:
    """The rotating charged black hole in the coordinates of Boyer and Lindquist."""
    sin2 = sp.sin(_theta) ** 2
    S, D = _r**2 + (a * sp.cos(_theta)) ** 2, _r**2 - 2 * M * _r + a**2 + Q**2
    w = (2 * M * _r - Q**2) / S
    g_tp = -a * w * sin2
    g_pp = (_r**2 + a**2 + w * a**2 * sin2) * sin2
    return sp.Matrix([[w - 1, 0, 0, g_tp], [0, S / D, 0, 0], [0, 0, S, 0], [g_tp, 0, 0, g_pp]])


def _kerr_kretschmann(M: Any, r: Any, c: Any) -> Any:
    """Where c = a cos(theta)."""
    return 48 * M**2 * (r**2 - c**2) * ((r**2 + c**2) ** 2 - 16 * r**2 * c**2) / (r**2 + c**2) ** 6


@entry
def kerr(M: Number = 1, a: Number = 0.6, chart: str = "boyer_lindquist") -> Space:
    r"""The rotating black hole of Kerr.

    $$ds^2 = -\left(1 - \frac{2Mr}{\Sigma}\right) dt^2 - \frac{4 M a r \sin^2\theta}{\Sigma} dt\, d\phi
    + \frac{\Sigma}{\Delta} dr^2 + \Sigma\, d\theta^2
    + \left(r^2 + a^2 + \frac{2 M a^2 r \sin^2\theta}{\Sigma}\right) \sin^2\theta\, d\phi^2$$

    with $\Sigma = r^2 + a^2 \cos^2\theta$ and $\Delta = r^2 - 2Mr + a^2$.

    Args:
        M: mass.
        a: angular momentum by mass, |a| <= M.
        chart: `"boyer_lindquist"`; `"eddington_finkelstein"`,
            $-(1 - \frac{2Mr}{\Sigma}) w^2 + 2 w (dr - a \sin^2\theta\, d\phi) + \Sigma\, d\Omega^2$ with
            $w = dv - a \sin^2\theta\, d\phi$; `"doran"`,
            $-dT^2 + \left(\sqrt{\frac{\Sigma}{r^2 + a^2}} dr + \sqrt{\frac{2Mr}{\Sigma}} (dT - a \sin^2\theta\, d\phi)
            \right)^2 + \Sigma\, d\theta^2 + (r^2 + a^2) \sin^2\theta\, d\phi^2$; `"kerr_schild"`, Cartesian,
            $\eta + \frac{2 M r^3}{r^4 + a^2 z^2} l \otimes l$ with
            $l = dt + \frac{(r x + a y) dx + (r y - a x) dy}{r^2 + a^2} + \frac{z}{r} dz$.

    Example:
        >>> import torch
        >>> from riemann import ricci_tensor, spaces
        >>> x = torch.tensor([0.0, 4.0, 1.0, 0.0], dtype=torch.float64)
        >>> bool(ricci_tensor(spaces.kerr(M=1, a=0.9), x).abs().max() < 1e-12)
        True
    """
    M, a = parameter("M", M, positive=True), parameter("a", a)
    choice("chart", chart, ("boyer_lindquist", "eddington_finkelstein", "doran", "kerr_schild"))
    require(sp.Abs(a) <= M, f"`a` is {a} and `M` is {M}: a black hole has |a| <= M")
    shared = {"parameters": {"M": M, "a": a}, "negative": 1}
    facts = VACUUM | {"killing_dimension": 4 if a == 0 else 2}
    if chart == "boyer_lindquist":
        return Space(
            _kerr_newman(M, a, 0),
            SPHERICAL,
            facts=facts | {"kretschmann_scalar": _kerr_kretschmann(M, _r, a * sp.cos(_theta))},
            reference=f"{_MTW}, eq. 33.2",
            **outside(M + sp.sqrt(M**2 - a**2), 8 * M),
            **shared,
        )
    if chart in ("eddington_finkelstein", "doran"):
        sin2, S = sp.sin(_theta) ** 2, _r**2 + (a * sp.cos(_theta)) ** 2
        turning, R2 = [1, 0, 0, -a * sin2], _r**2 + a**2
        if chart == "doran":
            time = sp.Symbol("T")
            falling = [sp.sqrt(2 * M * _r / S) * w for w in turning]
            falling[1] = sp.sqrt(S / R2)
            matrix = sp.diag(-1, 0, S, R2 * sin2) + squares((1, falling))
        else:
            time = sp.Symbol("v")
            inwards = [0, 1, 0, -a * sin2]
            both = sp.Matrix(turning) * sp.Matrix([inwards])
            matrix = squares((2 * M * _r / S - 1, turning)) + both + both.T + sp.diag(0, 0, S, S * sin2)
        return Space(
            matrix,
            (time, _r, _theta, _phi),
            facts=facts | {"kretschmann_scalar": _kerr_kretschmann(M, _r, a * sp.cos(_theta))},
            reference="Doran, Phys. Rev. D 61 (2000) 067503" if chart == "doran" else f"{_MTW}, box 33.2",
            domain={_r: (0, sp.oo)} | ANGLES,
            box={_r: (M, 9 * M)},
            **shared,
        )
    (t, x, y, z), R = _spherical_cartesian()
    b = R**2 - a**2
    r = sp.sqrt((b + sp.sqrt(b**2 + 4 * a**2 * z**2)) / 2)
    form = [1, (r * x + a * y) / (r**2 + a**2), (r * y - a * x) / (r**2 + a**2), z / r]
    return Space(
        sp.diag(-1, 1, 1, 1) + squares((2 * M * r**3 / (r**4 + a**2 * z**2), form)),
        (t, x, y, z),
        facts=facts | {"kretschmann_scalar": _kerr_kretschmann(M, r, a * z / r), "volume_element": 1},
        reference=f"{_MTW}, exercise 33.8",
        condition=sp.Ne(b**2 + z**2, 0),
        box=dict.fromkeys((x, y, z), (M, 4 * M)),
        **shared,
    )


@entry
def kerr_newman(M: Number = 1, a: Number = 0.6, Q: Number = 0.5) -> Space:
    r"""The rotating charged black hole.

    $$ds^2 = -\frac{\Delta}{\Sigma} (dt - a \sin^2\theta\, d\phi)^2
    + \frac{\sin^2\theta}{\Sigma} ((r^2 + a^2) d\phi - a\, dt)^2
    + \frac{\Sigma}{\Delta} dr^2 + \Sigma\, d\theta^2$$

    with $\Sigma = r^2 + a^2 \cos^2\theta$ and $\Delta = r^2 - 2Mr + a^2 + Q^2$.

    Args:
        M: mass.
        a: angular momentum by mass.
        Q: charge, $a^2 + Q^2 \le M^2$.

    Example:
        >>> from riemann import spaces
        >>> spaces.kerr_newman(M=1, a=0.5, Q=0.5).facts["scalar_curvature"]
        0
    """
    M, a, Q = parameter("M", M, positive=True), parameter("a", a), parameter("Q", Q)
    require(a**2 + Q**2 <= M**2, f"`a` is {a}, `Q` is {Q}, `M` is {M}: a black hole has a^2 + Q^2 <= M^2")
    r, c = _r, a * sp.cos(_theta)
    inner = (
        6 * M**2 * (r**6 - 15 * r**4 * c**2 + 15 * r**2 * c**4 - c**6)
        - 12 * M * Q**2 * r * (r**4 - 10 * r**2 * c**2 + 5 * c**4)
        + Q**4 * (7 * r**4 - 34 * r**2 * c**2 + 7 * c**4)
    )
    return Space(
        _kerr_newman(M, a, Q),
        SPHERICAL,
        parameters={"M": M, "a": a, "Q": Q},
        negative=1,
        facts={
            "scalar_curvature": 0,
            "kretschmann_scalar": 8 * inner / (r**2 + c**2) ** 6,
            "killing_dimension": 4 if a == 0 else 2,
        },
        reference=f"{_MTW}, eq. 33.2; invariant: Henry, Astrophys. J. 535 (2000) 350",
        **outside(M + sp.sqrt(M**2 - a**2 - Q**2), 8 * M),
    )


@entry
def kottler(M: Number = 1, Lambda: Number = 0.02) -> Space:
    r"""The black hole with a cosmological constant (Schwarzschild-de Sitter).

    $$ds^2 = -f\, dt^2 + \frac{dr^2}{f} + r^2 d\Omega^2, \qquad f = 1 - \frac{2M}{r} - \frac{\Lambda r^2}{3}$$

    Args:
        M: mass.
        Lambda: cosmological constant $\Lambda$, of either sign, $9 \Lambda M^2 < 1$.

    Example:
        >>> from riemann import spaces
        >>> spaces.kottler(M="M", Lambda="L").facts["einstein_constant"]
        L
    """
    M, L = parameter("M", M, positive=True), parameter("Lambda", Lambda)
    require(9 * L * M**2 < 1, f"`Lambda` is {L} and `M` is {M}: there is room outside only where 9 Lambda M^2 < 1")
    f = 1 - 2 * M / _r - L * _r**2 / 3
    return Space(
        static(f),
        SPHERICAL,
        parameters={"M": M, "Lambda": L},
        negative=1,
        condition=f > 0,
        domain={_r: (0, sp.oo)} | ANGLES,
        box={_r: (sp.Rational(14, 5) * M, sp.Rational(31, 10) * M)},
        facts={
            "einstein_constant": L,
            "scalar_curvature": 4 * L,
            "kretschmann_scalar": 48 * M**2 / _r**6 + 8 * L**2 / 3,
            "killing_dimension": 4,
        },
        reference=f"{_GP}, chapter 9",
    )


@entry
def kerr_de_sitter(M: Number = 1, a: Number = 0.6, Lambda: Number = 0.02) -> Space:
    r"""The rotating black hole with a cosmological constant of either sign.

    $$ds^2 = -\frac{\Delta_r}{\Xi^2 \Sigma} (dt - a \sin^2\theta\, d\phi)^2
    + \frac{\Delta_\theta \sin^2\theta}{\Xi^2 \Sigma} (a\, dt - (r^2 + a^2) d\phi)^2
    + \frac{\Sigma}{\Delta_r} dr^2 + \frac{\Sigma}{\Delta_\theta} d\theta^2$$

    with $\Sigma = r^2 + a^2 \cos^2\theta$, $\Delta_r = (r^2 + a^2)(1 - \Lambda r^2 / 3) - 2Mr$,
    $\Delta_\theta = 1 + \tfrac13 \Lambda a^2 \cos^2\theta$, $\Xi = 1 + \tfrac13 \Lambda a^2$.

    Args:
        M: mass.
        a: angular momentum by mass.
        Lambda: cosmological constant $\Lambda$.

    Example:
        >>> from riemann import spaces
        >>> spaces.kerr_de_sitter(1, 0.5, -0.1).facts["scalar_curvature"]
        -2/5
    """
    M, a, L = parameter("M", M, positive=True), parameter("a", a), parameter("Lambda", Lambda)
    require(sp.Abs(a) <= M, f"`a` is {a} and `M` is {M}: expected |a| <= M")
    require(9 * L * M**2 < 1, f"`Lambda` is {L} and `M` is {M}: expected 9 Lambda M^2 < 1")
    sin2, c = sp.sin(_theta) ** 2, a * sp.cos(_theta)
    S, X = _r**2 + c**2, 1 + L * a**2 / 3
    D, D_theta = (_r**2 + a**2) * (1 - L * _r**2 / 3) - 2 * M * _r, 1 + L * c**2 / 3
    matrix = squares(
        (-D / (X**2 * S), [1, 0, 0, -a * sin2]),
        (D_theta * sin2 / (X**2 * S), [a, 0, 0, -(_r**2) - a**2]),
        (S / D, [0, 1, 0, 0]),
        (S / D_theta, [0, 0, 1, 0]),
    )
    return Space(
        matrix,
        SPHERICAL,
        parameters={"M": M, "a": a, "Lambda": L},
        negative=1,
        condition=sp.And(D > 0, D_theta > 0),
        domain={_r: (0, sp.oo)} | ANGLES,
        box={_r: (sp.Rational(14, 5) * M, sp.Rational(31, 10) * M)},
        facts={
            "einstein_constant": L,
            "scalar_curvature": 4 * L,
            "kretschmann_scalar": _kerr_kretschmann(M, _r, c) + 8 * L**2 / 3,
            "killing_dimension": 4 if a == 0 else 2,
        },
        reference=f"{_GP}, chapter 11",
    )


@entry
def taub_nut(M: Number = 1, n: Number = 0.5) -> Space:
    r"""The vacuum of Taub, Newman, Unti and Tamburino: a mass with a gravitomagnetic charge.

    $$ds^2 = -f (dt + 2 n \cos\theta\, d\phi)^2 + \frac{dr^2}{f} + (r^2 + n^2) d\Omega^2, \qquad
    f = \frac{r^2 - 2Mr - n^2}{r^2 + n^2}$$

    Args:
        M: mass.
        n: NUT parameter.

    Example:
        >>> from riemann import spaces
        >>> spaces.taub_nut(1, 0).facts["kretschmann_scalar"]
        48/r**6
    """
    M, n = parameter("M", M, positive=True), parameter("n", n)
    r, R2 = _r, _r**2 + n**2
    f = (r**2 - 2 * M * r - n**2) / R2
    even = r**6 - 15 * r**4 * n**2 + 15 * r**2 * n**4 - n**6
    odd = n * r * (6 * r**4 - 20 * r**2 * n**2 + 6 * n**4)
    return Space(
        squares(
            (-f, [1, 0, 0, 2 * n * sp.cos(_theta)]),
            (1 / f, [0, 1, 0, 0]),
            (R2, [0, 0, 1, 0]),
            (R2 * sp.sin(_theta) ** 2, [0, 0, 0, 1]),
        ),
        SPHERICAL,
        parameters={"M": M, "n": n},
        negative=1,
        facts=VACUUM
        | {
            "kretschmann_scalar": 48 * ((M**2 - n**2) * even + 2 * M * n * odd) / R2**6,
            "killing_dimension": 4,
        },
        reference=f"{_GP}, chapter 12",
        **outside(M + sp.sqrt(M**2 + n**2), 8 * M),
    )
