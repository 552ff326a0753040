"""Surfaces in space, with the metric that they inherit; K is the Gauss curvature, half the scalar curvature."""

from typing import Any

import sympy as sp

from riemann.spaces._space import Number, Space, embedded, entry, formula, parameter

_DO_CARMO = "do Carmo, Differential Geometry of Curves and Surfaces (1976)"
_GRAY = "Gray, Abbena, Salamon, Modern Differential Geometry of Curves and Surfaces (2006)"
_ROUND = (0, 2 * sp.pi)


def _surface(point: Any, u: sp.Symbol, v: sp.Symbol, K: sp.Expr, reference: str, *, matrix: Any = None, **more: Any):
    """The surface of a map of two coordinates, of Gauss curvature K."""
    facts = {"scalar_curvature": 2 * K, "kretschmann_scalar": 4 * K**2} | more.pop("facts", {})
    matrix = embedded(point, (u, v)) if matrix is None else matrix
    return Space(matrix, (u, v), facts=facts, reference=reference, **more)


@entry
def torus(R: Number = 2, r: Number = 1) -> Space:
    r"""The torus of revolution.

    $$ds^2 = r^2 d\theta^2 + (R + r \cos \theta)^2 d\phi^2, \qquad K = \frac{\cos \theta}{r (R + r \cos \theta)}$$

    Args:
        R: radius of the circle of centres.
        r: radius of the tube, r < R.

    Example:
        >>> import torch
        >>> from riemann import spaces
        >>> spaces.torus(2, 1)(torch.tensor([0.0, 0.0]))
        tensor([[1., 0.],
                [0., 9.]])
    """
    R, r = parameter("R", R, positive=True), parameter("r", r, positive=True)
    if (R <= r) == True:  # noqa: E712
        raise ValueError(f"`r` is {r} and `R` is {R}: the tube must be thinner, r < R")
    theta, phi = sp.symbols("theta phi")
    return Space(
        sp.diag(r**2, (R + r * sp.cos(theta)) ** 2),
        (theta, phi),
        parameters={"R": R, "r": r},
        domain={theta: _ROUND, phi: _ROUND},
        facts={
            "scalar_curvature": 2 * sp.cos(theta) / (r * (R + r * sp.cos(theta))),
            "killing_dimension": 1,
            "volume": 4 * sp.pi**2 * R * r,
        },
        reference=f"{_DO_CARMO}, section 3-3",
    )


@entry
def cylinder(radius: Number = 1) -> Space:
    r"""The round cylinder: flat.

    $$ds^2 = \rho^2 d\phi^2 + dz^2$$

    Args:
        radius: $\rho > 0$.

    Example:
        >>> import torch
        >>> from riemann import spaces
        >>> spaces.cylinder(2)(torch.tensor([0.0, 0.0]))
        tensor([[4., 0.],
                [0., 1.]])
    """
    rho = parameter("radius", radius, positive=True)
    phi, z = sp.symbols("phi z")
    return Space(
        sp.diag(rho**2, 1),
        (phi, z),
        parameters={"radius": rho},
        domain={phi: _ROUND},
        facts={"riemann_tensor": 0, "christoffel": 0, "scalar_curvature": 0, "killing_dimension": 3},
        reference=f"{_DO_CARMO}, section 2-3",
    )


@entry
def cone(slope: Number = 1) -> Space:
    r"""The cone of revolution: flat away from its tip.

    $$z = s \rho: \qquad ds^2 = (1 + s^2) d\rho^2 + \rho^2 d\phi^2$$

    Args:
        slope: $s$.

    Example:
        >>> import torch
        >>> from riemann import spaces
        >>> spaces.cone(2)(torch.tensor([3.0, 0.0]))
        tensor([[5., 0.],
                [0., 9.]])
    """
    s = parameter("slope", slope)
    rho, phi = sp.symbols("rho phi")
    return Space(
        sp.diag(1 + s**2, rho**2),
        (rho, phi),
        parameters={"slope": s},
        domain={rho: (0, sp.oo), phi: _ROUND},
        facts={"riemann_tensor": 0, "scalar_curvature": 0, "killing_dimension": 3},
        reference=f"{_DO_CARMO}, section 4-2",
    )


