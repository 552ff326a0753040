"""Complex spaces, homogeneous spaces and gravitational instantons."""

from typing import Any

import sympy as sp

from riemann.spaces._space import Number, Space, dimension, entry, parameter, squares

_EGH = "Eguchi, Gilkey, Hanson, Physics Reports 66 (1980) 213"
_MILNOR = "Milnor, Curvatures of left invariant metrics on Lie groups, Adv. Math. 21 (1976) 293"
_THURSTON = "Scott, The geometries of 3-manifolds, Bull. London Math. Soc. 15 (1983) 401"
_r, _theta, _phi, _psi = sp.symbols("r theta phi psi")
_EULER = {_theta: (0, sp.pi), _phi: (0, 2 * sp.pi), _psi: (0, 4 * sp.pi)}


# ---------------------------------------------------------------------------------------------------- complex spaces


def _fubini_study(m: int, sign: int) -> tuple[sp.Matrix, tuple[sp.Symbol, ...], sp.Expr]:
    """The metric of constant holomorphic curvature 4 sign in affine coordinates, x and y of z = x + iy in turn."""
    w = tuple(sp.symbols(" ".join(f"x{k} y{k}" for k in range(1, m + 1)) if m > 1 else "x y", seq=True))
    J = sp.diag(*[sp.Matrix([[0, -1], [1, 0]])] * m)
    s = 1 + sign * sp.Add(*(c**2 for c in w))
    column = sp.Matrix(w)
    turned = J * column
    return sp.eye(2 * m) / s - sign * (column * column.T + turned * turned.T) / s**2, w, s


@entry
def complex_projective(m: int = 2) -> Space:
    r"""Complex projective space with the metric of Fubini and Study, in real affine coordinates.

    $$ds^2 = \frac{|dz|^2}{1 + |z|^2} - \frac{|\bar z \cdot dz|^2}{(1 + |z|^2)^2}, \qquad z_k = x_k + i y_k$$

    Args:
        m: complex dimension; the holomorphic sectional curvature is 4.

    Example:
        >>> from riemann import spaces
        >>> spaces.complex_projective(2).facts["einstein_constant"]
        6
    """
    if not isinstance(m, int) or m < 1:
        raise ValueError(f"`m` is {m!r}, expected a whole number, at least 1")
    matrix, w, _ = _fubini_study(m, 1)
    return Space(matrix, w, facts=_holomorphic(m, 1), reference="Besse, Einstein Manifolds (1987), chapter 2")


@entry
def complex_hyperbolic(m: int = 2) -> Space:
    r"""Complex hyperbolic space with the metric of Bergman, in the unit ball.

    $$ds^2 = \frac{|dz|^2}{1 - |z|^2} + \frac{|\bar z \cdot dz|^2}{(1 - |z|^2)^2}, \qquad z_k = x_k + i y_k$$

    Args:
        m: complex dimension; the holomorphic sectional curvature is -4.

    Example:
        >>> from riemann import spaces
        >>> spaces.complex_hyperbolic(1).facts["scalar_curvature"]
        -8
    """
    if not isinstance(m, int) or m < 1:
        raise ValueError(f"`m` is {m!r}, expected a whole number, at least 1")
    matrix, w, s = _fubini_study(m, -1)
    reach = sp.Rational(1, 2) / sp.sqrt(m)
    return Space(
        matrix,
        w,
        condition=s > 0,
        domain=dict.fromkeys(w, (-1, 1)),
        box=dict.fromkeys(w, (-reach, reach)),
        facts=_holomorphic(m, -1),
        reference="Goldman, Complex Hyperbolic Geometry (1999), chapter 3",
    )


def _holomorphic(m: int, sign: int) -> dict[str, Any]:
    return {
        "einstein_constant": sign * 2 * (m + 1),
        "scalar_curvature": sign * 4 * m * (m + 1),
        "kretschmann_scalar": 32 * m * (m + 1),
        "killing_dimension": m * (m + 2),
    }


# ----------------------------------------------------------------------------------------------- homogeneous spaces


