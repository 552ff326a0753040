"""Families of probability distributions with the metric of Fisher."""

from typing import Any

import sympy as sp

from riemann.spaces._space import Number, Space, dimension, entry, parameter

_AMARI = "Amari, Nagaoka, Methods of Information Geometry (2000)"


@entry
def gaussian() -> Space:
    r"""Normal distributions with the metric of Fisher.

    $$ds^2 = \frac{d\mu^2 + 2\, d\sigma^2}{\sigma^2}, \qquad K = -\tfrac12$$

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> scalar_curvature(spaces.gaussian(), torch.tensor([0.0, 2.0]))
        tensor(-1.)
    """
    return _location_scale(1, 2, "mu sigma", f"{_AMARI}, section 2.2")


@entry
def cauchy() -> Space:
    r"""Cauchy distributions with the metric of Fisher.

    $$ds^2 = \frac{dx^2 + d\gamma^2}{2 \gamma^2}, \qquad K = -2$$

    Example:
        >>> from riemann import spaces
        >>> spaces.cauchy().facts["sectional_curvature"]
        -2
    """
    half = sp.Rational(1, 2)
    return _location_scale(half, half, "x gamma", "Mitchell, Int. Stat. Review 56 (1988) 1")


@entry
def laplace() -> Space:
    r"""Laplace distributions with the metric of Fisher.

    $$ds^2 = \frac{d\mu^2 + db^2}{b^2}, \qquad K = -1$$

    Example:
        >>> import torch
        >>> from riemann import spaces
        >>> spaces.laplace()(torch.tensor([0.0, 2.0]))
        tensor([[0.2500, 0.0000],
                [0.0000, 0.2500]])
    """
    return _location_scale(1, 1, "mu b", _AMARI)


@entry
def logistic() -> Space:
    r"""Logistic distributions with the metric of Fisher.

    $$ds^2 = \frac{1}{s^2} \left(\frac{d\mu^2}{3} + \frac{3 + \pi^2}{9} ds^2\right), \qquad
    K = -\frac{9}{3 + \pi^2}$$

    Example:
        >>> from riemann import spaces
        >>> spaces.logistic().facts["sectional_curvature"]
        -1/(1/3 + pi**2/9)
    """
    return _location_scale(sp.Rational(1, 3), (3 + sp.pi**2) / 9, "mu s", "Johnson, Kotz, Balakrishnan (1995), ch. 23")


@entry
def student_t(nu: Number = 3) -> Space:
    r"""Student distributions of known degrees of freedom, by location and scale, with the metric of Fisher.

    $$ds^2 = \frac{(\nu + 1)\, d\mu^2 + 2 \nu\, d\sigma^2}{(\nu + 3)\, \sigma^2}, \qquad K = -\frac{\nu + 3}{2 \nu}$$

    Args:
        nu: degrees of freedom $\nu$; 1 is Cauchy's distribution.

    Example:
        >>> from riemann import spaces
        >>> spaces.student_t(1).facts["sectional_curvature"]
        -2
    """
    nu = parameter("nu", nu, positive=True)
    reference = "Mitchell, Int. Stat. Review 56 (1988) 1"
    return _location_scale((nu + 1) / (nu + 3), 2 * nu / (nu + 3), "mu sigma", reference, {"nu": nu})


@entry
def gumbel() -> Space:
    r"""Gumbel distributions with the metric of Fisher.

    $$ds^2 = \frac{1}{\beta^2} \left((d\mu - (1 - \gamma)\, d\beta)^2 + \tfrac{\pi^2}{6} d\beta^2\right), \qquad
    K = -\frac{6}{\pi^2}$$

    Example:
        >>> from riemann import spaces
        >>> spaces.gumbel().facts["sectional_curvature"]
        -6/pi**2
    """
    mu, beta = sp.symbols("mu beta")
    c = 1 - sp.EulerGamma
    matrix = sp.Matrix([[1, -c], [-c, c**2 + sp.pi**2 / 6]]) / beta**2
    return _hyperbolic_plane(matrix, (mu, beta), {beta: (0, sp.oo)}, -6 / sp.pi**2)


@entry
def weibull() -> Space:
    r"""Weibull distributions with the metric of Fisher.

    $$ds^2 = \left(\frac{k}{\lambda} d\lambda - \frac{1 - \gamma}{k} dk\right)^2 + \frac{\pi^2}{6 k^2} dk^2, \qquad
    K = -\frac{6}{\pi^2}$$

    Example:
        >>> from riemann import spaces
        >>> spaces.weibull().coordinates
        ('lambda', 'k')
    """
    scale, k = sp.symbols("lambda k")
    c = 1 - sp.EulerGamma
    matrix = [[(k / scale) ** 2, -c / scale], [-c / scale, (c**2 + sp.pi**2 / 6) / k**2]]
    return _hyperbolic_plane(matrix, (scale, k), {scale: (0, sp.oo), k: (0, sp.oo)}, -6 / sp.pi**2)


@entry
def isotropic_gaussian(n: int = 2) -> Space:
    r"""Normal distributions in n dimensions with one variance, with the metric of Fisher.

    $$ds^2 = \frac{d\mu \cdot d\mu + 2 n\, d\sigma^2}{\sigma^2}, \qquad K = -\frac{1}{2n}$$

    Args:
        n: dimension of the samples; the space has one more.

    Example:
        >>> from riemann import spaces
        >>> spaces.isotropic_gaussian(3).facts["sectional_curvature"]
        -1/6
    """
    dimension(n, 1)
    mu, sigma = sp.symbols(f"mu1:{n + 1}", seq=True), sp.Symbol("sigma")
    K = -sp.Rational(1, 2 * n)
    return Space(
        sp.diag(sp.eye(n), 2 * n) / sigma**2,
        (*mu, sigma),
        domain={sigma: (0, sp.oo)},
        facts={
            "sectional_curvature": K,
            "einstein_constant": n * K,
            "scalar_curvature": n * (n + 1) * K,
            "killing_dimension": (n + 1) * (n + 2) // 2,
        },
        reference=_AMARI,
    )


