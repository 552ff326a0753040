"""Names that a module does not have: which was meant."""

import difflib
import sys


def no_such_name(module: str, name: str) -> AttributeError:
    """The error of a name that a module does not have, with the public name most like it."""
    alike = [] if name.startswith("_") else difflib.get_close_matches(name, dir(sys.modules[module]), n=1)
    hint = f"; did you mean `{alike[0]}`?" if alike else ""
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}")
