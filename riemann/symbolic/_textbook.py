"""Curvature by the textbook: Christoffel symbols, their derivatives and products, over any arithmetic.

The arithmetic (expression trees, a differential field, Taylor numbers at a point) supplies elements with `+ - * /` and
truth (false only for a zero), their derivatives by coordinates, and what stands for them outside.
"""

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

import sympy as sp

Array = sp.ImmutableDenseNDimArray
LETTERS = {
    "metric": "g",
    "inverse_metric": "g",
    "christoffel": r"\Gamma",
    "riemann_tensor": "R",
    "ricci_tensor": "R",
    "scalar_curvature": "R",
    "einstein_tensor": "G",
    "schouten_tensor": "P",
    "weyl_tensor": "C",
    "cotton_tensor": "C",
    "cotton_york_tensor": "Y",
    "bach_tensor": "B",
    "nabla_riemann": "R",
    "kretschmann_scalar": "K",
    "volume_element": r"\sqrt{|g|}",
}
"""The quantities of the textbook, and the letter of each."""


@runtime_checkable
class Arithmetic(Protocol):
    """What the textbook needs of numbers."""

    def element(self, expression: Any) -> Any:
        """The element that a constant expression stands for."""

    def expression(self, element: Any) -> sp.Expr:
        """The expression that stands for an element."""

    def sum(self, terms: Iterable[Any]) -> Any:
        """The sum of elements."""

    def derivative(self, element: Any, k: int) -> Any:
        """The derivative by coordinate k."""

    def shortened(self, element: Any) -> Any:
        """The element without what only its derivatives need: what is beside a derivative needs no more."""

    def determinant(self, matrix: list[list[Any]]) -> Any:
        """The determinant of a matrix of elements."""

    def inverse(self, matrix: list[list[Any]]) -> list[list[Any]]:
        """The inverse of a matrix of elements; a ValueError if there is none."""

    def root_of_absolute(self, element: Any) -> sp.Expr:
        """The expression of sqrt|element|."""


