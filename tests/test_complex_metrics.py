"""Real metrics whose code passes through complex numbers: to forty digits, in balls, over boxes, and compiled."""

import itertools
import math

import pytest
import torch
from torch.testing import assert_close

import riemann as rm
from riemann._compiling import fourier
from riemann.bridge import high_precision, to_symbolic, trace

X = torch.tensor([0.7, 0.4], dtype=torch.float64)


def with_entries(f):
    """A metric by one real number of z = x0 + i x1; a conformal one would be flat, where that is harmonic."""

    def metric(x):
        y = f(torch.complex(x[0], x[1]), x)
        return torch.diag(torch.stack([torch.exp(y / 8), 2 + y * y]))

    return metric


def two_by_two(z, x):
    return torch.stack([torch.stack([z, z.conj() + 2]), torch.stack([1j * z * z, x[0] * x[1] + 3j])])


METRICS = {
    "parts": with_entries(lambda z, x: (z**3).real + (z * z).imag - (1 / z).real + z.conj().imag),
    "sizes": with_entries(lambda z, x: z.abs() + z.angle() + torch.sgn(z).real + torch.polar(x[0], x[1]).real),
    "exponential": with_entries(lambda z, x: torch.exp(1j * z).real + torch.log(z).imag + torch.sqrt(z).imag),
    "powers": with_entries(lambda z, x: (z**-2).real + (z**0.7).imag + (z ** x[0]).real + (2.0**z).imag),
    "complex powers": with_entries(lambda z, x: torch.pow(z, 1.5 + 0.5j).real + torch.square(z).reciprocal().imag),
    "trigonometry": with_entries(lambda z, x: torch.sin(z).real + torch.cosh(z).imag + torch.tan(z).real),
    "hyperbolic": with_entries(lambda z, x: torch.sinh(z).imag + torch.cos(z).imag + torch.tanh(z).real),
    "constants": with_entries(
        lambda z, x: (complex(0.1, 0.2) * z + x[1] / complex(0, 3)).abs() + (1 - 0.3j * x).real.sum()
    ),
    "in place": with_entries(
        lambda z, x: z.clone().mul_(z).add_(1j).real + torch.where(x[0] > 0, z, 2 * z.conj()).imag
    ),
    "sums": with_entries(
        lambda z, x: (torch.complex(x, x.flip(0)).mean() * torch.cat([x, torch.stack([z])]).prod()).imag
    ),
    "products": with_entries(lambda z, x: (two_by_two(z, x) @ two_by_two(z, x).mH).real.sum() / 50),
    "scalar product": with_entries(lambda z, x: torch.vdot(torch.stack([z, z * z]), torch.stack([1j * z, z])).real),
    "determinant": with_entries(lambda z, x: torch.linalg.det(two_by_two(z, x)).abs() / 5),
    "solution": with_entries(lambda z, x: torch.linalg.solve(two_by_two(z, x), torch.stack([z, z * z])).real.sum()),
    "inverse": with_entries(lambda z, x: torch.linalg.inv(two_by_two(z, x)).abs().sum()),
    "three equations": with_entries(
        lambda z, x: torch.linalg.solve(
            torch.diag(torch.stack([z + 2, z * z, z])) + 1j, torch.stack([z] * 3)
        ).imag.sum()
    ),
    "cholesky": with_entries(
        lambda z, x: torch.linalg.cholesky(two_by_two(z, x) @ two_by_two(z, x).mH + 1.5 * torch.eye(2)).imag.sum()
    ),
    "matrix exponential": lambda x: (lambda W: (W.mH @ W).real)(
        torch.linalg.matrix_exp(torch.complex(torch.outer(x, x) / 4, torch.diag(x) / 2))
    ),
    "waves": with_entries(lambda z, x: torch.fft.rfft(torch.stack([x[0], x[1], x[0] * x[1]])).abs().sum()),
    "and back": with_entries(
        lambda z, x: torch.fft.irfft(
            torch.fft.rfft(torch.stack([x[0], x[1], x[0] ** 3, x[1] ** 2, x[0] * x[1]])) ** 2, n=5
        )[1]
    ),
    "even and orthonormal": with_entries(
        lambda z, x: torch.fft.irfft(torch.fft.fft(torch.stack([z, z * z, z]), norm="ortho")[:2] ** 2)[1]
    ),
    "derivatives inside": lambda x: (
        torch.eye(2)
        + (lambda J: J.T @ J)(torch.func.jacfwd(lambda y: torch.view_as_real(torch.view_as_complex(y) ** 2))(x))
    ),
    "disc": lambda x: (lambda w, slope: torch.eye(2) * 4 * slope.abs() ** 2 / (1 - (w * w.conj()).real) ** 2)(
        (torch.complex(x[0], x[1]) - 0.3) / (1 - 0.3 * torch.complex(x[0], x[1])),
        0.91 / (1 - 0.3 * torch.complex(x[0], x[1])) ** 2,
    ),
}


