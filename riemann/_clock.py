"""Work that is given so much time.

SymPy has no limit of time of its own, and nothing that Python offers to stop it belongs to us alone: an alarm and a
tracer are the program's. So the work runs in a thread of ours, for which the caller waits; when time is up, Python
raises an exception in that thread, and in no other. What is in C then (the factors of a huge polynomial) is waited for
a second more, and then left to end by itself: nobody takes its result any more.

What runs here must not differentiate: an exception that starts at any line may not start inside torch's engine.
"""

import contextlib
import contextvars
import ctypes
import gc
import sys
import threading
from collections.abc import Callable, Collection

GRACE = 1.0  # seconds until a thread that was told to stop is left alone
PAUSE = 0.01  # until it is told again


class _Stopped(SystemExit):
    """Time is up; of the exceptions that a thread may end with in silence."""


def within(seconds: float, work: Callable[[], None]) -> bool:
    """Runs `work`, which calls SymPy, for `seconds` at most; raises what it raises.

    Returns:
        Whether it came to its end.
    """
    raised: list[BaseException] = []
    collecting: set[int] = set()  # threads that collect garbage just now

    def note(phase: str, info: dict[str, int]) -> None:
        (collecting.add if phase == "start" else collecting.discard)(threading.get_ident())

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="riemann", daemon=True)
    gc.callbacks.append(note)
    try:
        thread.start()
        thread.join(min(seconds, threading.TIMEOUT_MAX))
    finally:  # an interrupt of the caller, too
        stopped = thread.is_alive()
        if stopped:
            _stop(thread, collecting)
        with contextlib.suppress(ValueError):  # who has emptied the list
            gc.callbacks.remove(note)
    if raised and not isinstance(raised[0], _Stopped):
        raise raised[0]
    return not (stopped or raised)


def _stop(thread: threading.Thread, collecting: Collection[int]) -> None:
    """Has `_Stopped` raised in a thread, where it is SymPy that runs: in a finalizer it would go nowhere.

    SymPy's is the last frame of a thread that collects garbage, too, while memory is freed that does not need Python.
    """
    turns, ident, tell = round(GRACE / PAUSE), thread.ident or 0, ctypes.pythonapi.PyThreadState_SetAsyncExc
    told = ctypes.c_ulong(ident), ctypes.py_object(_Stopped)
    for turn in range(turns):
        frame = sys._current_frames().get(ident)  # who waits for its turn goes on right there
        place, module = (frame.f_lasti, frame.f_globals.get("__name__", "")) if frame else (-1, "")
        is_ours, now = module.split(".")[0] in ("sympy", "mpmath"), sys._current_frames()
        # a call may let the thread go on: after the last one it has to be where it was
        is_there = ident in now and now[ident] is frame and frame.f_lasti == place and ident not in collecting
        if (is_ours and is_there) or turn == turns - 1:
            tell(*told)
        del frame, now
        thread.join(PAUSE)
        if not thread.is_alive():
            return
