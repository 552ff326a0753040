"""What the code of a page prints and draws is put under it while the site is built, and kept until code changes."""

import contextlib
import hashlib
import io
import pickle
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent.parent
KEPT = ROOT / "build" / "outputs"
SHOWN = ("index.md", "training.md", "tutorials/")  # the pages whose outputs are shown
BLOCK = re.compile(r"^```python\n(.*?)^```\n", re.M | re.S)
WRITTEN = re.compile(rf"({BLOCK.pattern})(\n```text\n.*?^```\n)?", BLOCK.flags)  # and what a page says that it prints
BELOW: dict[str, list[str]] = {}  # page: what is to stand under each of its blocks


def run(text: str, name: str) -> Iterator[tuple[str, list[bytes]]]:
    """For each block of Python, in one namespace: what it printed, and the figures it left, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import torch

    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in BLOCK.findall(text):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, name, "exec"), names)
        pictures = []
        for number in plt.get_fignums():
            picture = io.BytesIO()
            plt.figure(number).savefig(picture, dpi=120, bbox_inches="tight")
            pictures.append(picture.getvalue())
        plt.close("all")
        yield printed.getvalue(), pictures


def kept(text: str, name: str) -> list[tuple[str, list[bytes]]]:
    """`run`, or what it gave for the same page and the same sources."""
    sources = sorted(path for package in ("riemann", "riemann_nn") for path in (ROOT / package).rglob("*.py"))
    digest = hashlib.sha256(text.encode() + b"".join(path.read_bytes() for path in [Path(__file__), *sources]))
    path = KEPT / digest.hexdigest()
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            outputs = list(run(text, name))
        KEPT.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(outputs))
    return pickle.loads(path.read_bytes())


def on_files(files: Any, config: Any) -> None:
    """Called by mkdocs before pages are read: their pictures have to be files of the site."""
    BELOW.clear()
    for file in list(files.documentation_pages()):
        if not file.src_uri.startswith(SHOWN):
            continue
        try:
            outputs = kept(file.content_string, file.src_uri)
        except Exception as error:
            raise PluginError(f"the code of {file.src_uri} failed: {error!r}") from error
        below = BELOW[file.src_uri] = []
        up = "../" * file.src_uri.count("/")
        for block, (printed, pictures) in enumerate(outputs):
            shown = f"\n``` {{ .text .output }}\n{printed.rstrip()}\n```\n" if printed else ""
            for number, content in enumerate(pictures):
                name = f"img/outputs/{Path(file.src_uri).stem}-{block}-{number}.png"
                files.append(File.generated(config, name, content=content))
                shown += f"\n![what the code above draws]({up}{name})\n"
            below.append(shown)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs with the source of each page."""
    below = iter(BELOW.get(page.file.src_uri, ()))

    def shown(block: re.Match[str]) -> str:
        printed = next(below, "")
        return block[1] + printed if printed else block[0]

    return WRITTEN.sub(shown, markdown)
