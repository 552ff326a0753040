"""Looks at every page of the built site in Chromium, from file://: `python docs/website/check.py SITE CHROMIUM`.

No error on the console, nothing loaded from elsewhere, no LaTeX left in the text, no picture missing, no code cut off
at 1,280 pixels, no page wider than a telephone, every link to the site leads somewhere, and search finds.
"""

import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Page, sync_playwright

QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --allow-file-access-from-files"
).split()

LOOK = r"""() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  const latex = []
  while (texts.nextNode()) {
    const text = texts.currentNode
    if (text.parentElement.closest("code, pre, script, style")) continue
    const found = text.data.match(/\\[A-Za-z]+|\\[()[\]]|\$[^$]+\$/)
    if (found) latex.push(found[0])
  }
  return {
    latex,
    cut: [...document.querySelectorAll("pre > code")]
      .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
      .map(e => e.innerText.split("\n").reduce((a, b) => b.length > a.length ? b : a).trim().slice(0, 60)),
    lost: [...document.images].filter(e => e.checkVisibility() && e.complete && !e.naturalWidth).map(e => e.src),
    links: [...document.querySelectorAll("a[href]")].map(e => e.href),
    ids: [...document.querySelectorAll("[id], a[name]")].map(e => e.id || e.name),
  }
}"""


def faults(page: Page, paths: list[Path]) -> list[str]:
    """What is wrong with the pages, a line each."""
    found, links, ids = [], {}, {}
    here = ""
    page.on("console", lambda message: message.type == "error" and found.append(f"{here}: console: {message.text}"))
    page.on("pageerror", lambda error: found.append(f"{here}: {error}"))
    page.on("requestfailed", lambda request: found.append(f"{here}: {request.url} did not load"))
    page.on(
        "request",
        lambda request: request.url.startswith("http") and found.append(f"{here}: asks for {request.url}"),
    )
    for path in paths:
        here = path.name if path.parent.name == "site" else f"{path.parent.name}/{path.name}"
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(path.as_uri(), wait_until="load")
        page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
        page.evaluate("Promise.all([...document.images].map(e => (e.loading = 'eager', e.decode().catch(() => 0))))")
        seen = page.evaluate(LOOK)
        found += [f"{here}: LaTeX in the text: {text}" for text in seen["latex"]]
        found += [f"{here}: code is cut off: {text} ..." for text in seen["cut"]]
        found += [f"{here}: no picture {source}" for source in seen["lost"]]
        links[path], ids[path] = seen["links"], set(seen["ids"])
        page.set_viewport_size({"width": 400, "height": 900})
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append(f"{here}: wider than 400 pixels")
    for path, targets in links.items():
        for target in set(targets):
            url = urlsplit(target)
            file = Path(unquote(url.path))
            if url.scheme == "file" and not file.is_file():
                found.append(f"{path.name}: {target} leads nowhere")
            elif url.scheme == "file" and file in ids and url.fragment and unquote(url.fragment) not in ids[file]:
                found.append(f"{path.name}: {target} is no place of that page")
    return found


def search_faults(page: Page, home: Path) -> list[str]:
    """Whether search finds a function, without a server."""
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(home.as_uri())
    page.fill(".md-search__input", "ricci_tensor")
    try:
        page.wait_for_selector(".md-search-result__link", timeout=15_000)
    except Exception:
        return ["search for ricci_tensor finds nothing"]
    return []


def main(site: str, chromium: str) -> int:
    """Prints the faults of the site; 1 if there are any."""
    paths = sorted(path for path in Path(site).resolve().rglob("*.html") if path.name != "404.html")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_page()
        found = faults(page, paths) + search_faults(browser.new_page(), Path(site).resolve() / "index.html")
        browser.close()
    print(*found, f"{len(paths)} pages looked at, {len(found)} faults", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
