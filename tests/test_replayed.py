"""Inductor's code, called again kernel by kernel: the same to the last bit, or not at all.

Code that looks like inductor's and does more than call kernels has no replay.
"""

import threading
import warnings
from typing import Any

import pytest
import torch
from torch.testing import assert_close

import riemann as rm
from riemann._compiling import called, replayed

pytestmark = pytest.mark.unshaped

X = torch.arange(6, dtype=torch.float64).reshape(2, 3)
W = torch.eye(3, dtype=torch.float64) + 0.5
PRODUCT = """
        x, w, s = args
        args.clear()
        y = empty_strided_cpu((2, s), (s, 1), torch.float64)
        extern_kernels.mm(x, w, out=y)
"""
CODES = {
    "a product": PRODUCT + "        return (y,)",
    "a view of one": PRODUCT + "        return (reinterpret_tensor(y, (s, 2), (1, s), 0), y)",
    "arguments": PRODUCT + "        return (y, w, x)",
    "a solution": PRODUCT
    + """
        z = torch.ops.aten.linalg_solve_triangular.default(w, y, upper=True, left=False)
        return (z,)""",
    "an inverse": PRODUCT
    + """
        b = torch.ops.aten.linalg_inv_ex.default(w)
        extern_kernels.addmm(x, x, b[0], alpha=2, beta=1, out=y)
        return (y, b[1])""",
}
NEAR_MISSES = {
    "an operation": PRODUCT + "        return (torch.ops.aten.exp.default(y),)",
    "a product of torch": PRODUCT + "        return (torch.ops.aten.mm.default(x, w),)",
    "a method": PRODUCT + "        return (y.mul_(2),)",
    "random numbers": PRODUCT + "        torch.randn((2, 3), out=y)\n        return (y,)",
    "another function": PRODUCT + "        helper(y)\n        return (y,)",
    "a function inside": PRODUCT + "        return tuple([y for _ in (1,)])",
    "much memory": PRODUCT + "        z = empty_strided_cpu((2**17, 2), (2, 1), torch.float64)\n        return (y,)",
}


def made_of(source):
    """A function that stands on code in a file like those that inductor writes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch._inductor.select_algorithm import extern_kernels
    names = {
        "torch": torch,
        "extern_kernels": extern_kernels,
        "empty_strided_cpu": torch._C._dynamo.guards._empty_strided_cpu,
        "reinterpret_tensor": torch._C._dynamo.guards._reinterpret_tensor,
        "helper": lambda y: y.add_(1),
    }
    exec(f"class Runner:\n    def call(self, args):{source}\n", names)
    code = names["Runner"]().call
    return lambda *arguments: code(list(arguments))


def replay_of(source, *arguments) -> tuple[Any, Any]:
    made = made_of(source)
    return made, replayed.replay_of(replayed.code_of(made), arguments, [0], made(*arguments), 2**20)


@pytest.mark.parametrize("source", CODES.values(), ids=CODES)
def test_a_replay_gives_what_the_code_gives(source):
    w = W.clone()
    made, replay = replay_of(source, X, w, 3)
    first, kept = replay(X), [y.clone() for y in replay(X)]
    for x in (X + 1, -X, X):
        assert all(map(torch.equal, replay(x), made(x, w, 3)))
    w.mul_(3)  # is read where it lies
    assert all(map(torch.equal, replay(X), made(X, w, 3)))
    assert all(map(torch.equal, first, kept))  # results are the caller's
    assert torch.equal(X, torch.arange(6.0, dtype=torch.float64).reshape(2, 3))


@pytest.mark.parametrize("source", NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_code_that_does_more_has_no_replay(source):
    assert replay_of(source, X, W, 3)[1] is None


def test_other_results_and_other_functions_have_no_replay():
    made = made_of(CODES["a product"])
    (y,) = made(X, W, 3)
    code = replayed.code_of(made)
    for others in ((y + 1e-15,), (y.float(),), (y, y), (y.mT.contiguous().mT,)):
        assert replayed.replay_of(code, (X, W, 3), [0], others, 2**20) is None
    other = made_of(CODES["arguments"])
    assert replayed.code_of(lambda *a: made(*a)) == code
    assert replayed.code_of(lambda *a: (made(*a), other)) is None  # which of two?


def test_what_is_not_a_number_is_compared():
    made, replay = replay_of(CODES["a product"], X * torch.nan, W, 3)
    assert torch.equal(replay(X)[0], made(X, W, 3)[0])


def test_a_second_thread_is_sent_away():
    _, replay = replay_of(CODES["a product"], X, W, 3)
    with replay.lock:
        assert replay(X) is None
    assert replay(X) is not None


@pytest.mark.slow
def test_compiled_quantities_at_few_points():
    """Weights that change in place and otherwise, threads, and points of several numbers."""
    scale = torch.tensor(2.0, dtype=torch.float64)

    class Metric(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full((2, 2), 0.5, dtype=torch.float64), requires_grad=False)

        def forward(self, x):
            a = torch.tanh(self.weight @ x)
            return scale.to(x) * torch.eye(2, dtype=x.dtype) + torch.outer(a, a)

    metric, seen, again = Metric(), [], called._Again.replayed
    f = rm.compile(metric, "christoffel", dim=2, budget=1e-6)
    points = torch.rand(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(called._Again, "replayed", lambda *a: seen.append(again(*a)) or seen[-1])
        for x in (points[0], points[:1], points[:5]):
            for k in range(6):
                metric.weight.add_(0.1)
                scale.mul_(1.1)
                assert_close(f(x + 0.01 * k), rm.christoffel(metric, x + 0.01 * k), rtol=1e-10, atol=1e-12)
        assert sum(y is not None for y in seen) > 8
        del seen[:]
        metric.weight.data = metric.weight.data + 0.5  # lies elsewhere
        for _ in range(3):
            assert_close(f(points[0]), rm.christoffel(metric, points[0]), rtol=1e-10, atol=1e-12)
        assert all(y is None for y in seen)
        for _ in range(4):
            f(points[:7])
        wrong, expected = [], rm.christoffel(metric, points)

        def work(k):
            for _ in range(50):
                y = f(points[k : k + 7])
                wrong.append(not torch.allclose(y, expected[k : k + 7], rtol=1e-10, atol=1e-12))

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(wrong) == 200 and not any(wrong)
