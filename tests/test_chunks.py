"""Points in pieces: the same results within a memory budget, interruptible, with progress, one warning."""

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import riemann as rm
from riemann._points import chunks
from riemann._points.chunks import in_chunks
from riemann._points.weight import weighed
from riemann_nn import MLPCholesky
from tests.helpers import assert_equal, random_metric

ROOT = Path(__file__).parent.parent


@pytest.fixture
def small(monkeypatch):
    """A budget that cuts small batches, too: pieces start with a point and grow."""
    monkeypatch.setattr(chunks, "BUDGET", 150_000)


def points(*batch, n=4):
    return 0.3 * torch.randn(*batch, n, dtype=torch.float64)


QUANTITIES = {
    "jets": lambda metric, x, **o: rm.at(metric, x, **o).jets,
    "jet": lambda metric, x, **o: rm.jet(metric, x, 2, **o),
    "jvp": lambda metric, x, **o: rm.jvp(metric, x, 2 * x, **o),
    "vjp": lambda metric, x, **o: rm.vjp(metric, x, x[..., None] * x[..., None, :], **o),
    "inverse": rm.inverse_metric,
    "indices": lambda metric, x, **o: rm.change_indices(metric, x, x, "u", "l", **o),
    "Christoffel": rm.christoffel,
    "Riemann": rm.riemann_tensor,
    "scalar": rm.scalar_curvature,
    "Einstein": rm.einstein_tensor,
    "along": lambda metric, x, **o: rm.christoffel_vector(metric, x, x, x.flip(-1), **o),
    "sectional": lambda metric, x, **o: rm.sectional_curvature(metric, x, x, x.flip(-1), **o),
    "endomorphism": lambda metric, x, **o: rm.curvature_endomorphism(metric, x, x, x.flip(-1), x, **o),
    "Ricci of v": lambda metric, x, **o: rm.ricci_curvature(metric, x, x, **o),
    "estimate": lambda metric, x, **o: rm.estimate_scalar_curvature(metric, x, 3, torch.Generator(), **o),
    "Ricci estimate": lambda metric, x, **o: rm.estimate_ricci_curvature(metric, x, x, 3, torch.Generator(), **o),
}


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("name", ["generic", "network"])
def test_pieces_make_the_whole(quantity, name, small):
    metric = random_metric(4, 1, seed=1) if name == "generic" else MLPCholesky(4, hidden=(8,)).double()
    f, x = QUANTITIES[quantity], points(3, 7)
    whole = f(metric, x, chunk_size=None)
    for chunk_size in ("auto", "0.2MB", 2, 5):
        assert_parts_equal(f(metric, x, chunk_size=chunk_size), whole)


def assert_parts_equal(value, truth):
    if not isinstance(truth, tuple):
        return assert_equal(value, truth)
    assert type(value) is type(truth)
    for a, b in zip(value, truth, strict=True):
        assert_parts_equal(a, b)


@pytest.mark.parametrize("chunk_size", ["auto", 1, 4, 5, 7])
def test_many_vectors_at_the_same_points(chunk_size, small):
    metric, x, (u, v) = random_metric(4, 1, seed=1), points(2, 3), points(2, 5, 1, 1)
    for f in (rm.sectional_curvature, rm.sectional_form, rm.christoffel_vector):
        whole = f(metric, x, u, v, chunk_size=None)
        assert_equal(f(metric, x, u, v, chunk_size=chunk_size), whole)
        assert_equal(f(metric, x[0, 0], u[:, 0, 0], v[:, 0, 0], chunk_size=chunk_size), whole[:, 0, 0])


def test_gradients_go_through_pieces(small):
    base, x = random_metric(3, 0, seed=2), points(6, n=3).requires_grad_()
    c = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    metric = lambda y: base(y) + c * torch.outer(torch.sin(y), torch.sin(y))
    gradients = [
        torch.autograd.grad(rm.scalar_curvature(metric, x, chunk_size=size).square().sum(), (x, c))
        for size in (None, "auto", 2)
    ]
    for value in gradients[1:]:
        assert_parts_equal(value, gradients[0])


def test_transforms_and_compilation_see_one_piece(small):
    metric, x = random_metric(3, 0, seed=2), points(6, n=3)
    scalar = lambda p: rm.scalar_curvature(metric, p)
    assert_equal(torch.func.vmap(scalar)(x), scalar(x))
    assert_equal(torch.func.jacrev(lambda p: scalar(p).sum())(x), torch.func.vmap(torch.func.grad(scalar))(x))