@entry
def berger_sphere(epsilon: Number = 0.5) -> Space:
    r"""The three-sphere with its Hopf fibres scaled, in Euler angles.

    $$ds^2 = \tfrac14 (d\theta^2 + \sin^2\theta\, d\phi^2 + \epsilon^2 (d\psi + \cos\theta\, d\phi)^2)$$

    Args:
        epsilon: scale of the fibres; 1 is the round unit sphere.

    Example:
        >>> from riemann import spaces
        >>> spaces.berger_sphere("e").facts["scalar_curvature"]
        8 - 2*e**2
    """
    e = parameter("epsilon", epsilon, positive=True)
    fibre, quarter = [0, sp.cos(_theta), 1], sp.Rational(1, 4)
    base = quarter * sp.diag(1, sp.sin(_theta) ** 2, 0)
    coordinates = (_theta, _phi, _psi)
    return Space(
        base + squares((quarter * e**2, fibre)),
        coordinates,
        parameters={"epsilon": e},
        domain=_EULER,
        facts={
            "ricci_tensor": (4 - 2 * e**2) * base + squares((quarter * 2 * e**4, fibre)),
            "scalar_curvature": 8 - 2 * e**2,
            "killing_dimension": 6 if e == 1 else 4,
            "volume": 2 * sp.pi**2 * e,
        },
        reference="Berger, Ann. Scuola Norm. Sup. Pisa 15 (1961) 179",
    )


@entry
def heisenberg() -> Space:
    r"""The Heisenberg group with a left-invariant metric (Nil).

    $$ds^2 = dx^2 + dy^2 + (dz - x\, dy)^2$$

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.heisenberg(), torch.zeros(3))
        tensor(-0.5000)
    """
    x, y, z = coordinates = sp.symbols("x y z")
    half = sp.Rational(1, 2)
    plane, fibre = sp.diag(1, 1, 0), [0, -x, 1]
    return Space(
        plane + squares((1, fibre)),
        coordinates,
        facts={
            "ricci_tensor": -half * plane + squares((half, fibre)),
            "scalar_curvature": -half,
            "kretschmann_scalar": sp.Rational(11, 4),
            "volume_element": 1,
            "killing_dimension": 4,
        },
        reference=_MILNOR,
    )


@entry
def sol() -> Space:
    r"""The group Sol with its left-invariant metric.

    $$ds^2 = e^{2z} dx^2 + e^{-2z} dy^2 + dz^2$$

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.sol(), torch.zeros(3))
        tensor(-2.)
    """
    x, y, z = sp.symbols("x y z")
    return Space(
        sp.diag(sp.exp(2 * z), sp.exp(-2 * z), 1),
        (x, y, z),
        facts={
            "ricci_tensor": sp.diag(0, 0, -2),
            "scalar_curvature": -2,
            "kretschmann_scalar": 12,
            "volume_element": 1,
            "killing_dimension": 3,
        },
        reference=_THURSTON,
    )


@entry
def bianchi_cartan_vranceanu(kappa: Number = 1, tau: Number = 1) -> Space:
    r"""The three-dimensional spaces with four symmetries: bundles over surfaces of constant curvature.

    $$ds^2 = \frac{dx^2 + dy^2}{F^2} + \left(dz + \tau \frac{y\, dx - x\, dy}{F}\right)^2, \qquad
    F = 1 + \tfrac{\kappa}{4} (x^2 + y^2)$$

    Args:
        kappa: curvature of the base, $\kappa$.
        tau: curvature of the bundle, $\tau$; the fibres are Killing.

    Example:
        >>> from riemann import spaces
        >>> spaces.bianchi_cartan_vranceanu("k", "t").facts["scalar_curvature"]
        2*k - 2*t**2
    """
    kappa, tau = parameter("kappa", kappa), parameter("tau", tau)
    x, y, z = coordinates = sp.symbols("x y z")
    F = 1 + kappa * (x**2 + y**2) / 4
    base, fibre = sp.diag(1, 1, 0) / F**2, [tau * y / F, -tau * x / F, 1]
    low, high = kappa - 2 * tau**2, 2 * tau**2
    reach = 1 / (1 + sp.Abs(kappa))
    return Space(
        base + squares((1, fibre)),
        coordinates,
        parameters={"kappa": kappa, "tau": tau},
        condition=F > 0,
        box={x: (-reach, reach), y: (-reach, reach)},
        facts={
            "ricci_tensor": low * base + squares((high, fibre)),
            "scalar_curvature": 2 * kappa - 2 * tau**2,
            "kretschmann_scalar": 4 * (2 * low**2 + high**2) - (2 * kappa - 2 * tau**2) ** 2,
            "killing_dimension": 6 if kappa == 4 * tau**2 else 4,
        },
        reference="Daniel, Comment. Math. Helv. 82 (2007) 87",
    )