@entry
def ellipsoid(a: Number = 3, b: Number = 2, c: Number = 1) -> Space:
    r"""The ellipsoid with three axes, by angles.

    $$(a \sin \theta \cos \phi,\ b \sin \theta \sin \phi,\ c \cos \theta), \qquad K = \frac{a^2 b^2 c^2}
    {(a^2 b^2 \cos^2 \theta + c^2 (b^2 \cos^2 \phi + a^2 \sin^2 \phi) \sin^2 \theta)^2}$$

    Args:
        a: half axis along x.
        b: half axis along y.
        c: half axis along z.

    Example:
        >>> from riemann import spaces
        >>> spaces.ellipsoid(1, 1, 1).facts["scalar_curvature"].simplify()
        2
    """
    a, b, c = (parameter(name, value, positive=True) for name, value in (("a", a), ("b", b), ("c", c)))
    theta, phi = sp.symbols("theta phi")
    sin, cos, sin_phi, cos_phi = sp.sin(theta), sp.cos(theta), sp.sin(phi), sp.cos(phi)
    flat = (b * cos_phi) ** 2 + (a * sin_phi) ** 2
    g12 = (b**2 - a**2) * sin * cos * sin_phi * cos_phi
    return _surface(
        None,
        theta,
        phi,
        (a * b * c) ** 2 / ((a * b * cos) ** 2 + c**2 * flat * sin**2) ** 2,
        f"{_GRAY}, chapter 13",
        matrix=[
            [((a * cos_phi) ** 2 + (b * sin_phi) ** 2) * cos**2 + (c * sin) ** 2, g12],
            [g12, ((a * sin_phi) ** 2 + (b * cos_phi) ** 2) * sin**2],
        ],
        parameters={"a": a, "b": b, "c": c},
        domain={theta: (0, sp.pi), phi: _ROUND},
    )


@entry
def paraboloid(a: Number = 1) -> Space:
    r"""The paraboloid of revolution.

    $$z = \frac{\rho^2}{2 a}: \qquad ds^2 = (1 + \rho^2 / a^2) d\rho^2 + \rho^2 d\phi^2,
    \qquad K = \frac{a^2}{(a^2 + \rho^2)^2}$$

    Args:
        a: radius of curvature at the vertex.

    Example:
        >>> import torch
        >>> from riemann import spaces
        >>> spaces.paraboloid(2)(torch.tensor([2.0, 0.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """
    a = parameter("a", a, positive=True)
    rho, phi = sp.symbols("rho phi")
    return _surface(
        None,
        rho,
        phi,
        a**2 / (a**2 + rho**2) ** 2,
        f"{_GRAY}, chapter 13",
        matrix=sp.diag(1 + rho**2 / a**2, rho**2),
        parameters={"a": a},
        domain={rho: (0, sp.oo), phi: _ROUND},
        facts={"killing_dimension": 1},
    )


@entry
def hyperbolic_paraboloid(a: Number = 1) -> Space:
    r"""The saddle.

    $$z = \frac{x y}{a}, \qquad K = -\frac{a^2}{(a^2 + x^2 + y^2)^2}$$

    Args:
        a: scale.

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.hyperbolic_paraboloid(), torch.tensor([0.0, 0.0]))
        tensor(-2.)
    """
    a = parameter("a", a, positive=True)
    x, y = sp.symbols("x y")
    K = -(a**2) / (a**2 + x**2 + y**2) ** 2
    return _surface((x, y, x * y / a), x, y, K, f"{_GRAY}, chapter 13", parameters={"a": a})


@entry
def monkey_saddle() -> Space:
    r"""The monkey saddle: flat at one point only.

    $$z = x^3 - 3 x y^2, \qquad K = -\frac{36 (x^2 + y^2)}{(1 + 9 (x^2 + y^2)^2)^2}$$

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.monkey_saddle(), torch.tensor([1.0, 0.0]))
        tensor(-0.7200)
    """
    x, y = sp.symbols("x y")
    s = x**2 + y**2
    K = -36 * s / (1 + 9 * s**2) ** 2
    box = {x: (sp.Rational(1, 4), 1), y: (sp.Rational(1, 4), 1)}
    return _surface((x, y, x**3 - 3 * x * y**2), x, y, K, f"{_GRAY}, chapter 12", box=box)


