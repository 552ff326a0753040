"""Fresh memory for large results is like any other, and lies as the results do."""

import pickle

import pytest
import torch

import riemann as rm
from riemann._points import memory
from riemann._points.memory import room


@pytest.mark.parametrize("large", [0, 2**25], ids=["huge pages", "ordinary"])
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