@entry
def product_of_spheres(a: Number = 1, b: Number = 2) -> Space:
    r"""The product of two round spheres.

    $$ds^2 = a^2 d\Omega_1^2 + b^2 d\Omega_2^2$$

    Args:
        a: radius of the first.
        b: radius of the second.

    Example:
        >>> from riemann import spaces
        >>> spaces.product_of_spheres(1, 1).facts["scalar_curvature"]
        4
    """
    a, b = parameter("a", a, positive=True), parameter("b", b, positive=True)
    s, p, t, q = sp.symbols("theta1 phi1 theta2 phi2")
    first, second = sp.diag(1, sp.sin(s) ** 2), sp.diag(1, sp.sin(t) ** 2)
    return Space(
        sp.diag(a**2 * first, b**2 * second),
        (s, p, t, q),
        parameters={"a": a, "b": b},
        domain={s: (0, sp.pi), p: (0, 2 * sp.pi), t: (0, sp.pi), q: (0, 2 * sp.pi)},
        facts={
            "ricci_tensor": sp.diag(first, second),
            "scalar_curvature": 2 / a**2 + 2 / b**2,
            "kretschmann_scalar": 4 / a**4 + 4 / b**4,
            "killing_dimension": 6,
        },
        reference="Besse, Einstein Manifolds (1987), chapter 1",
    )


@entry
def polydisk(n: int = 2) -> Space:
    r"""The product of n hyperbolic planes.

    $$ds^2 = \sum_{k=1}^n \frac{dx_k^2 + dy_k^2}{y_k^2}$$

    Args:
        n: number of planes.

    Example:
        >>> from riemann import spaces
        >>> spaces.polydisk(3).facts["scalar_curvature"]
        -6
    """
    dimension(n, 1)
    w = sp.symbols(" ".join(f"x{k} y{k}" for k in range(1, n + 1)), seq=True)
    return Space(
        sp.diag(*(sp.eye(2) / y**2 for y in w[1::2])),
        w,
        domain={y: (0, sp.oo) for y in w[1::2]},
        facts={
            "einstein_constant": -1,
            "scalar_curvature": -2 * n,
            "kretschmann_scalar": 4 * n,
            "killing_dimension": 3 * n,
        },
        reference="Helgason, Differential Geometry, Lie Groups, and Symmetric Spaces (1978), chapter 8",
    )


@entry
def line_times(n: int = 2, K: Number = -1) -> Space:
    r"""The product of a line and a space form, such as $\mathbb H^2 \times \mathbb R$.

    $$ds^2 = \frac{dx \cdot dx}{(1 + \tfrac{K}{4} |x|^2)^2} + dz^2$$

    Args:
        n: dimension of the space form.
        K: its sectional curvature.

    Example:
        >>> from riemann import spaces
        >>> spaces.line_times(2, K=1).facts["scalar_curvature"]
        2
    """
    dimension(n, 2)
    K = parameter("K", K)
    x = tuple(sp.symbols(f"x1:{n + 1}", seq=True))
    s = 1 + K * sp.Add(*(c**2 for c in x)) / 4
    unit = sp.diag(sp.eye(n) / s**2, 0)
    reach = 1 / (n * (1 + sp.Abs(K)))
    return Space(
        unit + sp.diag(sp.zeros(n, n), 1),
        (*x, sp.Symbol("z")),
        parameters={"K": K},
        condition=s > 0,
        box=dict.fromkeys(x, (-reach, reach)),
        facts={
            "ricci_tensor": (n - 1) * K * unit,
            "scalar_curvature": n * (n - 1) * K,
            "kretschmann_scalar": 2 * n * (n - 1) * K**2,
            "weyl_tensor": 0,
        },
        reference=_THURSTON,
    )


@entry
def positive_matrices() -> Space:
    r"""Symmetric positive 2 x 2 matrices with the metric that congruence keeps.

    $$ds^2 = \operatorname{tr}\,(P^{-1} dP)^2, \qquad P = \begin{pmatrix} a & b \\ b & c \end{pmatrix}$$

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.positive_matrices(), torch.tensor([1.0, 0.0, 1.0]))
        tensor(-1.)
    """
    a, b, c = coordinates = sp.symbols("a b c")
    P = sp.Matrix([[a, b], [b, c]])
    D = a * c - b**2
    matrix = sp.Matrix([[c**2, -2 * b * c, b**2], [-2 * b * c, 2 * (a * c + b**2), -2 * a * b],
                        [b**2, -2 * a * b, a**2]]) / D**2  # fmt: skip
    trace = sp.Matrix([[c, -2 * b, a]]) / D  # the gradient of log det P: flat
    assert P.det() == D
    return Space(
        matrix,
        coordinates,
        condition=D > 0,
        domain={a: (0, sp.oo), c: (0, sp.oo)},
        box={a: (1, 2), b: (-sp.Rational(4, 5), sp.Rational(4, 5)), c: (1, 2)},
        facts={
            "ricci_tensor": -(matrix - trace.T * trace / 2) / 2,
            "scalar_curvature": -1,
            "kretschmann_scalar": 1,
            "killing_dimension": 4,
        },
        reference="Bhatia, Positive Definite Matrices (2007), chapter 6",
    )


