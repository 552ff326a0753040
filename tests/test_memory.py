"""Fresh memory for large results is like any other, and lies as the results do."""

import concurrent.futures
import pickle
import subprocess
import sys

import pytest
import torch

import riemann as rm
from riemann._points import memory
from riemann._points.memory import room


@pytest.mark.parametrize("large", [0, 2**25], ids=["pages of its own", "ordinary"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bool])
def test_room(large, dtype, monkeypatch):
    monkeypatch.setattr(memory, "LARGE", large)
    for y in (
        torch.ones(2, 3, 4, dtype=dtype),
        torch.ones(3, 4, 2, dtype=dtype).movedim(-1, 0),
        torch.ones(2, dtype=dtype),
    ):
        z = room(y, 5)
        assert z.shape == (5, *y.shape[1:]) and z.dtype == dtype
        axes = range(y.ndim)
        assert sorted(axes, key=y.stride) == sorted(axes, key=z.stride)
        z[:] = True
        copy = pickle.loads(pickle.dumps(z))
        assert bool(copy.all()) and bool((z.clone() == copy).all())


def test_no_room_is_needed_for_no_points():
    assert room(torch.ones(1, 3), 0).shape == (0, 3)


@pytest.mark.parametrize("chunk_size", ["4MB", 500])
def test_results_lie_as_those_of_many_points_do(chunk_size):
    """A first piece of one point tells nothing of it: the points of small tensors lie side by side."""
    x = torch.rand(2000, 4, dtype=torch.float64)
    riemann = rm.riemann_tensor(lambda x: torch.diag(2 + torch.sin(x + x.roll(1))), x, chunk_size=chunk_size)
    assert riemann.stride(0) == 1
    torch.testing.assert_close(
        riemann[:3], rm.riemann_tensor(lambda x: torch.diag(2 + torch.sin(x + x.roll(1))), x[:3])
    )


def test_large_memory_is_used_again_when_nothing_refers_to_it(monkeypatch):
    monkeypatch.setattr(memory, "LARGE", 0)
    memory._SPARE.clear()
    y = torch.ones(1, 64, dtype=torch.float64)
    first, second = room(y, 100).fill_(1), room(y, 100).fill_(2)
    assert first.data_ptr() != second.data_ptr() and bool((first == 1).all())
    place, view, array = first.data_ptr(), first[3:, 5], first.numpy()
    del first
    assert room(y, 100).fill_(3).data_ptr() != place and bool((view == 1).all())
    del view
    third = room(y, 100).fill_(4)
    assert third.data_ptr() != place and bool((array == 1).all())
    del array
    assert [len(pages) for pages in memory._SPARE] == [100 * 64 * 8]
    fourth = room(y.float(), 150)
    assert fourth.data_ptr() == place and not memory._SPARE
    del third, fourth
    room(y, 3)  # too small to hold so much
    assert [len(pages) for pages in memory._SPARE] == [3 * 64 * 8]


def test_very_large_memory_goes_back_to_the_system(monkeypatch):
    monkeypatch.setattr(memory, "LARGE", 0)
    monkeypatch.setattr(memory, "KEPT", 1000)
    memory._SPARE.clear()
    room(torch.ones(1, 64), 100)
    assert not memory._SPARE


def test_memory_that_cannot_be_marked_as_free_goes_back_to_the_system(monkeypatch):
    """Nothing is raised in a finalizer."""
    monkeypatch.setattr(memory, "LARGE", 0)
    monkeypatch.setattr(memory.mmap, "MADV_FREE", 12345)
    memory._SPARE.clear()
    room(torch.ones(1, 64), 100)
    assert not memory._SPARE


def test_threads_never_share_memory(monkeypatch):
    monkeypatch.setattr(memory, "LARGE", 0)
    y = torch.ones(1, 8, dtype=torch.float64)

    def work(k):
        for _ in range(200):
            z = room(y, 20).fill_(k)
            w = room(y, 30).fill_(-k)
            if not (bool((z == k).all()) and bool((w == -k).all())):
                return False
        return True

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(1, 9)))


FAULTS = """
import resource, torch, riemann as rm
W, V = torch.linspace(-1, 1, 128, dtype=torch.float64).view(64, 2), torch.linspace(-1, 1, 4096, dtype=torch.float64)
g = lambda x: torch.eye(2) + W.T @ (torch.tanh(V.view(64, 64) @ torch.tanh(W @ x))[:, None] ** 2 * W)
x = torch.rand(512, 2, dtype=torch.float64)
rm.scalar_curvature(g, x)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(7):
    rm.scalar_curvature(g, x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="page faults of Linux")
def test_the_memory_of_a_call_serves_the_next():
    """Else there is a page fault for every 4 kB of some megabytes."""
    result = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 1000