@pytest.mark.parametrize("name", METRICS)
def test_digits_balls_and_floats_agree(name):
    metric = METRICS[name]
    graph = trace(metric, 2, torch.float64)
    exact = graph.at(X).scalar_curvature()
    here = rm.enclose(metric, "scalar_curvature", X)
    assert here.digits >= 30
    assert abs(float(here.ball.mid()) - float(exact)) <= 1e-15 * abs(float(exact))
    assert_close(float(rm.scalar_curvature(metric, X)), float(exact), rtol=1e-9, atol=1e-11)
    if name == "disc":
        assert abs(here.ball + 2) < 1e-12  # but for the rounding of 0.91


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
def test_boxes_hold_what_is_inside(name):
    metric = METRICS[name]
    for r in (1e-6, 0.004):
        box = tuple((v - r, v + r) for v in X.tolist())
        around = rm.enclose(metric, "scalar_curvature", box)
        assert bool(around.lower.isfinite()) and bool(around.upper.isfinite())
        for sides in itertools.product((-1, 0.3, 1), repeat=2):
            at = [v + 0.999 * r * s for v, s in zip(X.tolist(), sides, strict=True)]
            assert around.ball.contains(rm.enclose(metric, "scalar_curvature", at).ball)
    value = float(rm.scalar_curvature(metric, X))
    certificate = rm.certify(metric, "scalar_curvature", box, below=value + 1, above=value - 1, max_boxes=500)
    assert certificate.proved and rm.check_certificate(metric, certificate), str(certificate)
    false = rm.certify(metric, "scalar_curvature", box, below=value - 1e-9, max_boxes=50)
    assert not false.proved


def test_hyperbolic_by_moebius_is_proved_on_a_box():
    certificate = rm.certify(METRICS["disc"], "gauss_curvature", ((0.2, 0.3), (0.1, 0.2)), below=-0.9, above=-1.1)
    assert certificate.proved and rm.check_certificate(METRICS["disc"], certificate)


@pytest.mark.parametrize("box, metric", [
    (((0.6, 0.8), (-0.1, 0.1)), with_entries(lambda z, x: torch.log(-z).imag)),  # across the cut
    (((-0.1, 0.1), (-0.1, 0.1)), with_entries(lambda z, x: z.abs())),  # a cone
    (((-0.1, 0.1), (-0.1, 0.1)), with_entries(lambda z, x: (1 / z).real)),  # a pole
    (((-0.1, 0.1), (-0.1, 0.1)), with_entries(lambda z, x: torch.sqrt(z).real)),  # a branch point
])  # fmt: skip
def test_nothing_is_proved_across_cuts_and_poles(box, metric):
    certificate = rm.certify(metric, "scalar_curvature", box, above=-1e9, max_boxes=30, budget=10)
    assert not certificate.proved and certificate.undecided and certificate.reason


def test_what_has_no_pairs_is_named():
    eigen = lambda x: torch.eye(2) * torch.linalg.eigvalsh(torch.diag(x) * (1 + 0j)).sum()
    for call in (lambda: rm.enclose(eigen, "metric", X), lambda: high_precision(eigen, X)):
        with pytest.raises(ValueError, match="calls `linalg_eigh`, which has no exact form of complex numbers"):
            call()
    with pytest.raises(ValueError, match="which makes complex numbers"):
        to_symbolic(METRICS["parts"], 2)