# ---------------------------------------------------------------------------------------------------------- instantons


@entry
def eguchi_hanson(a: Number = 1) -> Space:
    r"""The instanton of Eguchi and Hanson: flat in the Ricci sense, self-dual.

    $$ds^2 = \frac{dr^2}{1 - a^4/r^4} + \frac{r^2}{4} (d\theta^2 + \sin^2\theta\, d\phi^2
    + (1 - a^4/r^4)(d\psi + \cos\theta\, d\phi)^2)$$

    Args:
        a: radius of the bolt.

    Example:
        >>> from riemann import spaces
        >>> spaces.eguchi_hanson().facts["kretschmann_scalar"]
        384/r**12
    """
    a = parameter("a", a, positive=True)
    coordinates = (_r, _theta, _phi, _psi)
    f = 1 - a**4 / _r**4
    return Space(
        _hopf(1 / f, _r**2 / 4, f * _r**2 / 4),
        coordinates,
        parameters={"a": a},
        domain={_r: (a, sp.oo)} | _EULER | {_psi: (0, 2 * sp.pi)},
        box={_r: (sp.Rational(5, 4) * a, 4 * a)},
        facts={
            "ricci_tensor": 0,
            "einstein_constant": 0,
            "scalar_curvature": 0,
            "kretschmann_scalar": 384 * a**8 / _r**12,
            "volume_element": _r**3 * sp.sin(_theta) / 8,
            "killing_dimension": 4,
        },
        reference=_EGH,
    )


@entry
def euclidean_taub_nut(m: Number = 1) -> Space:
    r"""The instanton of Taub and NUT, self-dual.

    $$ds^2 = \frac{r + m}{4 (r - m)} dr^2 + \frac{r^2 - m^2}{4} (d\theta^2 + \sin^2\theta\, d\phi^2)
    + m^2 \frac{r - m}{r + m} (d\psi + \cos\theta\, d\phi)^2$$

    Args:
        m: radius of the fibres far away, halved.

    Example:
        >>> from riemann import spaces
        >>> spaces.euclidean_taub_nut().facts["ricci_tensor"]
        0
    """
    m = parameter("m", m, positive=True)
    coordinates = (_r, _theta, _phi, _psi)
    f = (_r + m) / (_r - m)
    return Space(
        _hopf(f / 4, (_r**2 - m**2) / 4, m**2 / f),
        coordinates,
        parameters={"m": m},
        domain={_r: (m, sp.oo)} | _EULER,
        box={_r: (sp.Rational(3, 2) * m, 5 * m)},
        facts={
            "ricci_tensor": 0,
            "einstein_constant": 0,
            "scalar_curvature": 0,
            "kretschmann_scalar": 1536 * m**2 / (_r + m) ** 6,
            "killing_dimension": 4,
        },
        reference=_EGH,
    )


def _hopf(radial: Any, base: Any, fibre: Any) -> sp.Matrix:
    """The sum radial dr^2 + base (dtheta^2 + sin^2 theta dphi^2) + fibre (dpsi + cos theta dphi)^2."""
    return sp.diag(radial, base, base * sp.sin(_theta) ** 2, 0) + squares((fibre, [0, 0, sp.cos(_theta), 1]))


@entry
def euclidean_schwarzschild(M: Number = 1) -> Space:
    r"""The instanton of Schwarzschild: time is an angle of period $8 \pi M$.

    $$ds^2 = (1 - 2M/r)\, d\tau^2 + \frac{dr^2}{1 - 2M/r} + r^2 d\Omega^2$$

    Args:
        M: mass.

    Example:
        >>> from riemann import spaces
        >>> spaces.euclidean_schwarzschild().facts["signature"]
        (0, 4)
    """
    M, tau = parameter("M", M, positive=True), sp.Symbol("tau")
    f = 1 - 2 * M / _r
    return Space(
        sp.diag(f, 1 / f, _r**2, _r**2 * sp.sin(_theta) ** 2),
        (tau, _r, _theta, _phi),
        parameters={"M": M},
        domain={tau: (0, 8 * sp.pi * M), _r: (2 * M, sp.oo), _theta: (0, sp.pi), _phi: (0, 2 * sp.pi)},
        box={_r: (sp.Rational(5, 2) * M, 10 * M)},
        facts={
            "ricci_tensor": 0,
            "einstein_constant": 0,
            "scalar_curvature": 0,
            "kretschmann_scalar": 48 * M**2 / _r**6,
            "killing_dimension": 4,
        },
        reference=_EGH,
    )