@entry
def catenoid(c: Number = 1) -> Space:
    r"""The catenoid, a minimal surface.

    $$ds^2 = \cosh^2(v / c) (c^2 du^2 + dv^2), \qquad K = -\frac{1}{c^2 \cosh^4(v / c)}$$

    Args:
        c: radius of the waist.

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.catenoid(), torch.tensor([0.0, 0.0]))
        tensor(-2.)
    """
    c = parameter("c", c, positive=True)
    u, v = sp.symbols("u v")
    E = sp.cosh(v / c) ** 2
    return _surface(
        None,
        u,
        v,
        -1 / (c**2 * E**2),
        f"{_DO_CARMO}, section 3-5, example 6",
        matrix=sp.diag(c**2 * E, E),
        parameters={"c": c},
        domain={u: _ROUND},
        box={v: (-2 * c, 2 * c)},
        facts={"killing_dimension": 1},
    )


@entry
def helicoid(c: Number = 1) -> Space:
    r"""The helicoid, a minimal surface, isometric to the catenoid.

    $$(v \cos u,\ v \sin u,\ c u): \qquad ds^2 = (v^2 + c^2) du^2 + dv^2, \qquad K = -\frac{c^2}{(v^2 + c^2)^2}$$

    Args:
        c: rise per radian.

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.helicoid(), torch.tensor([0.0, 0.0]))
        tensor(-2.)
    """
    c = parameter("c", c, positive=True)
    u, v = sp.symbols("u v")
    return _surface(
        (v * sp.cos(u), v * sp.sin(u), c * u),
        u,
        v,
        -(c**2) / (v**2 + c**2) ** 2,
        f"{_DO_CARMO}, section 3-5, example 7",
        parameters={"c": c},
        facts={"killing_dimension": 1},
    )


@entry
def enneper() -> Space:
    r"""Enneper's surface, minimal.

    $$ds^2 = (1 + u^2 + v^2)^2 (du^2 + dv^2), \qquad K = -\frac{4}{(1 + u^2 + v^2)^4}$$

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.enneper(), torch.tensor([0.0, 0.0]))
        tensor(-8.)
    """
    u, v = sp.symbols("u v")
    point = (u - u**3 / 3 + u * v**2, v - v**3 / 3 + v * u**2, u**2 - v**2)
    K = -4 / (1 + u**2 + v**2) ** 4
    return _surface(point, u, v, K, f"{_DO_CARMO}, section 3-5, exercise", facts={"killing_dimension": 1})


@entry
def scherk() -> Space:
    r"""Scherk's first surface, minimal and doubly periodic.

    $$z = \log \frac{\cos y}{\cos x}, \qquad
    K = -\frac{\sec^2 x \sec^2 y}{(1 + \tan^2 x + \tan^2 y)^2}$$

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.scherk(), torch.tensor([0.0, 0.0]))
        tensor(-2.)
    """
    x, y = sp.symbols("x y")
    X, Y = sp.tan(x), sp.tan(y)
    K = -1 / (sp.cos(x) * sp.cos(y) * (1 + X**2 + Y**2)) ** 2
    strip = (-sp.pi / 2, sp.pi / 2)
    return _surface(None, x, y, K, f"{_DO_CARMO}, section 3-5", matrix=[[1 + X**2, -X * Y], [-X * Y, 1 + Y**2]],
                    domain={x: strip, y: strip})  # fmt: skip


@entry
def pseudosphere(a: Number = 1) -> Space:
    r"""The pseudosphere: a tractrix turned about its asymptote.

    $$ds^2 = a^2 (\tanh^2 u\, du^2 + \operatorname{sech}^2 u\, d\phi^2), \qquad K = -\frac{1}{a^2}$$

    Args:
        a: its radius.

    Example:
        >>> from riemann import spaces
        >>> spaces.pseudosphere(2).facts["sectional_curvature"]
        -1/4
    """
    a = parameter("a", a, positive=True)
    u, phi = sp.symbols("u phi")
    K = -1 / a**2
    return _surface(
        None,
        u,
        phi,
        K,
        f"{_GRAY}, chapter 15",
        matrix=a**2 * sp.diag(sp.tanh(u) ** 2, 1 / sp.cosh(u) ** 2),
        parameters={"a": a},
        domain={u: (0, sp.oo), phi: _ROUND},
        facts={"sectional_curvature": K, "killing_dimension": 3},
    )