class Textbook:
    r"""Curvature of a matrix of elements; each component is computed once, when it is asked for.

    `christoffel()[k, i, j]` is $\Gamma^k_{ij}$; $R^a{}_{bcd} = \partial_c \Gamma^a_{db} - \partial_d \Gamma^a_{cb}
    + \Gamma^a_{ce} \Gamma^e_{db} - \Gamma^a_{de} \Gamma^e_{cb}$; $\mathrm{Ric}_{bd} = R^a{}_{bad}$ (Misner, Thorne,
    Wheeler, *Gravitation*, 8.24, 11.12, 8.47).
    """

    def __init__(self, arithmetic: Arithmetic, g: list[list[Any]]):
        self._arithmetic, self._g = arithmetic, g
        self._cache: dict[Any, Any] = {}

    @functools.cached_property
    def _inverse(self) -> list[list[Any]]:
        return self._arithmetic.inverse(self._g)

    @property
    def dim(self) -> int:
        """The dimension n."""
        return len(self._g)

    # ------------------------------------------------------------------------------------- elements, one at a time

    def _once(self, name: str, index: tuple[int, ...], make: Callable[[], Any]) -> Any:
        key = (name, *index)
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    def _sum(self, terms: Iterable[Any]) -> Any:
        return self._arithmetic.sum(terms)

    def _dg(self, i: int, j: int, k: int) -> Any:
        i, j = min(i, j), max(i, j)
        return self._once("dg", (i, j, k), lambda: self._arithmetic.derivative(self._g[i][j], k))

    def _gamma_first(self, k: int, i: int, j: int) -> Any:
        i, j = min(i, j), max(i, j)
        return self._once(
            "gamma1",
            (k, i, j),
            lambda: self._sum((self._dg(k, j, i), self._dg(k, i, j), -self._dg(i, j, k))) / self._arithmetic.element(2),
        )

    def _gamma(self, k: int, i: int, j: int) -> Any:
        i, j = min(i, j), max(i, j)
        products = ((self._inverse[k][m], m) for m in range(self.dim))
        return self._once(
            "gamma", (k, i, j), lambda: self._sum(e * self._gamma_first(m, i, j) for e, m in products if e)
        )

    def _gamma_shortened(self, k: int, i: int, j: int) -> Any:
        i, j = min(i, j), max(i, j)
        return self._once(
            "gamma beside its derivative", (k, i, j), lambda: self._arithmetic.shortened(self._gamma(k, i, j))
        )

    def _riemann(self, a: int, b: int, c: int, d: int) -> Any:
        """R^a_bcd, by the textbook."""
        if c == d:
            return self._arithmetic.element(0)
        if c > d:
            return -self._riemann(a, b, d, c)

        def make() -> Any:
            derivative, gamma = self._arithmetic.derivative, self._gamma_shortened
            terms = [derivative(self._gamma(a, d, b), c), -derivative(self._gamma(a, c, b), d)]
            for e in range(self.dim):
                for sign, p, q in ((1, (a, c, e), (e, d, b)), (-1, (a, d, e), (e, c, b))):
                    if gamma(*p) and gamma(*q):
                        terms.append(sign * gamma(*p) * gamma(*q))
            return self._sum(terms)

        return self._once("riemann", (a, b, c, d), make)

    def _riemann_lowered(self, a: int, b: int, c: int, d: int) -> Any:
        """R_abcd, from its independent components."""
        if a == b or c == d:
            return self._arithmetic.element(0)
        if a > b:
            return -self._riemann_lowered(b, a, c, d)
        if c > d:
            return -self._riemann_lowered(a, b, d, c)
        if (a, b) > (c, d):
            a, b, c, d = c, d, a, b
        return self._once(
            "lowered",
            (a, b, c, d),
            lambda: self._sum(self._g[a][e] * self._riemann(e, b, c, d) for e in range(self.dim) if self._g[a][e]),
        )

    def _ricci(self, b: int, d: int) -> Any:
        b, d = min(b, d), max(b, d)
        return self._once("ricci", (b, d), lambda: self._sum(self._riemann(a, b, a, d) for a in range(self.dim)))

    def _scalar(self) -> Any:
        n = self.dim
        pairs = ((b, d) for b in range(n) for d in range(n) if self._inverse[b][d])
        return self._once("scalar", (), lambda: self._sum(self._inverse[b][d] * self._ricci(b, d) for b, d in pairs))

    def _schouten(self, b: int, d: int) -> Any:
        b, d = min(b, d), max(b, d)
        n, element = self.dim, self._arithmetic.element

        def make() -> Any:
            trace = self._scalar() * self._g[b][d] * element(sp.Rational(1, 2 * (n - 1)))
            return (self._ricci(b, d) - trace) * element(sp.Rational(1, n - 2))

        return self._once("schouten", (b, d), make)

    def _weyl(self, a: int, b: int, c: int, d: int) -> Any:
        g, P = self._g, self._schouten
        terms = [self._riemann_lowered(a, b, c, d)]
        for sign, (i, j), (k, m) in (
            (-1, (a, c), (b, d)),
            (1, (a, d), (b, c)),
            (-1, (b, d), (a, c)),
            (1, (b, c), (a, d)),
        ):
            if g[i][j]:
                terms.append(sign * g[i][j] * P(k, m))
        return self._sum(terms)

    def _nabla_schouten(self, i: int, j: int, k: int) -> Any:
        """D_k P_ij without the term symmetric in j and k."""

        def make() -> Any:
            terms = [self._arithmetic.derivative(self._schouten(i, j), k)]
            terms += [-self._gamma(e, k, i) * self._schouten(e, j) for e in range(self.dim) if self._gamma(e, k, i)]
            return self._sum(terms)

        return self._once("nabla schouten", (i, j, k), make)

    def _cotton(self, i: int, j: int, k: int) -> Any:
        return self._nabla_schouten(i, j, k) - self._nabla_schouten(i, k, j)

    def _to_order(self, order: int) -> "Textbook":
        """The same geometry over numbers that know derivatives of g to this order."""
        return self

    # ------------------------------------------------------------------------------------------------ public methods

    def metric(self) -> sp.ImmutableMatrix:
        """The metric $g_{ij}$ itself, an n x n matrix."""
        return self._array(2, lambda i, j: self._g[i][j])

    def inverse_metric(self) -> sp.ImmutableMatrix:
        """Inverse metric $g^{ij}$, an n x n matrix."""
        return self._array(2, lambda i, j: self._inverse[i][j])

    def christoffel(self, kind: int = 2) -> Array:
        r"""Christoffel symbols $\Gamma^k_{ij}$ (kind 2) or $\Gamma_{kij}$ (kind 1), `[k, i, j]`.

        Raises:
            ValueError: `kind` is neither 1 nor 2.
        """
        if kind not in (1, 2):
            raise ValueError(f"`kind` is {kind!r}, expected 1 (Gamma_kij) or 2 (Gamma^k_ij)")
        return self._array(3, self._gamma if kind == 2 else self._gamma_first)

    def riemann_tensor(self, indices: str = "ulll") -> Array:
        """Riemann tensor $R^a{}_{bcd}$, `[a, b, c, d]`, at any index positions."""
        if indices == "ulll":
            return self._array(4, self._riemann)
        return self._moved(4, self._riemann_lowered, indices)

    def riemann_component(self, a: int, b: int, c: int, d: int) -> sp.Expr:
        """One component $R^a{}_{bcd}$, at the cost of that component."""
        for index in (a, b, c, d):
            if not 0 <= index < self.dim:
                raise ValueError(f"index {index} is out of range: the dimension is {self.dim}, indices count from 0")
        return self._arithmetic.expression(self._riemann(a, b, c, d))

    def ricci_tensor(self, indices: str = "ll") -> sp.ImmutableMatrix:
        r"""Ricci tensor $\mathrm{Ric}_{bd} = R^a{}_{bad}$, an n x n matrix."""
        return self._moved(2, self._ricci, indices)

    def scalar_curvature(self) -> sp.Expr:
        r"""Scalar curvature $S = g^{bd} \mathrm{Ric}_{bd}$."""
        return self._arithmetic.expression(self._scalar())

    def einstein_tensor(self, indices: str = "ll") -> sp.ImmutableMatrix:
        r"""Einstein tensor $G_{ab} = \mathrm{Ric}_{ab} - \tfrac12 S g_{ab}$, an n x n matrix."""
        half = self._arithmetic.element(sp.Rational(1, 2))
        return self._moved(2, lambda a, b: self._ricci(a, b) - half * self._scalar() * self._g[a][b], indices)

    def schouten_tensor(self, indices: str = "ll") -> sp.ImmutableMatrix:
        r"""Schouten tensor $P_{ab} = (\mathrm{Ric}_{ab} - S g_{ab} / (2(n-1))) / (n-2)$, an n x n matrix.

        Raises:
            ValueError: n < 3, where it is not defined.
        """
        self._needs_three("Schouten")
        return self._moved(2, self._schouten, indices)

    def cotton_tensor(self, indices: str = "lll") -> Array:
        r"""Cotton tensor $C_{ijk} = \nabla_k P_{ij} - \nabla_j P_{ik}$, `[i, j, k]`.

        Raises:
            ValueError: n < 3, where it is not defined.
        """
        self._needs_three("Cotton")
        here = self._to_order(3)
        return here._moved(3, here._cotton, indices)

    def nabla_riemann(self) -> Array:
        r"""Covariant derivative of the Riemann tensor, $\nabla_e R_{abcd}$, `[a, b, c, d, e]`."""
        here = self._to_order(3)

        def nabla(*index: int) -> Any:
            *of_riemann, e = index
            terms = [here._arithmetic.derivative(here._riemann_lowered(*of_riemann), e)]
            for axis, i in enumerate(of_riemann):
                for f in range(self.dim):
                    if gamma := here._gamma(f, e, i):
                        terms.append(-gamma * here._riemann_lowered(*of_riemann[:axis], f, *of_riemann[axis + 1 :]))
            return here._sum(terms)

        return here._array(5, nabla)

    def cotton_york_tensor(self, indices: str = "ll") -> sp.ImmutableMatrix:
        r"""Cotton-York tensor $\epsilon_i{}^{kl} \nabla_k P_{lj}$, $\epsilon_{012} = \sqrt{|\det g|}$, an n x n matrix.

        Raises:
            ValueError: n is not 3.
        """
        if self.dim != 3:
            raise ValueError(f"the Cotton-York tensor needs n = 3, and this metric has n = {self.dim}")
        here = self._to_order(3)
        nabla = lambda k, m, j: here._nabla_schouten(j, m, k)  # D_k P_mj but for what is symmetric in k and m
        raised = here._raised(here._raised(nabla, 0), 1)

        def york(i: int, j: int) -> Any:
            k, m = (i + 1) % 3, (i + 2) % 3
            return raised(k, m, j) - raised(m, k, j)

        return here._moved(2, york, indices) * self.volume_element()

    def bach_tensor(self, indices: str = "ll") -> sp.ImmutableMatrix:
        r"""Bach tensor, here as $\nabla^k C_{jik} + P^{kl} W_{ikjl}$ (the same), an n x n matrix.

        Raises:
            ValueError: n is not 4.
        """
        if self.dim != 4:
            raise ValueError(f"the Bach tensor needs n = 4, and this metric has n = {self.dim}")
        here = self._to_order(4)
        inverse, C, n = here._inverse, functools.cache(here._cotton), range(4)
        schouten = here._raised(here._raised(here._schouten, 0), 1)

        @functools.cache
        def nabla(i: int, j: int, k: int, m: int) -> Any:  # D_m C_ijk
            terms = [here._arithmetic.derivative(C(i, j, k), m)]
            for e in n:
                terms += [-G * c for G, c in ((here._gamma(e, m, i), C(e, j, k)), (here._gamma(e, m, j), C(i, e, k)),
                                              (here._gamma(e, m, k), C(i, j, e))) if G and c]  # fmt: skip
            return here._sum(terms)

        def bach(i: int, j: int) -> Any:
            pairs = list(itertools.product(n, n))
            terms = [inverse[k][m] * nabla(j, i, k, m) for k, m in pairs if inverse[k][m]]
            terms += [schouten(k, m) * here._weyl(i, k, j, m) for k, m in pairs if schouten(k, m)]
            return here._sum(terms)

        return here._moved(2, functools.cache(lambda i, j: bach(min(i, j), max(i, j))), indices)

    def weyl_tensor(self, indices: str = "ulll") -> Array:
        """Weyl tensor $C^a{}_{bcd}$, `[a, b, c, d]`; 0 for n < 4."""
        zero = self._arithmetic.element(0)
        return self._moved(4, self._weyl if self.dim > 3 else lambda *_: zero, indices)

    def kretschmann_scalar(self) -> sp.Expr:
        """Kretschmann scalar $R_{abcd} R^{abcd}$."""
        n = self.dim
        pairs = list(itertools.combinations(range(n), 2))

        @functools.cache
        def one_raised(a: int, b: int, c: int, d: int) -> Any:  # R^a_b cd, from R_abcd
            return self._sum(
                self._inverse[a][e] * self._riemann_lowered(e, b, c, d) for e in range(n) if self._inverse[a][e]
            )

        @functools.cache
        def raised(a: int, b: int, c: int, d: int) -> Any:  # R^ab_cd
            return self._sum(self._inverse[b][e] * one_raised(a, e, c, d) for e in range(n) if self._inverse[b][e])

        terms = []
        for (a, b), (c, d) in itertools.product(pairs, pairs):
            if (x := raised(a, b, c, d)) and (y := raised(c, d, a, b)):
                terms.append(4 * x * y)
        return self._arithmetic.expression(self._sum(terms))

    def volume_element(self) -> sp.Expr:
        r"""Volume element $\sqrt{|\det g|}$; where the sign of the determinant is not known it stands in `Abs`."""
        return self._arithmetic.root_of_absolute(self._arithmetic.determinant(self._g))

    # ---------------------------------------------------------------------------------------------------- assembling

    def _needs_three(self, name: str) -> None:
        if self.dim < 3:
            raise ValueError(f"the {name} tensor needs n >= 3, and this metric has n = {self.dim}")

    def _array(self, rank: int, component: Callable[..., Any]) -> Any:
        n, expression = self.dim, self._arithmetic.expression
        entries = [expression(component(*index)) for index in itertools.product(range(n), repeat=rank)]
        return sp.ImmutableMatrix(n, n, entries) if rank == 2 else Array(entries, (n,) * rank)

    def _moved(self, rank: int, lowered: Callable[..., Any], indices: str) -> Any:
        """The array of a tensor given by its lowered components, one index raised at a time."""
        if not isinstance(indices, str) or len(indices) != rank or set(indices) - set("ul"):
            raise ValueError(f"`indices` is {indices!r}, expected {rank} letters, each `u` (upper) or `l` (lower)")
        component = lowered
        for axis, position in enumerate(indices):
            if position == "u":
                component = self._raised(component, axis)
        return self._array(rank, component)

    def _raised(self, component: Callable[..., Any], axis: int) -> Callable[..., Any]:
        @functools.cache
        def raised(*index: int) -> Any:
            row = self._inverse[index[axis]]
            terms = ((row[e], (*index[:axis], e, *index[axis + 1 :])) for e in range(self.dim) if row[e])
            return self._sum(e * component(*moved) for e, moved in terms)

        return raised
