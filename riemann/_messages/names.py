"""Names that a module does not have: which was meant."""

import difflib
import sys


def no_such_name(module: str, name: str) -> AttributeError:
    """The error of a name that a module does not have, with the public name most like it."""
    public = [known for known in vars(sys.modules[module]) if not known.startswith("_")]
    alike = [] if name.startswith("_") else difflib.get_close_matches(name, public, n=1)
    hint = f"; did you mean `{alike[0]}`?" if alike else ""
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}")
