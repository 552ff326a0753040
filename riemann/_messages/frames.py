"""Whose line it is: warnings at the line that called us, errors with the user's frames and not with torch's.

Frames are ours if their module is of this package, of its neural layer, of torch, or of what these decorate with.
"""

import dis
import functools
import sys
import types
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_OURS = frozenset(("riemann", "riemann_nn", "torch", "functools", "contextlib", "jaxtyping", "beartype"))


def is_ours(frame: types.FrameType) -> bool:
    """Whether a frame runs code of ours or of torch, and not of a user."""
    return module_of(frame).partition(".")[0] in _OURS


def module_of(frame: types.FrameType) -> str:
    """The name of the module whose code a frame runs."""
    return str(frame.f_globals.get("__name__"))


def warn(message: str) -> None:
    """A warning at the line outside that called us."""
    level, frame = 2, sys._getframe(1)
    while frame is not None and is_ours(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def called() -> str:
    """The function of torch, written in Python, that a user's code is in, with its module; empty if there is none."""
    frame, inner = sys._getframe(1), ""
    while frame is not None and is_ours(frame):
        inner = f"{module_of(frame)}.{frame.f_code.co_name}" if module_of(frame).startswith("torch.") else inner
        frame = frame.f_back
    return inner


def shortened(error: Exception) -> Exception:
    """The error with the frames of users alone; with all where there are none, unless it says itself what is wrong."""
    short = None
    for tb in reversed(_tracebacks(error)):
        if not is_ours(tb.tb_frame):
            short = types.TracebackType(short, tb.tb_frame, tb.tb_lasti, tb.tb_lineno)
    return error if short is None and not _ends_here(error) else error.with_traceback(short)


def shortens(f: Callable[P, T]) -> Callable[P, T]:
    """A function whose errors are `shortened`."""

    @functools.wraps(f)
    def calling(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return f(*args, **kwargs)
        except Exception as error:
            raise shortened(error)  # noqa: B904, it is the same error

    return calling


def is_own(error: Exception) -> bool:
    """Whether an error was raised by a line of this package, which says what is wrong, and not by torch or a user.

    What `at_one_point` and `explained` call is the user's function: it may not take the argument.
    """
    *_, last = (tb.tb_frame for tb in _tracebacks(error))
    return _ends_here(error) and last.f_code.co_name not in ("at_one_point", "explained")


def _ends_here(error: Exception) -> bool:
    """Whether the innermost frame of an error is of this package."""
    *_, last = (tb.tb_frame for tb in _tracebacks(error))
    return module_of(last).partition(".")[0] in ("riemann", "riemann_nn")


def is_raised(error: Exception) -> bool:
    """Whether a `raise` in Python made the error, and not an operation that failed."""
    *_, last = _tracebacks(error)
    return last.tb_frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def function_called(error: Exception) -> str | None:
    """The function of torch that the innermost frame of a user calls, where the error came from."""
    inner = None
    for tb in reversed(_tracebacks(error)):
        if not is_ours(tb.tb_frame):
            return inner
        inner = tb.tb_frame.f_code.co_name if module_of(tb.tb_frame).startswith("torch.") else inner
    return None


def _tracebacks(error: Exception) -> list[types.TracebackType]:
    tb, found = error.__traceback__, []
    while tb is not None:
        found.append(tb)
        tb = tb.tb_next
    return found
