"""Work that is given so much time."""

import signal
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import Any


class _Stopped(BaseException):
    """Time is up."""


def within(seconds: float, work: Callable[[], None]) -> bool:
    """Runs `work`, which calls SymPy, and stops it at the first call of a function after `seconds`.

    Returns:
        Whether it came to its end.
    """
    deadline = time.monotonic() + seconds
    tracer = sys.gettrace()

    def look_at_the_clock(frame: types.FrameType, event: str, argument: Any) -> None:
        if time.monotonic() > deadline and frame.f_globals.get("__name__", "").startswith(("sympy.", "riemann.")):
            caller = frame.f_back.f_globals.get("__name__") if frame.f_back else None
            if caller != "weakref":  # what is raised in a finalizer goes nowhere
                raise _Stopped

    def start_looking(*_: Any) -> None:
        sys.settrace(look_at_the_clock)

    alarm = _alarm_is_free()  # looking makes work several times slower, so an alarm tells when to begin
    if alarm:
        handler = signal.signal(signal.SIGALRM, start_looking)
        signal.setitimer(signal.ITIMER_REAL, min(max(seconds, 1e-6), 1e8))  # three years, for infinity
    else:
        start_looking()
    try:
        work()
    except _Stopped:
        return False
    finally:
        if alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
        sys.settrace(tracer)
    return True


def _alarm_is_free() -> bool:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        return False
    return signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0) and signal.getsignal(signal.SIGALRM) is not None
