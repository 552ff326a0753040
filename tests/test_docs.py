"""Every block of Python in the README and the docs runs, and prints what the block of text after it shows.

Blocks of a page share their names.
"""

import contextlib
import io
import re
from pathlib import Path

import matplotlib
import pytest
import torch

matplotlib.use("Agg")
ROOT = Path(__file__).parent.parent
PAGES = [
    path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if "```python" in path.read_text()
]

BLOCK = r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?"


def words(text):
    """What was printed, without how errors of rounding came out: numbers below 1e-9 are 0."""
    return [re.sub(r"^-?\d(\.\d+)?e-(09|[1-9]\d)$", "0", word) for word in text.split()]


@pytest.mark.filterwarnings("ignore:.*jit:DeprecationWarning")  # of geoopt
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for block, shown in re.findall(BLOCK, page.read_text(), flags=re.S):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, str(page), "exec"), names)
        if shown:
            assert words(printed.getvalue()) == words(shown)
    assert torch.get_default_dtype() == torch.float32