def test_a_small_batch_is_one_call():
    calls = []
    metric = lambda x: (calls.append(1), torch.eye(4) * (1 + x @ x))[1]
    rm.scalar_curvature(metric, points(1000))
    assert len(calls) == 2  # the first was for the weight of its values, which is remembered
    rm.christoffel(metric, points(500))
    assert len(calls) == 3


@pytest.mark.parametrize("chunk_size", ["auto", 1, 2, None])
def test_one_warning_counts_points_of_the_whole_batch(chunk_size, small):
    x = torch.ones(2, 4, 2, dtype=torch.float64)
    x[1, 1, 0] = x[1, 3, 0] = 0
    for f in (rm.scalar_curvature, rm.ricci_tensor, rm.at, rm.inverse_metric):
        with pytest.warns(
            UserWarning, match=r"singular: rank . of . at point \[1, 1\] of the batch \(and at 1 more"
        ) as said:
            f(lambda p: torch.diag(p), x, chunk_size=chunk_size)
        assert len(said) == 1


@pytest.mark.parametrize("chunk_size", ["auto", 1, None])
def test_the_plane_without_area_is_named_in_the_whole_batch(chunk_size, small):
    x = points(5, n=3)
    u, v = points(2, 5, n=3)
    v[3] = 2 * u[3]
    with pytest.raises(ValueError, match=r"no plane with area at point \[3\]"):
        rm.sectional_curvature(random_metric(3, 0, seed=0), x, u, v, chunk_size=chunk_size)


# ------------------------------------------------------------------------------------------------------ the budget


def test_a_point_may_be_heavier_than_a_long_array():
    a = torch.linspace(0, 1, 900, dtype=torch.float64)
    metric = lambda x: torch.eye(2).to(x) * (2 + torch.sin(x[0] * x[1] * torch.outer(a, a)).mean())
    x = torch.rand(12, 2, dtype=torch.float64)
    assert_equal(rm.scalar_curvature(metric, x), rm.scalar_curvature(metric, x, chunk_size=1))


def test_weight_is_what_is_alive():
    def work():
        a = torch.ones(1000, dtype=torch.float64)
        b = a + a
        del a
        return b.mul_(2).view(10, 100).mT + 1

    _, weight = weighed(work)
    assert 16_000 <= weight.peak <= 16_100 and 24_000 <= weight.made <= 24_100
    b = torch.ones(1000)
    assert weighed(lambda: b.view(10, 100).mT[3].expand(4, 10))[1].made == 0  # views of what was there before
    with pytest.raises(KeyError):
        weighed(lambda: {}[0])
    assert weighed(lambda: torch.empty(2))[1] == (8, 8, 1)


def test_old_garbage_is_not_collected_while_work_is_weighed(capfd):
    """Torch writes a line to stderr at each thousandth block that dies in its record and was made before."""
    gc.disable()
    for _ in range(1001):
        cycle = [torch.ones(2)]
        cycle.append(cycle)
    gc.enable()
    assert weighed(lambda: len([[] for _ in range(5000)]))[0] == 5000
    assert gc.isenabled() and not weighed(gc.isenabled)[0]
    gc.disable()
    try:
        weighed(lambda: None)
        assert not gc.isenabled()  # as the user wants it
    finally:
        gc.enable()
    assert not capfd.readouterr().err


def test_what_kernels_ask_for_is_weighed():
    a = torch.eye(100, dtype=torch.float64)
    assert weighed(lambda: torch.linalg.inv(a))[1].peak > 100 * 100 * 8