def test_rounding_of_a_metric_through_complex_numbers_is_that_of_its_value():
    for name in ("parts", "waves", "disc"):
        bound = rm.bound_rounding(METRICS[name], X, ["metric", "scalar_curvature"])
        assert bool((bound["metric"] < 1e-12).all()) and bound["scalar_curvature"] < 1e-8


@pytest.mark.unshaped
def test_functions_with_complex_numbers_inside_are_compiled():
    """For any number of points: what makes complex numbers of two real ones asks torch for sizes."""
    W = torch.sin(torch.arange(60.0, dtype=torch.float64)).view(20, 3)

    def g(x):
        h = torch.tanh(W @ x)
        z = torch.complex(h[:3], h[3:6]) * torch.exp(1j * x[0])
        return 3 * torch.eye(3, dtype=x.dtype) + torch.outer(z, z.conj()).real + torch.diag(z.abs().square() * h[6:9])

    compiled = rm.compile(g, "scalar_curvature", dim=3, backend=None)
    for count in (2, 5):
        x = torch.sin(torch.arange(3.0 * count, dtype=torch.float64)).view(count, 3)
        assert_close(compiled(x), rm.scalar_curvature(g, x))
    assert compiled.route.startswith("jets")


def test_pairs_are_seen_as_complex_numbers():
    """A matrix that is copied lies as one in memory, whatever it was made of."""

    def g(x):
        z = torch.view_as_complex(torch.stack([x.sin(), x.cos()]).T.contiguous())
        return 2 * torch.eye(2, dtype=x.dtype) + torch.outer(z, z.conj()).real

    plain = lambda x: 2 * torch.eye(2, dtype=x.dtype) + torch.cos(x[:, None] - x[None, :])
    x = torch.tensor([0.3, 0.7], dtype=torch.float64)
    assert_close(rm.jet(g, x, 2), rm.jet(plain, x, 2))

    def filled(x):
        pairs = torch.zeros(2, 2, dtype=x.dtype)
        pairs[:, 0], pairs[:, 1] = x.sin(), x.cos()
        return torch.view_as_complex(pairs).abs()

    with pytest.raises(ValueError, match="use `torch.complex"):
        rm.jet(filled, torch.stack([x, 2 * x]), 2)


# ------------------------------------------------------------------------------------ Fourier transforms, compiled


@pytest.mark.parametrize(("shape", "dim"), [((5, 6), [1]), ((4, 5, 6), [1, 2]), ((3, 7), [1]), ((2, 8, 3), [2, 0])])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_fourier_transforms_are_those_of_torch(shape, dim, dtype):
    aten = torch.ops.aten
    draw = lambda k: torch.sin(k * torch.arange(math.prod(shape), dtype=torch.float64)).view(shape).to(dtype)
    a, z = draw(1.7), torch.complex(draw(1.7), draw(2.9))
    last = 2 * (shape[dim[-1]] - 1)
    for normalization in (0, 1, 2):
        for flag in (False, True):
            assert_close(fourier.c2c(z, dim, normalization, flag), aten._fft_c2c(z, dim, normalization, flag))
            assert_close(fourier.r2c(a, dim, normalization, flag), aten._fft_r2c(a, dim, normalization, flag))
            size = last + flag
            assert_close(fourier.c2r(z, dim, normalization, size), aten._fft_c2r(z, dim, normalization, size))


@pytest.mark.unshaped
def test_metrics_with_fourier_transforms_are_compiled():
    def g(x):
        smooth = torch.fft.irfft(torch.fft.rfft(x) * torch.exp(-torch.arange(2.0, dtype=x.dtype)), n=3)
        return torch.diag(1 + smooth**2 + torch.fft.fft(torch.cat([x, x.flip(0)]))[:3].abs())

    compiled = rm.compile(g, "scalar_curvature", dim=3, backend=None)
    for count in (2, 5):
        x = 1 + torch.sin(torch.arange(3.0 * count, dtype=torch.float64)).view(count, 3)
        assert_close(compiled(x), rm.scalar_curvature(g, x))
    assert compiled.route.startswith("jets")