def _location_scale(A: Any, B: Any, coordinates: str, reference: str, parameters: Any = None) -> Space:
    """(A dmu^2 + B dsigma^2) / sigma^2: the hyperbolic plane of curvature -1/B."""
    mu, sigma = sp.symbols(coordinates)
    matrix = sp.diag(A, B) / sigma**2
    return _hyperbolic_plane(matrix, (mu, sigma), {sigma: (0, sp.oo)}, -1 / sp.sympify(B), reference, parameters)


def _hyperbolic_plane(
    matrix: Any, coordinates: Any, domain: Any, K: Any, reference: str = _AMARI, parameters: Any = None
) -> Space:
    facts = {"sectional_curvature": K, "scalar_curvature": 2 * K, "killing_dimension": 3}
    return Space(matrix, coordinates, parameters=parameters, domain=domain, facts=facts, reference=reference)


@entry
def inverse_gaussian() -> Space:
    r"""Inverse Gaussian distributions with the metric of Fisher.

    $$ds^2 = \frac{\lambda}{\mu^3} d\mu^2 + \frac{d\lambda^2}{2 \lambda^2}, \qquad K = -\tfrac12$$

    Example:
        >>> from riemann import spaces
        >>> spaces.inverse_gaussian().facts["scalar_curvature"]
        -1
    """
    mu, lam = sp.symbols("mu lambda")
    matrix = sp.diag(lam / mu**3, 1 / (2 * lam**2))
    return _hyperbolic_plane(matrix, (mu, lam), {mu: (0, sp.oo), lam: (0, sp.oo)}, -sp.Rational(1, 2))


@entry
def gamma_distribution() -> Space:
    r"""Gamma distributions with the metric of Fisher, by shape and mean.

    $$ds^2 = \left(\psi_1(k) - \frac1k\right) dk^2 + \frac{k}{\mu^2} d\mu^2, \qquad
    S = \frac{\psi_1(k) + k \psi_2(k)}{2 (k \psi_1(k) - 1)^2}$$

    Example:
        >>> from riemann import spaces
        >>> spaces.gamma_distribution().coordinates
        ('k', 'mu')
    """
    k, mu = sp.symbols("k mu")
    psi1, psi2 = sp.polygamma(1, k), sp.polygamma(2, k)
    return Space(
        sp.diag(psi1 - 1 / k, k / mu**2),
        (k, mu),
        domain={k: (0, sp.oo), mu: (0, sp.oo)},
        facts={"scalar_curvature": (psi1 + k * psi2) / (2 * (k * psi1 - 1) ** 2), "killing_dimension": 1},
        reference="Arwini, Dodson, Information Geometry (2008), chapter 3",
    )


@entry
def beta_distribution() -> Space:
    r"""Beta distributions with the metric of Fisher.

    $$ds^2 = \psi_1(a)\, da^2 + \psi_1(b)\, db^2 - \psi_1(a + b) (da + db)^2$$

    Example:
        >>> import torch
        >>> from riemann import scalar_curvature, spaces
        >>> bool(scalar_curvature(spaces.beta_distribution(), torch.tensor([1.0, 2.0])) < 0)
        True
    """
    a, b = sp.symbols("a b")
    A, B, C = (sp.polygamma(1, c) for c in (a, b, a + b))
    dA, dB, dC = (sp.polygamma(2, c) for c in (a, b, a + b))
    D = A * B - (A + B) * C
    K = (A * dB * dC + dA * B * dC - dA * dB * C) / (4 * D**2)
    return Space(
        [[A - C, -C], [-C, B - C]],
        (a, b),
        domain={a: (0, sp.oo), b: (0, sp.oo)},
        facts={"scalar_curvature": 2 * K},
        reference="Le Brigant, Preston, Puechmorel, Differ. Geom. Appl. 74 (2021)",
    )


@entry
def categorical(n: int = 2) -> Space:
    r"""Probabilities of n + 1 outcomes with the metric of Fisher: a part of the sphere of radius 2.

    $$ds^2 = \sum_{i=1}^n \frac{dp_i^2}{p_i} + \frac{(\sum_i dp_i)^2}{1 - \sum_i p_i}, \qquad K = \tfrac14$$

    Args:
        n: dimension, outcomes less one.

    Example:
        >>> from riemann import spaces
        >>> spaces.categorical(3).facts["sectional_curvature"]
        1/4
    """
    dimension(n, 2)
    p = tuple(sp.symbols(f"p1:{n + 1}", seq=True))
    rest = 1 - sp.Add(*p)
    K = sp.Rational(1, 4)
    return Space(
        sp.diag(*(1 / q for q in p)) + sp.ones(n, n) / rest,
        p,
        condition=rest > 0,
        domain=dict.fromkeys(p, (0, 1)),
        box=dict.fromkeys(p, (sp.Rational(1, 4 * n), sp.Rational(9, 10 * n))),
        facts={
            "sectional_curvature": K,
            "einstein_constant": (n - 1) * K,
            "scalar_curvature": n * (n - 1) * K,
            "killing_dimension": n * (n + 1) // 2,
        },
        reference=f"{_AMARI}, section 2.2",
    )