def test_the_wide_intermediates_of_a_metric_are_weighed():
    W = torch.randn(2000, 2, dtype=torch.float64)
    x, sizes = points(20_000, n=2), []

    def field(x):
        sizes.append(len(x))
        return (x @ W.T).sin().sum(-1)

    for _ in range(2):
        value = in_chunks(field, x, rank=2, chunk_size="10MB")
        assert_equal(value, (x @ W.T).sin().sum(-1))
    assert max(sizes) * 2000 * 8 * 2 <= 10e6 < 4 * max(sizes) * 2000 * 8 * 2
    assert sizes[0] == 1 and sizes[: len(sizes) // 2] == sizes[len(sizes) // 2 :]


def test_what_is_the_same_for_all_points_is_told_from_what_each_takes():
    sizes = []

    def field(x):
        sizes.append(len(x))
        return torch.ones(500_000, dtype=x.dtype).sum() + (x[:, :1] * torch.ones(1000, dtype=x.dtype)).sum(-1)

    in_chunks(field, points(5000, n=2), rank=2, chunk_size="10MB")
    assert 512 <= max(sizes) <= 10e6 / 8000


def test_values_at_one_point_say_that_a_batch_is_light():
    sizes = []

    def field(x):
        sizes.append(len(x))
        return x.sum(-1)

    for light, expected in ((10, [1000]), (10**6, [1, 1000])):
        sizes.clear()
        in_chunks(field, points(1000, n=2), rank=2, light=lambda x, bytes=light: bytes)
        assert sizes[0] == expected[0] and sum(sizes) == 1000


def laplacians_of_a_potential(x):
    """Inner reverse mode; the last term has tangents that torch knows to be 0."""
    potential = lambda y: (y**4).sum() / 12 + (y**2).sum() / 2 + torch.log(1 + (y**2).sum())
    return torch.func.jacfwd(torch.func.grad(potential))(x)


@pytest.mark.parametrize("quantity", ["Riemann", "scalar", "jet", "jvp", "vjp", "endomorphism"])
@pytest.mark.parametrize("chunk_size", ["auto", "0.2MB"])
def test_a_metric_with_reverse_mode_inside_in_pieces(quantity, chunk_size, small):
    x = points(20, n=3)
    f = QUANTITIES[quantity]
    whole = f(laplacians_of_a_potential, x, chunk_size=None)
    assert_parts_equal(f(laplacians_of_a_potential, x, chunk_size=chunk_size), whole)


def test_a_profiler_of_the_user_goes_on(small):
    metric, x = random_metric(3, 0, seed=2), points(50, n=3)
    truth = rm.scalar_curvature(metric, x)
    with torch.autograd.profiler.profile() as record:
        assert_equal(rm.scalar_curvature(metric, x), truth)
    assert len(record.function_events) > 100
    assert not torch.autograd._profiler_enabled()


@pytest.mark.parametrize("chunk_size", ["much", "1", "-1GB", "0MB", 0, -1, 1.5, True, "GB"])
def test_a_wrong_chunk_size_is_named(chunk_size):
    with pytest.raises(ValueError, match=r"`chunk_size` is .*a whole number of points.*'2GB'.*'auto'.*None"):
        rm.scalar_curvature(random_metric(2, 0, seed=0), points(3, n=2), chunk_size=chunk_size)


PEAK = """
import torch, riemann as rm
from riemann_nn import MLPCholesky
from tests.cases import BY_NAME
from tests.helpers import random_metric
torch.set_num_threads(1)
torch.set_grad_enabled(False)
torch.set_default_dtype(torch.float64)

class Net(torch.nn.Module):  # of no known structure
    def __init__(self, n, H=64):
        super().__init__()
        self.n, self.i = n, torch.tril_indices(n, n)
        self.net = torch.nn.Sequential(torch.nn.Linear(n, H), torch.nn.Tanh(), torch.nn.Linear(H, n * (n + 1) // 2))
    def forward(self, x):
        L = torch.zeros(self.n, self.n)
        L[self.i[0], self.i[1]] = self.net(x) / self.n
        return torch.eye(self.n) + L @ L.T

decoder = torch.nn.Sequential(torch.nn.Linear(4, 256), torch.nn.SiLU(), torch.nn.Linear(256, 784))
def reverse(x):  # of all outputs at a time, by each of them
    J = torch.func.jacrev(decoder)(x)
    return J.T @ J

def kilobytes(name):  # getrusage would count what the parent had
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))

def vectors(metric, n, *batch):
    return metric, *torch.randn(4, *batch, n)

{setup}
rm.scalar_curvature(lambda x: torch.eye(2) * (1 + x @ x), torch.zeros(2))
before = kilobytes("VmRSS")
result = {call}
size = sum(y.numel() * y.element_size() for y in (result if isinstance(result, tuple) else [result]))
print((kilobytes("VmHWM") - before) / 1000 - size / 1e6)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "setup, call, megabytes",
    [
        ("kerr, x = BY_NAME['Kerr'].metric, torch.rand(60_000, 4) + 3", "rm.riemann_tensor(kerr, x)", 600),
        ("g, x = random_metric(16, 0, seed=0), torch.randn(300, 16) / 16", "rm.scalar_curvature(g, x)", 600),
        ("g, x = reverse, torch.randn(20, 4)", "rm.scalar_curvature(g, x)", 500),
        ("g, x = Net(64), torch.randn(1, 64) / 8", "rm.scalar_curvature(g, x)", 500),
        ("g, x = Net(64), torch.randn(1, 64) / 8", "rm.einstein_tensor(g, x)", 500),
        ("g, x, u, v, w = vectors(MLPCholesky(256, (64,)), 256, 1)", "rm.ricci_curvature(g, x, v)", 1500),
        (
            "kerr, x = BY_NAME['Kerr'].metric, torch.rand(60_000, 4) + 3",
            "rm.hodge_laplacian(kerr, torch.sin, 1)(x)",
            1000,
        ),
        ("g, x, u, v, w = vectors(Net(512), 512, 2)", "rm.curvature_endomorphism(g, x, u, v, w)", 1000),
        ("g, x, u, v, w = vectors(MLPCholesky(1024, (64,)), 1024, 8)", "rm.sectional_curvature(g, x, u, v)", 1000),
        ("g, x, u, v, w = vectors(MLPCholesky(1024, (64,)), 1024, 1)", "rm.estimate_ricci_curvature(g, x, v, 8)", 1000),
    ],
)
def test_peak_memory(setup, call, megabytes):
    """Beyond imports, weights and the result; twice what was measured, so that allocators may differ."""
    script = PEAK.format(setup=setup, call=call)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < megabytes


# ------------------------------------------------------------------------------------- interruptible and observable


def test_progress_counts_points():
    metric, x, said = random_metric(3, 0, seed=0), points(2, 5, n=3), []
    rm.ricci_tensor(metric, x, chunk_size=4, progress=lambda done, total: said.append((done, total)))
    assert said == [(4, 10), (8, 10), (10, 10)]
    said.clear()
    rm.estimate_scalar_curvature(metric, x, 6, chunk_size=24, progress=lambda *counts: said.append(counts))
    assert said == [(24, 60), (48, 60), (60, 60)]


def test_a_bar(capsys):
    rm.scalar_curvature(random_metric(3, 0, seed=0), points(5, n=3), chunk_size=2, progress=True)
    assert "5/5" in capsys.readouterr().err


def test_a_bar_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"tqdm, which is not installed: `pip install tqdm`, or give a function"):
        rm.scalar_curvature(random_metric(3, 0, seed=0), points(5, n=3), progress=True)
    with pytest.raises(TypeError, match=r"`progress` is 'yes', expected True, False or a function"):
        rm.scalar_curvature(random_metric(3, 0, seed=0), points(5, n=3), progress="yes")


@pytest.mark.parametrize("when", ["between", "within"])
@pytest.mark.parametrize("chunk_size", [2, "auto"])
def test_an_interrupt_leaves_all_in_order(when, chunk_size, small):
    base, x, calls = random_metric(3, 0, seed=0), points(10, n=3), []
    truth = rm.scalar_curvature(base, x)

    def interrupted(*_):
        raise KeyboardInterrupt

    def metric(p):
        calls.append(p)
        return interrupted() if when == "within" and len(calls) == 3 else base(p)

    def f():
        progress = (lambda done, total: done > 3 and interrupted()) if when == "between" else False
        return rm.scalar_curvature(metric, x, chunk_size=chunk_size, progress=progress)

    with pytest.raises(KeyboardInterrupt):
        f()
    others = []
    thread = threading.Thread(target=lambda: others.append(rm.scalar_curvature(base, x)))
    thread.start()
    thread.join(60)
    assert_equal(others[0], truth)
    assert_equal(rm.scalar_curvature(base, x), truth)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(rm.scalar_curvature(base, x).sum(), x)
    assert gradient.isfinite().all()
    with pytest.warns(UserWarning, match="singular: rank . of . at point"):  # and warnings are said again
        rm.scalar_curvature(lambda p: torch.diag(p - p[0]), x.detach())
