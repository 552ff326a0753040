"""Names that a module does not have: which was meant."""

import difflib
import sys
from collections.abc import Callable, Sequence
from typing import Any

_PLACES = "riemann", "riemann.metrics", "riemann.spaces", "riemann.symbolic", "riemann.bridge", "riemann_nn"


def no_such_name(module: str, name: str) -> AttributeError:
    """The error of a name that a module does not have, with its place in another, or the public name most like it."""
    public = (
        {} if name.startswith("_") else {m: dir(sys.modules[m]) for m in sys.modules if m in _PLACES or m == module}
    )
    elsewhere = [f"{other}.{name}" for other, names in public.items() if name in names]
    alike = elsewhere or difflib.get_close_matches(name, public.get(module, []), n=1)
    hint = f"; did you mean `{alike[0]}`?" if alike else ""
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}")


def only(module: str, names: Sequence[str]) -> tuple[Callable[[], list[str]], Callable[[str], Any]]:
    """`__dir__` and `__getattr__` of a module that shows its public names only, and says which one was meant."""

    def missing(name: str) -> Any:
        raise no_such_name(module, name)

    return lambda: sorted(names), missing
