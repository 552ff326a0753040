"""Our docstrings have one `Example:`, which mkdocstrings draws as code only where the word is `Examples:`."""

import re
from typing import Any

from griffe import Extension, Object


class Examples(Extension):
    """Renames the section while the sources are read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called by griffe with each object."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.M)
