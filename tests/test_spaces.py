"""The catalogue: every fact is proven, on the exact and on the numeric side, for two sets of arguments or more."""

import copy
import functools
import itertools
import math
import pickle

import pytest
import sympy as sp
import torch
from torch.testing import assert_close

import riemann as rm
from riemann import spaces
from riemann.bridge import to_torch
from tests import catalogue
from tests.helpers import assert_equal, terms

t, x, y, z, u, v = sp.symbols("t x y z u v")
MORE = {
    "alcubierre": [{"v": 2, "sigma": 1}],
    "anti_de_sitter": [{"length": 2, "chart": "global"}, {"length": 2, "chart": "static"}, {"length": 0.5}],
    "bianchi_cartan_vranceanu": [{"kappa": -1, "tau": 0.5}, {"kappa": 4, "tau": 1}],
    "c_metric": [{"m": 0.05, "A": 2}],
    "euclidean_schwarzschild": [{"M": 2}],
    "isotropic_gaussian": [{"n": 1}, {"n": 3}],
    "kantowski_sachs": [{"a": 1 + t**2, "b": sp.exp(t / 3)}],
    "morris_thorne": [{"b": sp.Rational(1, 2), "Phi": 0}],
    "polydisk": [{"n": 1}],
    "product_of_spheres": [{"a": 2, "b": 1}],
    "rosen_wave": [{"F": 1 + u**2, "G": sp.exp(u)}],
    "student_t": [{"nu": 1}],
    "zipoy_voorhees": [{"m": 2, "delta": 1}, {"m": 1, "delta": 0.5}],
    "bardeen": [{"M": 2, "g": 1}],
    "berger_sphere": [{"epsilon": 1}, {"epsilon": 2}],
    "bertotti_robinson": [{"q": 2}],
    "btz": [{"M": 2, "J": 0, "length": 3}],
    "categorical": [{"n": 3}],
    "catenoid": [{"c": 2}],
    "complex_hyperbolic": [{"m": 1}],
    "complex_projective": [{"m": 1}, {"m": 3}],
    "cone": [{"slope": 3}],
    "cosmic_string": [{"mu": 0.2}],
    "curzon": [{"M": 0.5}],
    "cylinder": [{"radius": 3}],
    "de_sitter": [{"H": 0.5, "chart": "static"}, {"H": 2, "chart": "closed"}, {"H": 0.5}],
    "eguchi_hanson": [{"a": 0.5}],
    "einstein_static": [{"R": 2}],
    "ellipsoid": [{"a": 1, "b": 1, "c": 2}],
    "ellis_wormhole": [{"b": 2}],
    "euclidean": [
        {"n": 1},
        {"n": 2, "chart": "spherical"},
        {"n": 4, "chart": "spherical"},
        *({"n": 2, "chart": chart} for chart in ("parabolic", "elliptic", "bipolar")),
        *({"n": 3, "chart": chart} for chart in ("cylindrical", "parabolic", "prolate", "oblate")),
        *({"n": 3, "chart": chart} for chart in ("toroidal", "bispherical")),
    ],
    "euclidean_taub_nut": [{"m": 2}],
    "flat_torus": [{}],
    "flrw": [{"k": 1, "a": sp.sin(t / 9)}, {"k": -1, "a": t}, {"k": 0.5, "a": sp.exp(t / 2)}],
    "global_monopole": [{"k": 0.5}],
    "goedel": [{"omega": 0.5}],
    "graph": [{"f": x**2 * y + sp.exp(y) / 3}],
    "hayward": [{"M": 2, "length": 1}],
    "hyperbolic": [
        {"n": 3, "radius": 2},
        *({"n": n, "model": m} for n, m in itertools.product((2, 3), ("ball", "klein", "hyperboloid", "polar"))),
        {"n": 2, "radius": 2, "model": "hyperboloid"},
        {"n": 2, "radius": 0.5, "model": "polar"},
    ],
    "interior_schwarzschild": [{"M": 1, "R": 3}],
    "janis_newman_winicour": [{"b": 2, "gamma": 0.8}],
    "kasner": [{"p1": 0, "p2": 0, "p3": 1}, {"p1": 0.5, "p2": 0.2, "p3": -1}],
    "kerr": [
        {"M": 2, "a": 1.5},
        {"a": 0},
        *({"M": 1, "a": 0.9, "chart": chart} for chart in ("kerr_schild", "doran", "eddington_finkelstein")),
    ],
    "kerr_de_sitter": [{"M": 1, "a": 0.5, "Lambda": -0.1}],
    "kerr_newman": [{"M": 2, "a": -0.5, "Q": 1}],
    "kottler": [{"M": 1, "Lambda": -0.3}],
    "levi_civita": [{"sigma": 0.4}],
    "line_times": [{"n": 3, "K": 0.5}],
    "melvin": [{"B": 0.5}],
    "minkowski": [{"n": 2}, {"chart": "spherical"}, {"chart": "null"}],
    "moebius_strip": [{"R": 2}],
    "myers_perry": [{"mu": 1, "a": 0.5, "b": 0}],
    "nariai": [{"Lambda": 0.5}],
    "paraboloid": [{"a": 2}],
    "hyperbolic_paraboloid": [{"a": 2}],
    "helicoid": [{"c": 2}],
    "pp_wave": [{"H": x**3 - x * y * sp.sin(u) + y**2}],
    "pseudosphere": [{"a": 2}],
    "reissner_nordstroem": [{"M": 1, "Q": 1}],
    "rindler": [{"a": 2}],
    "schwarzschild": [
        {"M": M, "chart": chart}
        for chart, M in zip(
            ("eddington_finkelstein", "painleve_gullstrand", "isotropic", "harmonic", "kerr_schild", "lemaitre"),
            (2, 1, 2, 1, 0.5, 2),
            strict=True,
        )
    ],
    "schwarzschild_tangherlini": [{"n": 4, "mu": 2}],
    "space_form": [{"n": 3, "K": -0.5}, {"n": 2, "K": 0}],
    "sphere": [
        {"n": 1},
        {"n": 3, "radius": 2},
        {"n": 4},
        {"n": 2, "chart": "stereographic", "radius": 3},
        {"n": 3, "chart": "stereographic"},
        {"n": 3, "chart": "gnomonic"},
        {"n": 3, "chart": "hopf", "radius": 2},
    ],
    "surface_of_revolution": [{"profile": sp.cosh(z)}],
    "taub_nut": [{"M": 2, "n": -1}],
    "torus": [{"R": 3, "r": 2}],
    "vaidya": [{"m": 2 - sp.sin(v) / 9}],
}
MADE = [(name, arguments) for name in spaces.names() for arguments in ({}, *MORE.get(name, ()))]


