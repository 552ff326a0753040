"""Writes the page of the benchmarks from their JSON: `python -m tests.benchmarks.report [folder]`, else of `docs`."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib

from tests.benchmarks.measures import exponent, spread

Row = dict[str, Any]
LARGE = 16  # dimensions from which on growth is fitted; below, what a call costs is mostly fixed
AXES = {"n": "dimension n", "points": "points"}

HEAD = """# What curvature costs

Generated from `benchmarks.json` by `make bench`. One pinned thread a side, float64 where nothing else is said. Every
side gets the same weights and points, and values are compared before times: the largest difference is in the table. The
sides work in turn, A-B-A-B, each in its own process; a short call has one before it that is not timed. A cell holds the
median time of a call; in brackets riemann's time divided by the peer's: the median of the ratios of neighbouring
measurements, and their quartiles. Memory is the peak of a call in a fresh process above what it held before the first
call, with the weights and points in place. *generic* is riemann itself on the same metric as a plain function: no
structure is known. *compiled* is `riemann.compile`. Compilation is not part of any time.
"""

REPEAT = """
## To repeat

```
make bench            # sets up riemann and each peer in an environment of its own; some 15 minutes
make bench QUICK=1    # few rounds, no long cases, to .benchmarks/: to see that everything works
```

A run is refused while other processes use the machine. `BUSY=1` measures all the same, and the page says so.
"""


def page(results: dict[str, Any], images: str = "img") -> str:
    """The text of the page."""
    rows, parts = results["rows"], [HEAD]
    environment = results["environment"]
    targets = [target for row in rows for target in row["targets"]]
    missed = [f"- {row['group']}, {row['title']}: {_target(t)}" for row in rows for t in row["targets"] if not t["met"]]
    parts.append(f"\n**{len(targets) - len(missed)} of {len(targets)} targets are met.**")
    parts.append(" Not met:\n\n" + "\n".join(missed) + "\n" if missed else "\n")
    for flag, words in {
        "busy": "Other processes were at work during the run: take these figures as rough.",
        "quick": "A quick run of few rounds: take these figures as rough.",
    }.items():
        parts.append(f"\n!!! warning\n    {words}\n" * environment[flag])
    for group in dict.fromkeys(row["group"] for row in rows):
        mine = [row for row in rows if row["group"] == group]
        parts += [f"\n## {group}\n\n", _table(mine)]
        if axis := next(iter(mine[0]["per"]), None):
            parts += [_growth(mine, axis), f"\n![{group}]({images}/benchmarks-{axis}.svg)\n"]
    if results["failed"]:
        parts.append("\n## Not measured\n\n")
        parts += [f"- `{case}`: {why}\n" for case, why in results["failed"].items()]
    parts += ["\n## The machine\n\n", _environment(environment), REPEAT]
    return "".join(parts)


def _table(rows: list[Row]) -> str:
    peers = list(dict.fromkeys(name for row in rows for name in row["ratios"]))
    extra = {
        "memory": any(row["bytes"] for row in rows),
        "difference": bool(peers),
        "target": any(row["targets"] for row in rows),
    }
    head = ["case", "riemann", *peers, *(name for name, there in extra.items() if there)]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        memory = ", ".join(f"{name} {_bytes(b)}" for name, b in row["bytes"].items())
        difference = f"{max(row['difference'].values()):.0e}" if row["difference"] else ""
        cells = {"memory": memory, "difference": difference, "target": "; ".join(map(_target, row["targets"]))}
        mine = _seconds(spread(row["seconds"]["riemann"]).median)
        theirs = [_beside(row, name) if name in row["ratios"] else "" for name in peers]
        lines.append([row["title"], mine, *theirs, *(cells[name] for name, there in extra.items() if there)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _beside(row: Row, name: str) -> str:
    low, median, high = row["ratios"][name]
    return f"{_seconds(spread(row['seconds'][name]).median)} ({median:.3g} × [{low:.3g}, {high:.3g}])"


def _target(target: dict[str, Any]) -> str:
    of, most, got = target["of"], target["at_most"], target["got"]
    verdict = "met" if target["met"] else "**not met**"
    if of in ("seconds", "bytes"):
        say = _seconds if of == "seconds" else _bytes
        return f"{say(got)}, at most {say(most)}: {verdict}"
    name = "the faster peer" if of == "fastest" else of
    return f"{got:.3g} ×, at most {most:.3g} × {name}: {verdict}"


def _growth(rows: list[Row], axis: str) -> str:
    """How the time grows with the dimension; with the number of points it only becomes linear, which the plot shows."""
    if axis != "n":
        return ""
    fits = []
    for name, (n, seconds) in _curves(rows, axis).items():
        large = [(size, time) for size, time in zip(n, seconds, strict=True) if size >= LARGE]
        if len(large) > 2:
            p, error = exponent(*zip(*large, strict=True))
            fits.append(f"{name} $n^{{{p:.2f} \\pm {error:.2f}}}$ (n = {large[0][0]} to {large[-1][0]})")
    if not fits:
        return ""
    return f"\nTime grows as: {'; '.join(fits)}. Least squares of logarithms, with the standard error of the fit.\n"


def _curves(rows: Iterable[Row], axis: str) -> dict[str, tuple[list[float], list[float]]]:
    """Median seconds of each side over an axis."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for row in sorted(rows, key=lambda row: row["per"][axis]):
        for name, seconds in row["seconds"].items():
            sizes, medians = curves.setdefault(name, ([], []))
            sizes.append(row["per"][axis])
            medians.append(spread(seconds).median)
    return curves


def plots(results: dict[str, Any], folder: Path) -> None:
    """Writes a log-log plot over each axis."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    for axis, label in AXES.items():
        rows = [row for row in results["rows"] if axis in row["per"]]
        if not rows:
            continue
        with plt.rc_context({"svg.hashsalt": axis, "svg.fonttype": "none", "font.size": 10}):
            figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
            for name, (sizes, medians) in _curves(rows, axis).items():
                axes.loglog(sizes, medians, "o-", label=name)
            axes.set(xlabel=label, ylabel="seconds a call", title=rows[0]["group"].replace(": ", ":\n"))
            marks = sorted({row["per"][axis] for row in rows})
            axes.set_xticks(marks, [f"{mark:,}" for mark in marks])
            axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
            axes.grid(alpha=0.3)
            axes.legend()
            figure.savefig(folder / f"benchmarks-{axis}.svg", metadata={"Date": None})
            plt.close(figure)


def _environment(environment: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    lines = {
        "processor": f"{environment['processor']}, {environment['cores']} cores, of which each side uses one",
        "system": environment["system"],
        "other processes": "at work" if environment["busy"] else "none",
        "versions": versions,
        "revision": f"{environment['revision']}, {environment['date']}",
    }
    return "".join(f"- {name}: {value}\n" for name, value in lines.items())


def _seconds(seconds: float) -> str:
    scale, unit = next(((s, u) for s, u in ((1, "s"), (1e-3, "ms")) if seconds >= s), (1e-6, "µs"))
    return f"{seconds / scale:.3g} {unit}"


def _bytes(count: float) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{max(count, 0) / 1e6:.0f} MB"


def write(folder: Path) -> None:
    """Writes `benchmarks.md` and its plots beside `benchmarks.json`."""
    results = json.loads((folder / "benchmarks.json").read_text())
    plots(results, folder / "img")
    (folder / "benchmarks.md").write_text(page(results))


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
