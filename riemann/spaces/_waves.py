"""Waves, strings, fields, wormholes and warp drives; signature (-,+,+,+), G = c = 1."""

from typing import Any

import sympy as sp

from riemann.spaces._black_holes import ANGLES, SPHERICAL
from riemann.spaces._space import Number, Space, entry, formula, parameter, require, squares
from riemann.spaces._universes import FLAT, SPHERE

_GP = "Griffiths, Podolsky, Exact Space-Times in Einstein's General Relativity (2009)"
_t, _r, _theta, _phi = SPHERICAL
_x, _y, _z = sp.symbols("x y z")


@entry
def pp_wave(H: Any = None) -> Space:
    r"""A plane-fronted wave with parallel rays: its curvature invariants all vanish.

    $$ds^2 = H(u, x, y)\, du^2 + 2\, du\, dv + dx^2 + dy^2, \qquad
    \mathrm{Ric} = -\tfrac12 (H_{xx} + H_{yy})\, du^2$$

    Args:
        H: profile, expression in u, x and y; $(x^2 - y^2) \cos u$ by default, a vacuum.

    Example:
        >>> import torch
        >>> from riemann import riemann_tensor, spaces
        >>> riemann_tensor(spaces.pp_wave(), torch.zeros(4), indices="llll")[0, 2, 0, 2]
        tensor(-1.)
    """
    u, v = sp.symbols("u v")
    H = (_x**2 - _y**2) * sp.cos(u) if H is None else formula("H", H, u, v, _x, _y)
    laplacian = H.diff(_x, 2) + H.diff(_y, 2)
    return Space(
        [[H, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        (u, v, _x, _y),
        negative=1,
        facts={
            "ricci_tensor": sp.diag(-laplacian / 2, 0, 0, 0),
            "scalar_curvature": 0,
            "kretschmann_scalar": 0,
            "volume_element": 1,
        },
        reference=f"{_GP}, chapter 17",
    )


@entry
def melvin(B: Number = 1) -> Space:
    r"""Melvin's universe: a bundle of magnetic field held by its own weight.

    $$ds^2 = \Lambda^2 (-dt^2 + d\rho^2 + dz^2) + \frac{\rho^2}{\Lambda^2} d\phi^2, \qquad
    \Lambda = 1 + \tfrac14 B^2 \rho^2$$

    Args:
        B: field on the axis.

    Example:
        >>> from riemann import spaces
        >>> spaces.melvin().facts["scalar_curvature"]
        0
    """
    B, rho = parameter("B", B, positive=True), sp.Symbol("rho")
    L = 1 + (B * rho) ** 2 / 4
    field = B**2 / L**4  # of one sign along t and z, of the other along rho and phi
    return Space(
        sp.diag(-(L**2), L**2, rho**2 / L**2, L**2),
        (_t, rho, _phi, _z),
        parameters={"B": B},
        negative=1,
        domain={rho: (0, sp.oo), _phi: (0, 2 * sp.pi)},
        box={rho: (1 / B, 3 / B)},
        facts={
            "ricci_tensor": field * sp.diag(L**2, L**2, rho**2 / L**2, -(L**2)),
            "scalar_curvature": 0,
            "killing_dimension": 4,
        },
        reference=f"{_GP}, chapter 7",
    )


@entry
def levi_civita(sigma: Number = 0.2) -> Space:
    r"""The static vacuum around a line of mass.

    $$ds^2 = -\rho^{4\sigma} dt^2 + \rho^{4\sigma (2\sigma - 1)} (d\rho^2 + dz^2) + \rho^{2 - 4\sigma} d\phi^2$$

    Args:
        sigma: mass on a unit of length, $\sigma$.

    Example:
        >>> from riemann import spaces
        >>> spaces.levi_civita().coordinates
        ('t', 'rho', 'z', 'phi')
    """
    s, rho = parameter("sigma", sigma), sp.Symbol("rho")
    radial = rho ** (4 * s * (2 * s - 1))
    return Space(
        sp.diag(-(rho ** (4 * s)), radial, radial, rho ** (2 - 4 * s)),
        (_t, rho, _z, _phi),
        parameters={"sigma": s},
        negative=1,
        domain={rho: (0, sp.oo), _phi: (0, 2 * sp.pi)},
        facts={"ricci_tensor": 0, "scalar_curvature": 0, "einstein_constant": 0},
        reference=f"{_GP}, chapter 10",
    )


@entry
def cosmic_string(mu: Number = 0.1) -> Space:
    r"""A straight cosmic string: flat, with an angle missing.

    $$ds^2 = -dt^2 + d\rho^2 + (1 - 4\mu)^2 \rho^2 d\phi^2 + dz^2$$

    Args:
        mu: mass on a unit of length, $\mu < 1/4$.

    Example:
        >>> from riemann import spaces
        >>> spaces.cosmic_string().facts["riemann_tensor"]
        0
    """
    mu, rho = parameter("mu", mu, positive=True), sp.Symbol("rho")
    require(4 * mu < 1, f"`mu` is {mu}, expected less than 1/4")
    return Space(
        sp.diag(-1, 1, ((1 - 4 * mu) * rho) ** 2, 1),
        (_t, rho, _phi, _z),
        parameters={"mu": mu},
        negative=1,
        domain={rho: (0, sp.oo), _phi: (0, 2 * sp.pi)},
        facts=FLAT,
        reference=f"{_GP}, chapter 3",
    )


@entry
def global_monopole(k: Number = 0.8) -> Space:
    r"""Outside a global monopole: a solid angle is missing.

    $$ds^2 = -dt^2 + dr^2 + k^2 r^2 d\Omega^2$$

    Args:
        k: ratio of radii, 0 < k.

    Example:
        >>> from riemann import spaces
        >>> spaces.global_monopole(1).facts["scalar_curvature"]
        0
    """
    k = parameter("k", k, positive=True)
    S = 2 * (1 - k**2) / (k * _r) ** 2
    return Space(
        sp.diag(-1, 1, (k * _r) ** 2 * SPHERE),
        SPHERICAL,
        parameters={"k": k},
        negative=1,
        domain={_r: (0, sp.oo)} | ANGLES,
        facts={
            "ricci_tensor": sp.diag(0, 0, (1 - k**2) * SPHERE),
            "scalar_curvature": S,
            "kretschmann_scalar": S**2,
            "energy_density": S / (16 * sp.pi),
        },
        reference="Barriola, Vilenkin, Phys. Rev. Lett. 63 (1989) 341",
    )


@entry
def ellis_wormhole(b: Number = 1) -> Space:
    r"""The wormhole of Ellis.

    $$ds^2 = -dt^2 + dl^2 + (b^2 + l^2)\, d\Omega^2$$

    Args:
        b: radius of the throat.

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.ellis_wormhole(), torch.tensor([0.0, 0.0, 1.0, 0.0])).round(decimals=4)
        tensor(-2.)
    """
    b, ell = parameter("b", b, positive=True), sp.Symbol("l")
    R2 = b**2 + ell**2
    return Space(
        sp.diag(-1, 1, R2 * SPHERE),
        (_t, ell, _theta, _phi),
        parameters={"b": b},
        negative=1,
        domain=ANGLES,
        facts={
            "ricci_tensor": sp.diag(0, -2 * b**2 / R2**2, 0, 0),
            "scalar_curvature": -2 * b**2 / R2**2,
            "kretschmann_scalar": 12 * b**4 / R2**4,
            "energy_density": -(b**2) / (8 * sp.pi * R2**2),
            "killing_dimension": 4,
        },
        reference="Ellis, J. Math. Phys. 14 (1973) 104",
    )


@entry
def alcubierre(v: Number = 0.5, R: Number = 1, sigma: Number = 2) -> Space:
    r"""The warp drive of Alcubierre.

    $$ds^2 = -dt^2 + (dx - v f(r_s)\, dt)^2 + dy^2 + dz^2, \qquad r_s^2 = (x - v t)^2 + y^2 + z^2$$

    with $f(r) = \frac{\tanh(\sigma (r + R)) - \tanh(\sigma (r - R))}{2 \tanh(\sigma R)}$; at rest in the bubble's
    slices its energy density is $-\frac{v^2}{32 \pi} \frac{y^2 + z^2}{r_s^2} f'(r_s)^2$.

    Args:
        v: speed of the bubble.
        R: its radius.
        sigma: steepness of its wall, $\sigma$.

    Example:
        >>> from riemann import spaces
        >>> spaces.alcubierre().facts["volume_element"]
        1
    """
    v, R = parameter("v", v), parameter("R", R, positive=True)
    s, r = parameter("sigma", sigma, positive=True), sp.Symbol("r")
    shape = (sp.tanh(s * (r + R)) - sp.tanh(s * (r - R))) / (2 * sp.tanh(s * R))
    r_s = sp.sqrt((_x - v * _t) ** 2 + _y**2 + _z**2)
    shift = v * shape.subs(r, r_s)
    density = -(v**2) * (_y**2 + _z**2) / (32 * sp.pi * r_s**2) * shape.diff(r).subs(r, r_s) ** 2
    return Space(
        sp.diag(-1, 0, 1, 1) + squares((1, [-shift, 1, 0, 0])),
        (_t, _x, _y, _z),
        parameters={"v": v, "R": R, "sigma": s},
        negative=1,
        condition=r_s > 0,
        box={_t: (0, 1), _x: (R / 4, 2 * R), _y: (R / 4, R), _z: (R / 4, R)},
        facts={"volume_element": 1, "energy_density": density},
        reference="Alcubierre, Class. Quantum Grav. 11 (1994) L73",
    )


@entry
def rosen_wave(F: Any = None, G: Any = None) -> Space:
    r"""A plane wave in the coordinates of Rosen.

    $$ds^2 = -2\, du\, dv + F(u)^2 dx^2 + G(u)^2 dy^2, \qquad
    \mathrm{Ric} = -\left(\frac{F''}{F} + \frac{G''}{G}\right) du^2$$

    Args:
        F: expression in u; $\cos u$ by default.
        G: expression in u; $\cosh u$ by default: a vacuum with the other.

    Example:
        >>> from riemann import spaces
        >>> spaces.rosen_wave().facts["ricci_tensor"].is_zero_matrix
        True
    """
    u, v = sp.symbols("u v")
    F = sp.cos(u) if F is None else formula("F", F, u)
    G = sp.cosh(u) if G is None else formula("G", G, u)
    null = sp.Matrix([[0, -1], [-1, 0]])
    return Space(
        sp.diag(null, F**2, G**2),
        (u, v, _x, _y),
        negative=1,
        condition=sp.And(F > 0, G > 0),
        box={u: (-1, 1)},
        facts={
            "ricci_tensor": sp.diag(-F.diff(u, 2) / F - G.diff(u, 2) / G, 0, 0, 0),
            "scalar_curvature": 0,
            "kretschmann_scalar": 0,
        },
        reference=f"{_GP}, chapter 17",
    )


@entry
def morris_thorne(b: Any = None, Phi: Any = None) -> Space:
    r"""The wormhole of Morris and Thorne.

    $$ds^2 = -e^{2 \Phi(r)} dt^2 + \frac{dr^2}{1 - b(r) / r} + r^2 d\Omega^2, \qquad
    \varepsilon = \frac{b'(r)}{8 \pi r^2}$$

    Args:
        b: shape, expression in r; $1/\sqrt r$ by default.
        Phi: redshift $\Phi$, expression in r; $-1/r$ by default.

    Example:
        >>> from riemann import spaces
        >>> spaces.morris_thorne().facts["energy_density"]
        -1/(16*pi*r**(7/2))
    """
    b = 1 / sp.sqrt(_r) if b is None else formula("b", b, _r)
    Phi = -1 / _r if Phi is None else formula("Phi", Phi, _r)
    return Space(
        sp.diag(-sp.exp(2 * Phi), 1 / (1 - b / _r), _r**2 * SPHERE),
        SPHERICAL,
        negative=1,
        domain={_r: (0, sp.oo)} | ANGLES,
        condition=b < _r,
        box={_r: (sp.Rational(3, 2), 6)},
        facts={"energy_density": b.diff(_r) / (8 * sp.pi * _r**2)},
        reference="Morris, Thorne, Am. J. Phys. 56 (1988) 395",
    )