@functools.cache
def _space(index):
    name, arguments = MADE[index]
    return spaces.get(name, **arguments)


@functools.cache
def _points(index):
    """Two samples for default arguments, else one; rounded to 64ths so that both sides see the same numbers."""
    generator = torch.Generator().manual_seed(index)
    return (_space(index).sample(1 if MADE[index][1] else 2, generator) * 64).round() / 64


@functools.cache
def _exact(index, k):
    """The textbook at a sample, to 30 digits."""
    return _space(index).symbolic.at([sp.Rational(c) for c in _points(index)[k].tolist()], 30, order=2)


@functools.cache
def _terms(index):
    """The size of what curvature adds up."""
    return max(1.0, terms(*rm.at(_space(index), _points(index)).jets))


each = pytest.mark.parametrize("index", range(len(MADE)), ids=lambda i: f"{MADE[i][0]}-{i}")


def _rows(value):
    return value.tolist() if hasattr(value, "tolist") else value


def _flat(value):
    return [w for row in value for w in _flat(row)] if isinstance(value, list) else [value]


# ------------------------------------------------------------------------------------------------------------- facts


def _claims(exact, key, value):
    """What a fact says: pairs of the computed and the claimed, as lists of expressions."""
    n = exact.dim
    g = [[exact._arithmetic.expression(e) for e in row] for row in exact._g]
    if key == "einstein_constant":
        return _flat(exact.ricci_tensor().tolist()), [value * e for e in _flat(g)]
    if key == "sectional_curvature":
        indices = itertools.product(range(n), repeat=4)
        claimed = [value * (g[a][c] * g[b][d] - g[a][d] * g[b][c]) for a, b, c, d in indices]
        return _flat(exact.riemann_tensor("llll").tolist()), claimed
    if key == "energy_density":
        up = exact.einstein_tensor("uu")[0, 0] / -exact.inverse_metric()[0, 0]
        return [up], [8 * sp.pi * value]
    computed = _flat(_rows(getattr(exact, key)()))
    claimed = _flat(_rows(value))
    return computed, claimed * len(computed) if claimed == [0] else claimed


ELSEWHERE = ("signature", "killing_dimension", "volume")  # proven by tests of their own


@each
def test_facts_hold_to_many_digits(index):
    space = _space(index)
    for k, point in enumerate(_points(index)):
        values = {c: sp.Rational(w) for c, w in zip(space.symbolic.coordinates, point.tolist(), strict=True)}
        exact = _exact(index, k)
        for key, value in space.facts.items():
            if key in ELSEWHERE:
                continue
            computed, claimed = _claims(exact, key, value)
            assert len(computed) == len(claimed), key
            for a, b in zip(computed, claimed, strict=True):
                b = sp.N(sp.sympify(b).xreplace(values), 40)
                assert abs(a - b) < 1e-18 * max(1, abs(b), _terms(index)), (key, a, b)


