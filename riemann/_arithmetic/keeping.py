"""What is kept for a backward pass while rules run: as riemann's caller keeps it.

A checkpoint inside a user's function drops what is kept there, and calls the function again for it: with jets of a call
that is over.
"""

from typing import Any

from torch import Tensor
from torch._C import _autograd


def keeping() -> Any:
    """How tensors are kept now: functions that pack and unpack them, or None."""
    return _autograd._top_saved_tensors_default_hooks(False)


def kept_as(before: Any) -> bool:
    """Keeps tensors as before, if they are kept otherwise now; the caller ends that with `keep_otherwise`."""
    if keeping() == before:
        return False
    _autograd._push_saved_tensors_default_hooks(*(before or (_same, _same)))
    return True


def keep_otherwise() -> None:
    """Ends what `kept_as` began."""
    _autograd._pop_saved_tensors_default_hooks()


def _same(a: Tensor) -> Tensor:
    return a
