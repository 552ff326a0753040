"""Users' functions at one point: modules that only take batches get a batch of one, and what fails is explained.

A function of ours runs inside the transforms of torch. Where it fails, it is called once more at one point of the
batch, with nothing around it: its own error is the one to read.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._arithmetic import Refusal
from riemann._messages.frames import function_called, is_own, is_raised, shortened
from riemann._messages.remedies import BRANCH, GRADIENTS, remedy

Fits = Callable[[Any], bool]
_NORMS = (torch.nn.modules.batchnorm._NormBase, torch.nn.GroupNorm)  # (C, L) is a batch of C to them


def at_one_point(f: Callable[[Tensor], Any], x: Tensor, name: str = "function", fits: Fits = lambda y: True) -> Any:
    """`f(x)` of one point; of a module that only takes batches, of which `fits` tells the right values.

    Raises:
        ValueError: f is not a module, and is written for batches.
    """
    if _asks_for_batches(f) and (y := _of_batch(f, x, name, fits)) is not None:
        return y
    try:
        y = f(x)
    except Exception:
        if (y := _of_batch(f, x, name, fits, only=True)) is None:
            raise
        return y
    return y if fits(y) or (other := _of_batch(f, x, name, fits)) is None else other


def _asks_for_batches(f: Any) -> bool:
    return isinstance(f, torch.nn.Module) and any(isinstance(m, _NORMS) for m in f.modules())


def _of_batch(f: Any, x: Tensor, name: str, fits: Fits, only: bool = False) -> Tensor | None:
    """The value of f for a batch of one point, without its batch axis; None if it does not fit.

    With `only`, of a module that takes nothing else, one that does not fit, too: its shape is what is wrong.
    """
    is_module = isinstance(f, torch.nn.Module)
    try:
        y = f(x.unsqueeze(0))
    except Refusal:
        if is_module:
            raise
        return None
    except Exception:  # the error at the single point is the one to tell
        return None
    if not isinstance(y, Tensor) or y.ndim == 0 or y.shape[0] != 1 or not fits(y.squeeze(0)):
        return y[0] if only and is_module and isinstance(y, Tensor) and y.ndim > 1 and y.shape[0] == 1 else None
    if is_module:
        return y.squeeze(0)
    raise ValueError(
        f"`{name}` is written for a batch: it takes points (1, {x.shape[-1]}) and returns {tuple(y.shape)}. It is to "
        f"take one point of shape ({x.shape[-1]},); give `lambda x: {_named(f)}(x[None])[0]`, or index with "
        "`x[..., i]` in it"
    )


def _named(f: Any) -> str:
    return name if (name := getattr(f, "__name__", "metric")).isidentifier() else "metric"


def explained(error: Exception, x: Tensor | None) -> Exception:
    """The error of a user's function in terms of the user: its own at one point, x, if it fails there, too.

    `_jets.field` has noted on the error what function it was, and what messages call it.
    """
    f, name = getattr(error, "riemann_call", (None, ""))
    if f is None or x is None or isinstance(error, Refusal):
        return shortened(error)
    try:
        f(x.detach().clone())
    except Exception as plain:
        if type(plain).__module__.startswith("torch._dynamo"):  # of `torch.cond`: not what the user has written
            return shortened(
                not_differentiable(name, function_called(plain), plain).with_traceback(plain.__traceback__)
            )
        said = f"`{name}` was called with one point of shape {tuple(x.shape)}, {x.dtype}."
        if "does not require grad" in str(plain):
            said += f" For derivatives inside, {GRADIENTS}."
        return shortened(plain if is_own(plain) else _with(plain, said))
    unknown = isinstance(error, KeyError | AssertionError | NotImplementedError) and not is_own(error)
    if unknown or "inference tensor" in str(error):
        refusal = not_differentiable(name, function_called(error), error)
        return shortened(refusal.with_traceback(error.__traceback__))
    if "TorchScript interpreter" in str(error):  # which drops the message of what is refused inside
        said = f"the {name} does in TorchScript what has no derivatives, or {BRANCH}.\n{str(error).strip()}"
        return shortened(Refusal(said).with_traceback(error.__traceback__))
    return shortened(error)


def not_differentiable(name: str, operation: str | None, error: Exception) -> Refusal:
    """The refusal of what torch does not differentiate, in the function that messages call `name`."""
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    what = f"`{operation}`" if operation else "something"
    return Refusal(
        f"the {name} calls {what}, which torch cannot differentiate here ({reason[:160]}): "
        f"{remedy(operation or '', reason)}."
    )


def _with(error: Exception, sentence: str) -> Exception:
    """The error with a sentence more: in a note, where the message is the user's own, or holds no text."""
    if not is_raised(error) and len(error.args) == 1 and str(error) == error.args[0]:
        error.args = (f"{error.args[0].rstrip()}\n{sentence}",)
    else:
        error.add_note(sentence)
    return error