@each
def test_numeric_and_exact_curvature_agree(index):
    space, points = _space(index), _points(index)
    here = rm.at(space, points)
    for name in ("christoffel", "riemann_tensor", "ricci_tensor", "scalar_curvature", "kretschmann_scalar"):
        truth = [[float(w) for w in _flat(_rows(getattr(_exact(index, k), name)()))] for k in range(len(points))]
        value = getattr(here, name)().flatten(1) if name[-6:] == "tensor" or name == "christoffel" else getattr(
            here, name)()[:, None]  # fmt: skip
        scale = _terms(index) ** (2 if name == "kretschmann_scalar" else 1)
        assert_equal(value, truth, scale=scale, rtol=1e-9)


@each
def test_samples_lie_in_the_domain_and_have_the_signature(index):
    space = _space(index)
    points = space.sample(50, torch.Generator().manual_seed(1))
    assert points.shape == (50, space.dim) and bool(space.contains(points).all())
    eigenvalues = torch.linalg.eigvalsh(space(points))
    negative, positive = space.facts["signature"]
    assert negative + positive == space.dim
    assert bool(((eigenvalues < 0).sum(-1) == negative).all() & ((eigenvalues > 0).sum(-1) == positive).all())


@each
def test_one_point_many_points_and_float32_are_alike(index):
    space = _space(index)
    points = space.sample(2, torch.Generator().manual_seed(index))
    g = space(points)
    assert g.shape == (2, space.dim, space.dim) and g.dtype == torch.float64
    assert_close(torch.func.vmap(space)(points), g)
    assert_close(space(points[0]), g[0])
    assert_close(space(points.expand(3, 2, -1)), g.expand(3, 2, -1, -1))
    single = points.float()
    assert_close(space(single).double(), g, rtol=1e-3, atol=1e-4 * float(g.abs().max()))
    assert torch.func.jacfwd(torch.func.jacfwd(space))(single[0]).dtype == torch.float32


def _killing_dimension(space, p):
    """Vectors X and antisymmetric DX that keep the curvature and its derivative at p: an upper bound that is sharp."""
    R = lambda q: rm.riemann_tensor(space, q, indices="llll")  # noqa: E731
    DR = rm.covariant_derivative(space, R, "llll")
    DDR = rm.covariant_derivative(space, DR, "lllll")
    g, n = space(p), space.dim
    frame = torch.linalg.inv(g)
    tensors = [R(p), DR(p), DDR(p)]
    columns = []
    for e in range(n):
        columns.append(torch.cat([tensors[1][..., e].flatten(), tensors[2][..., e].flatten()]))
    for i, j in itertools.combinations(range(n), 2):
        A = torch.zeros_like(g)
        A[i, j], A[j, i] = 1, -1
        turn = A @ frame  # D_b X^e
        change = []
        for T in tensors[:2]:
            change.append(sum(torch.tensordot(turn, T, ([1], [k])).movedim(0, k) for k in range(T.ndim)).flatten())
        columns.append(torch.cat(change))
    M = torch.stack(columns, -1)
    size = M.norm(dim=0)
    M = M / torch.where(size > 1e-8 * max(1.0, float(size.max())), size, torch.ones_like(size))
    return n * (n + 1) // 2 - int((torch.linalg.svdvals(M) > 1e-7).sum())


@pytest.mark.parametrize("name", [n for n in spaces.names() if "killing_dimension" in spaces.get(n).facts])
def test_killing_fields_are_counted(name):
    space = spaces.get(name)
    p = space.sample(1, torch.Generator().manual_seed(2))[0]
    assert _killing_dimension(space, p) == space.facts["killing_dimension"]


@pytest.mark.parametrize("index", [i for i in range(len(MADE)) if "volume" in _space(i).facts and _space(i).dim < 4])
def test_volumes(index):
    space = _space(index)
    box = tuple((float(low), float(high)) for low, high in space.domain.values())
    assert rm.volume(space, box).value.item() == pytest.approx(float(space.facts["volume"]), rel=1e-9)


# ---------------------------------------------------------------------------------------------------- the catalogue


