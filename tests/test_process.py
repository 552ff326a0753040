"""Riemann changes nothing outside it: looked at from a second thread, and beside other threads."""

import gc
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import riemann as rm
from riemann.bridge import to_symbolic
from tests.helpers import random_metric

X = torch.rand(6, 2, dtype=torch.float64) + 0.3
OWNERS = (
    *(torch, torch.nn.functional, torch.nn, torch.func, torch.jit, torch.autograd, torch.linalg, torch.special),
    *(torch.Tensor, torch._C.TensorBase, nn.Module, nn.Parameter, torch.autograd.Variable, torch.autograd.Function),
    *(torch._C.ScriptFunction, torch._C.ScriptMethod, torch.jit.ScriptModule, torch.jit.RecursiveScriptModule),
)


def attributes():
    return {(owner.__name__, name): id(value) for owner in OWNERS for name, value in list(vars(owner).items())}


def slow_sphere(x):
    time.sleep(0.02)
    return torch.diag(torch.stack([torch.ones_like(x[0]), torch.sin(x[0]) ** 2]))


CALLS = {
    "curvature": lambda: rm.scalar_curvature(slow_sphere, X),
    "in pieces": lambda: rm.scalar_curvature(slow_sphere, X, chunk_size="0.001MB"),
    "gradient": lambda: rm.scalar_curvature(slow_sphere, X.clone().requires_grad_()).sum().backward(),
    "geodesic": lambda: rm.geodesic(slow_sphere, X[0], X[1] / 10, torch.linspace(0, 0.1, 2, dtype=torch.float64)),
    "expressions": lambda: to_symbolic(slow_sphere, 2),
    "compile": lambda: rm.compile(slow_sphere, "scalar_curvature", dim=2, backend=None),
    "verify": lambda: rm.verify(slow_sphere, dim=2, x=X[:2]),
    "check": lambda: rm.check_metric(slow_sphere, X),
}


@pytest.mark.parametrize("call", CALLS)
def test_no_attribute_of_torch_is_assigned(call):
    CALLS[call]()  # torch loads parts of itself at their first use
    before, filters, changed = attributes(), list(warnings.filters), set()
    thread = threading.Thread(target=CALLS[call])
    thread.start()
    while thread.is_alive():
        changed |= attributes().items() ^ before.items()
    assert not changed and attributes() == before and warnings.filters == filters


def test_importing_changes_nothing():
    script = """
import signal, sys, warnings, torch, torch.jit, torch.func, torch._functorch, torch._decomp, jaxtyping, sympy
import torch.utils.checkpoint, torch.multiprocessing.reductions, torch.utils._python_dispatch, torch.utils.weak
owners = [torch, torch.nn.functional, torch.jit, torch.Tensor, torch.nn.Module, torch.nn.Parameter,
          torch.autograd.Variable, torch._C.ScriptFunction, torch._C.ScriptMethod, torch.jit.ScriptModule]
look = lambda: ([dict(vars(o)) for o in owners], [signal.getsignal(s) for s in signal.valid_signals()], sys.gettrace(),
                sys.getprofile(), sys.excepthook, list(warnings.filters), torch.get_default_dtype(),
                torch.get_num_threads(), sys.getrecursionlimit(), torch.is_grad_enabled())
before = look()
import riemann, riemann_nn
assert all(a[k] is b[k] for a, b in zip(before[0], look()[0]) for k in a), "assigned"
assert before[1:] == look()[1:]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_that_is_made_inside_a_transform_is_kept():
    from torch._C._functorch import is_functorch_wrapped_tensor

    from riemann._arithmetic.orders import orders

    def wrapped():
        gc.collect()
        return {id(a) for a in gc.get_objects() if type(a) is torch.Tensor and is_functorch_wrapped_tensor(a)}

    def bent(x):
        return torch.eye(3, dtype=x.dtype) * (1 + x @ x) + 0.1 * torch.outer(x, x).sin()

    v = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    calls = (
        rm.scalar_curvature, rm.cotton_tensor, lambda g, x: rm.sectional_curvature(g, x, x, v.flip(0)),
        rm.volume_element,
        lambda g, x: rm.ricci_curvature(g, x, v), lambda g, x: rm.laplacian(g, lambda p: p.sin().sum())(x),
        lambda g, x: rm.lie_derivative(torch.cos, torch.sin, "u")(x), lambda g, x: rm.exp_map(g, x, v),
    )  # fmt: skip
    before = wrapped()
    orders.cache_clear()
    for call in calls:
        torch.func.grad(lambda x, call=call: call(bent, x).sum())(v)
        torch.func.jacfwd(lambda x, call=call: call(bent, x).sum())(v)
    assert wrapped() <= before
    for call in calls:
        assert bool(call(bent, v).isfinite().all())


def test_many_threads_at_once():
    """What differentiates waits for its turn; what watches belongs to its thread."""
    metrics = [random_metric(3, 0, seed=k) for k in range(4)]
    x = 0.3 * torch.randn(5, 3, dtype=torch.float64)
    calls = [
        lambda g: rm.scalar_curvature(g, x),
        lambda g: rm.scalar_curvature(g, x, chunk_size="0.01MB"),
        lambda g: rm.ricci_curvature(g, x, x),
        lambda g: rm.jet(g, x, 2)[2],
        lambda g: torch.autograd.functional.jacobian(lambda y: rm.volume_element(g, y).sum(), x),
        lambda g: rm.laplacian(g, lambda y: y.sin().sum())(x),
    ]
    truth = {(i, k): f(g) for i, f in enumerate(calls) for k, g in enumerate(metrics)}
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            done = {(i, k): pool.submit(calls[i], metrics[k]) for i, k in truth}
            for key, future in done.items():
                assert_close(future.result(120), truth[key])


class Curvatures(torch.utils.data.Dataset):
    def __init__(self):
        self.metric, self.x = random_metric(3, 0, seed=0), 0.3 * torch.randn(12, 3, dtype=torch.float64)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, k):
        return rm.scalar_curvature(self.metric, self.x[k])


def test_a_loader_beside_training():
    """Data that are curvatures, prepared in a thread, while the main thread differentiates, too."""
    data = Curvatures()
    truth = rm.scalar_curvature(data.metric, data.x)
    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(lambda: torch.cat(list(torch.utils.data.DataLoader(data, batch_size=4))))
        for _ in range(10):
            assert_close(rm.scalar_curvature(data.metric, data.x), truth)
    assert_close(loaded.result(), truth)


def test_riemann_inside_riemann_inside_a_thread():
    inner = lambda x: torch.diag(1 + x**2)
    outer = lambda x: inner(x) + rm.jet(lambda y: inner(y).sum(), x, 2)[2]
    truth = lambda x: torch.diag(1 + x**2) + 2 * torch.eye(2, dtype=torch.float64)
    with ThreadPoolExecutor(3) as pool:
        for y in pool.map(lambda _: rm.scalar_curvature(outer, X), range(6)):
            assert_close(y, rm.scalar_curvature(truth, X))
