"""The catalogue: spaces with a name, each a metric that can be called, with its exact form and what is known of it.

Every entry comes from one symbolic line element; torch code is generated from it. What `facts` holds is proven by the
tests, on the exact and on the numeric side.
"""

import difflib
from typing import Any

from riemann.spaces._forms import euclidean as euclidean
from riemann.spaces._forms import flat_torus as flat_torus
from riemann.spaces._forms import hyperbolic as hyperbolic
from riemann.spaces._forms import space_form as space_form
from riemann.spaces._forms import sphere as sphere
from riemann.spaces._space import ENTRIES as _ENTRIES
from riemann.spaces._space import Space as Space
from riemann.spaces._surfaces import catenoid as catenoid


def names() -> tuple[str, ...]:
    """Names of all entries, sorted.

    Example:
        >>> from riemann import spaces
        >>> spaces.names()[:3]
        ('alcubierre', 'anti_de_sitter', 'bardeen')
    """
    return tuple(sorted(_ENTRIES))


def get(name: str, *args: Any, **arguments: Any) -> Space:
    """The entry of a name, made with the arguments of its function.

    Raises:
        ValueError: there is no such entry; the message names those with a name alike.

    Example:
        >>> from riemann import spaces
        >>> spaces.get("sphere", n=3).dim
        3
    """
    if name not in _ENTRIES:
        alike = difflib.get_close_matches(str(name), _ENTRIES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(alike)}?" if alike else "`spaces.names()` lists them all"
        raise ValueError(f"there is no space called {name!r}; {hint}")
    return _ENTRIES[name](*args, **arguments)