def test_every_entry_can_be_made_by_name():
    assert len(spaces.names()) >= 86 and spaces.names() == tuple(sorted(spaces.names()))
    for name in spaces.names():
        space = spaces.get(name)
        assert space.name == name and getattr(spaces, name)().symbolic.matrix == space.symbolic.matrix
        assert space.description and space.reference and "$$" in getattr(spaces, name).__doc__
        assert set(space.domain) == set(space.coordinates) and space.dim == len(space.coordinates)
        assert repr(space).startswith(f"spaces.{name}(")
    assert set(MORE) <= set(spaces.names())


def test_the_page_of_the_catalogue_is_as_the_entries_say():
    assert catalogue.PAGE.read_text() == catalogue.page(), "run `python -m tests.catalogue`"


def test_samples_follow_the_generator_dtype_and_device(device):
    first, second = (spaces.kerr().sample(5, torch.Generator().manual_seed(3), device=device) for _ in range(2))
    assert_close(first, second, rtol=0, atol=0)
    assert spaces.kerr().sample(5, dtype=torch.float32).dtype == torch.float32
    assert spaces.kerr().sample(0).shape == (0, 4)
    assert spaces.kerr()(first).device.type == device.type


def test_parameters_are_exact_or_symbols():
    assert spaces.kerr(a=0.1).parameters == {"M": 1, "a": sp.Rational(1, 10)}
    space = spaces.kerr(M="M", a=sp.Symbol("a"))
    assert [str(p) for p in space.symbolic.parameters] == ["M", "a"]
    with pytest.raises(ValueError, match=r"no numbers for M, a.*to_torch\(space.symbolic, M=…, a=…\)"):
        space(torch.zeros(4))
    with pytest.raises(ValueError, match="no numbers for M, a"):
        space.sample(1)
    g = to_torch(space.symbolic, M=1, a=0.6)
    points = spaces.kerr().sample(3)
    assert_close(g(points), spaces.kerr()(points))


def test_undetermined_functions_stay():
    space = spaces.flrw(k="k", a=sp.Function("a")(t))
    with pytest.raises(ValueError, match="no numbers for k, a"):
        space(torch.ones(4))
    g = to_torch(space.symbolic, k=0, a=lambda s: s ** (2 / 3))
    points = spaces.flrw().sample(3)
    assert_equal(rm.riemann_tensor(g, points), rm.riemann_tensor(spaces.flrw(), points))


def test_spaces_can_be_copied_and_pickled():
    space = spaces.sphere(3, radius=2)
    for other in (copy.deepcopy(space), pickle.loads(pickle.dumps(space))):
        assert repr(other) == repr(space)
        assert_close(other(torch.ones(3)), space(torch.ones(3)))


def test_curvature_of_a_space_can_be_compiled():
    compiled = torch.compile(spaces.kerr(), backend="eager", fullgraph=True)
    points = spaces.kerr().sample(3)
    assert_close(compiled(points), spaces.kerr()(points))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: spaces.get("spere"), "no space called 'spere'; did you mean sphere"),
        (lambda: spaces.get("qqqq"), r"`spaces.names\(\)` lists them all"),
        (lambda: spaces.sphere(0), "`n` is 0, expected a whole number, at least 1"),
        (lambda: spaces.hyperbolic(2, model="disk"), "`model` is 'disk', expected one of 'half_space', 'ball'"),
        (lambda: spaces.sphere(2, chart="hopf"), "expected one of 'angles', 'stereographic', 'gnomonic'$"),
        (lambda: spaces.schwarzschild(M=0), "`M` is 0, expected a positive number"),
        (lambda: spaces.schwarzschild(M=-1.5), "`M` is -1.5, expected a positive number"),
        (lambda: spaces.schwarzschild(M=math.nan), "`M` is nan, expected a finite number"),
        (lambda: spaces.schwarzschild(M="2 * M"), "a string is the name of a symbol"),
        (lambda: spaces.kerr(M=1, a=-2), r"a black hole has \|a\| <= M"),
        (lambda: spaces.kerr_newman(1, 0.8, 0.8), r"a\^2 \+ Q\^2 <= M\^2"),
        (lambda: spaces.torus(1, 1), "r < R"),
        (lambda: spaces.complex_projective(0), "`m` is 0"),
        (lambda: spaces.flat_torus(1, -1), "`L2` is -1, expected a positive number"),
    ],
)
def test_errors_say_what_to_do(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_importing_riemann_brings_the_catalogue_without_sympy():
    import subprocess
    import sys

    code = "import riemann, sys; assert 'sympy' not in sys.modules; print(riemann.spaces.sphere(2).dim)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "2\n"


def test_spaces_show_in_notebooks():
    space = spaces.sphere(2)
    assert space._repr_latex_() == space.symbolic._repr_latex_() and r"\Gamma^{" in space._repr_latex_()
    assert repr(space.symbolic).startswith("<SymbolicMetric in (")