@entry
def moebius_strip(R: Number = 1) -> Space:
    r"""The Moebius strip as a ruled surface: the ruling turns by half a turn on its way round.

    $$((R + v \cos \tfrac{u}{2}) \cos u,\ (R + v \cos \tfrac{u}{2}) \sin u,\ v \sin \tfrac{u}{2}): \qquad
    ds^2 = E\, du^2 + dv^2, \quad E = (R + v \cos \tfrac{u}{2})^2 + \tfrac{v^2}{4}, \quad K = -\frac{R^2}{4 E^2}$$

    Args:
        R: radius of the middle circle.

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.moebius_strip(), torch.tensor([0.0, 0.0]))
        tensor(-0.5000)
    """
    R = parameter("R", R, positive=True)
    u, v = sp.symbols("u v")
    E = (R + v * sp.cos(u / 2)) ** 2 + v**2 / 4
    return _surface(
        None,
        u,
        v,
        -(R**2) / (4 * E**2),
        f"{_GRAY}, chapter 11",
        matrix=sp.diag(E, 1),
        parameters={"R": R},
        domain={u: _ROUND, v: (-R / 2, R / 2)},
    )


@entry
def graph(f: Any = None) -> Space:
    r"""The graph of a function of two variables.

    $$z = f(x, y), \qquad K = \frac{f_{xx} f_{yy} - f_{xy}^2}{(1 + f_x^2 + f_y^2)^2}$$

    Args:
        f: expression in x and y; $\sin x \cos y$ by default.

    Example:
        >>> import torch
        >>> import sympy as sp
        >>> from riemann import scalar_curvature, spaces
        >>> x, y = sp.symbols("x y")
        >>> scalar_curvature(spaces.graph(x * y), torch.tensor([0.0, 0.0]))
        tensor(-2.)
    """
    x, y = sp.symbols("x y")
    f = sp.sin(x) * sp.cos(y) if f is None else formula("f", f, x, y)
    fx, fy = f.diff(x), f.diff(y)
    K = (fx.diff(x) * fy.diff(y) - fx.diff(y) ** 2) / (1 + fx**2 + fy**2) ** 2
    matrix = [[1 + fx**2, fx * fy], [fx * fy, 1 + fy**2]]
    return _surface(None, x, y, K, f"{_DO_CARMO}, section 3-3, example 5", matrix=matrix)


@entry
def surface_of_revolution(profile: Any = None) -> Space:
    r"""The surface that a graph over the axis makes when it turns.

    $$ds^2 = (1 + f'(z)^2) dz^2 + f(z)^2 d\phi^2, \qquad K = -\frac{f''}{f (1 + f'^2)^2}$$

    Args:
        profile: $f > 0$, expression in z; $2 + \sin z$ by default.

    Example:
        >>> import sympy as sp
        >>> from riemann import spaces
        >>> spaces.surface_of_revolution(sp.cosh(sp.Symbol("z"))).facts["scalar_curvature"].simplify()
        -2/cosh(z)**4
    """
    z, phi = sp.symbols("z phi")
    f = 2 + sp.sin(z) if profile is None else formula("profile", profile, z)
    K = -f.diff(z, 2) / (f * (1 + f.diff(z) ** 2) ** 2)
    matrix = sp.diag(1 + f.diff(z) ** 2, f**2)
    return _surface(None, z, phi, K, f"{_DO_CARMO}, section 3-3, example 4", matrix=matrix, domain={phi: _ROUND})


@entry
def cigar() -> Space:
    r"""Hamilton's cigar, the steady soliton of the Ricci flow.

    $$ds^2 = \frac{dx^2 + dy^2}{1 + x^2 + y^2}, \qquad K = \frac{2}{1 + x^2 + y^2}$$

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.cigar(), torch.tensor([0.0, 0.0]))
        tensor(4.)
    """
    x, y = sp.symbols("x y")
    s = 1 + x**2 + y**2
    reference = "Hamilton, The Ricci flow on surfaces (1988), section 8"
    return _surface(None, x, y, 2 / s, reference, matrix=sp.eye(2) / s, facts={"killing_dimension": 1})


@entry
def grushin() -> Space:
    r"""The Grushin plane away from its singular line.

    $$ds^2 = dx^2 + \frac{dy^2}{x^2}, \qquad K = -\frac{2}{x^2}$$

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.grushin(), torch.tensor([2.0, 0.0]))
        tensor(-1.)
    """
    x, y = sp.symbols("x y")
    reference = "Agrachev, Barilari, Boscain, A Comprehensive Introduction to Sub-Riemannian Geometry (2019)"
    return _surface(None, x, y, -2 / x**2, reference, matrix=sp.diag(1, 1 / x**2), domain={x: (0, sp.oo)},
                    facts={"killing_dimension": 1})  # fmt: skip
