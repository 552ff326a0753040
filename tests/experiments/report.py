"""Writes the tables of `docs/experiments.md` from the results of `tests.experiments.run`; its words are by hand.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`. One whose experiment has not run stays as it is.
"""

import functools
import json
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.experiments.run import EXPERIMENTS, PAGE, ROOT

Results = Any
TABLES: dict[str, tuple[str, Callable[[Results], str]]] = {}  # by their names: the experiment, and what writes it


def table_of(experiment: str, name: str | None = None) -> Callable[[Callable[[Results], str]], Callable[..., str]]:
    """Registers what writes a table."""

    def register(write: Callable[[Results], str]) -> Callable[[Results], str]:
        TABLES[name or experiment] = experiment, write
        return write

    return register


@functools.cache
def script(name: str) -> dict[str, Any]:
    """What a script of `examples/` defines."""
    return runpy.run_path(str(ROOT / f"examples/{name}.py"))


def lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def spread(values: Any, digits: int, factor: float = 1.0) -> str:
    """Mean ± deviation over seeds, or what stands for both in results."""
    if isinstance(values, dict):
        mean, deviation = values["mean"], values.get("std", values.get("half_width"))
    else:
        mean, deviation = np.mean(values), np.std(values, ddof=1)
    return f"{factor * mean:.{digits}f} ± {factor * deviation:.{digits}f}"


def signed(interval: dict[str, float], digits: int, factor: float = 1.0) -> str:
    return f"{factor * interval['mean']:+.{digits}f} ± {factor * interval['half_width']:.{digits}f}"


def short(number: float) -> str:
    """Two digits, as 2.2e-3."""
    if number == 0 or 0.01 <= abs(number) < 100:
        return f"{number:.2g}"
    mantissa, exponent = f"{number:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


# ------------------------------------------------------------------------------------------------------------- tables


@table_of("ndm_from_primitives")
def primitives(rows: Results) -> str:
    said = []
    for weight in dict.fromkeys(row["weight"] for row in rows):
        mine = [row for row in rows if row["weight"] == weight]
        start, end, right = ([row[key] for row in mine] for key in ("before", "after", "accuracy"))
        said.append([f"{weight:g}", f"{np.mean(start):.2f}", spread(end, 3), spread(right, 3)])
    head = ["weight of geometry", r"median of $\lvert S \rvert \sqrt{\det g}$, start", "end", "test accuracy"]
    return lines(head, said)


def ends(rows: Results, which: int) -> list[float]:
    """Medians over seeds of a figure at the start and at the end."""
    return [float(np.median([row["history"][k][which] for row in rows])) for k in (0, -1)]


@table_of("two_moons", "two_moons: article")
def article(results: Results) -> str:
    said = []
    for weight, rows in results["article"].items():
        fired = sum(bool(row["warnings"]) for row in rows)
        signs = ", ".join(dict.fromkeys(sign for row in rows for sign in row["monitor"]))
        change = [" → ".join(map(short, ends(rows, which))) for which in (1, 2)]
        right = spread([row["accuracy"] for row in rows], 4)
        said.append([f"{float(weight):g}", *change, right, f"{fired} of {len(rows)}{': ' * bool(signs)}{signs}"])
    head = [r"$\lambda$", r"mean $\sqrt{\det g}$, start → end", r"median $\lvert S \rvert$, start → end"]
    return lines([*head, "test accuracy", "monitor fires"], said)


@table_of("two_moons", "two_moons: complete")
def complete(results: Results) -> str:
    said = []
    for setting, words in {"easy": "0.1, 400", "hard": "0.3, 60"}.items():
        rows_of = {**results[setting], **results["others"][setting]}
        for name, rows in rows_of.items():
            figures = [
                spread([row[key] for row in rows], digits) for key, digits in (("accuracy", 4), ("test_loss", 3))
            ]
            geometry = (
                [" → ".join(map(short, ends(rows, 1))), short(ends(rows, 3)[1])] if "history" in rows[0] else ["", ""]
            )
            said.append([words, name, *figures, *geometry])
            words = ""
    head = ["noise, labels", "loss, or model", "test accuracy", "test loss", r"mean $\sqrt{\det g}$, start → end"]
    return lines([*head, r"$\lvert S \rvert \sqrt{\det g}$, end"], said)


@table_of("interpretability")
def interpretability(results: Results) -> str:
    names = {"hidden layer": "hidden layer of an MLP", "learned metric": "learned"}
    said = []
    for data in dict.fromkeys(row["data"] for row in results["table"]):
        first = data
        for row in (row for row in results["table"] if row["data"] == data):
            mine = [r["accuracy"] for r in results["runs"] if (r["data"], r["model"]) == (data, row["model"])]
            areas = [f"{m:.2f} ± {h:.2f}" for m, h in (row[k] for k in ("volume", "curvature", "curvature x volume"))]
            said.append([first, names.get(row["model"], row["model"]), *areas, f"{np.mean(mine):.3f}"])
            first = ""
        for kind in results["others"][data][0]:
            said.append(["", kind, "", "", "", f"{np.mean([row[kind] for row in results['others'][data]]):.3f}"])
    head = ["data", "metric", "volume", r"$\lvert K \rvert$", r"$\lvert K \rvert \sqrt{\det g}$", "test accuracy"]
    return lines(head, said)


@table_of("natural_gradient")
def natural_gradient(results: Results) -> str:
    metrics = {"FOOF": "identity", "K-FAC": "exact Fisher recursion"}
    metrics["learned"] = "a network (`MLPCholesky(n, (32,))`) for each layer, fitted to Fisher"
    said = []
    for name, row in results["table"].items():
        figures = [spread(row["steps"], 1), f"{1e3 * row['seconds']['mean']:.0f}", f"{row['accuracy']['mean']:.3f}"]
        less = [signed(row["minus_adam"][key], digits, factor) for key, digits, factor in (
            ("steps", 1, 1), ("seconds", 0, 1e3), ("accuracy", 1, 100)
        )]  # fmt: skip
        said.append([name, metrics.get(name, ""), *figures, *([""] * 3 if name == "Adam" else less)])
    head = ["optimiser", "metric on outputs", "steps", "ms", "test accuracy"]
    return lines([*head, "steps − Adam's", "ms − Adam's", "accuracy − Adam's, points"], said)


@table_of("digits", "digits: errors")
def digits_errors(results: Results) -> str:
    methods = ["MLP", "no penalty", "sampled E[K²]", "exact E[S²]"]
    said = []
    for labels, row in results["table"].items():
        simple = [spread([100 * r[kind] for r in results["others"][labels]], 1) for kind in ("linear", "boosting")]
        said.append([labels, *simple, *(spread(row[name]["error"], 1, 100) for name in methods)])
    return lines(["labels a class", "linear", "boosting", "MLP", "manifold, no penalty", *methods[2:]], said)


@table_of("digits", "digits: pairs")
def digits_pairs(results: Results) -> str:
    pairs = {
        "sampled − none": ("sampled E[K²]", "no penalty"), "exact − none": ("exact E[S²]", "no penalty"),
        "none − MLP": ("no penalty", "MLP"), "sampled − MLP": ("sampled E[K²]", "MLP"),
        "exact − MLP": ("exact E[S²]", "MLP"),
    }  # fmt: skip
    of = lambda row, a, b: signed(row[a][f"minus {b}"], 1, 100)
    said = [[labels, *(of(row, *pair) for pair in pairs.values())] for labels, row in results["table"].items()]
    return lines(["labels a class", *pairs], said)


@table_of("calibration")
def calibration(results: Results) -> str:
    return script("calibration")["table"](results)


@table_of("discovery")
def discovery(results: Results) -> str:
    return script("discovery")["table"](results)


def generation(data: str, part: str, results: Results) -> str:
    said = script("generation")["table"](results[data], part)
    return said.replace(f"| {part} |", f"| {data} |", 1)


for data in ("roll", "digits"):
    for part in ("densities", "sampling", "paths"):
        table_of("generation", f"generation: {data}, {part}")(functools.partial(generation, data, part))


@table_of("continual")
def continual(results: Results) -> str:
    names = {"nothing": "no penalty", "learned": "learned"}
    said = []
    for name, row in results["table"].items():
        figures = [spread(row["accuracy"], 1, 100), f"{100 * row['when_learned']['mean']:.1f}"]
        ours = "" if name == "learned" else signed(results["table"]["learned"]["accuracy minus"][name], 1, 100)
        said.append([names.get(name, name), *figures, spread(row["forgetting"], 1, 100), ours])
    return lines(["g", "at the end", "when learned", "forgetting", "learned − it, at the end"], said)


@table_of("einstein")
def einstein(results: Results) -> str:
    names = {"S^4": "half of $S^4$", "H^3": "ball of $H^3$", "Schwarzschild": "Schwarzschild"}
    said = []
    for name, words in names.items():
        row = results[name]
        kinds = ("Adam", "L-BFGS", "Levenberg-Marquardt")
        start = "flat" if name == "Schwarzschild" else short(row["curves"]["Levenberg-Marquardt"][0][1])
        of = [short(row["rms"][kind]) for kind in kinds]
        of = [f"**{text}**" if kind == row["best"] else text for kind, text in zip(kinds, of, strict=True)]
        said.append([words, str(row["parameters"]), f"{row['processor_seconds']:g}", start, *of])
    head = ["problem", "parameters", "seconds each", "start", "Adam", "L-BFGS", "Levenberg-Marquardt"]
    return lines(head, said)


@table_of("ricci_flow")
def ricci_flow(results: Results) -> str:
    worst, rows = results["worst"], results["rows"]
    said = [
        [r"$\int K = 4 \pi$ (Gauss-Bonnet)", f"relative error at most {short(worst['gauss_bonnet'])}"],
        ["the area is A - 8 π t", f"relative error at most {short(worst['area_error'])}, down to "
         f"{100 * rows[-1]['area'] / rows[0]['area']:.0f}% of the area"],
        ["K over its mean goes to 1 (Hamilton, Chow)", "from {K_min:.2f} ... {K_max:.2f}".format(**rows[0])
         + " to {K_min:.3f} ... {K_max:.3f}".format(**rows[-1])],
    ]  # fmt: skip
    run = f"{results['parameters']} parameters, {results['steps']} steps, {results['processor_seconds']:.0f} s"
    return lines(["theory", f"measured, {run}"], said)


@table_of("claims", "claims: matching Ricci")
def matching_ricci(results: Results) -> str:
    rows = results["matching Ricci"]["table"]
    said = [["nothing" if name == "none" else name, f"{row['strength']:g}", spread(row["energy_distance"], 3),
             "" if name == "none" else signed(row["minus_none"], 3)] for name, row in rows.items()]  # fmt: skip
    return lines(["penalty keeps", "strength", "energy distance", "minus none"], said)


def runs(found: dict[str, dict[str, Any]]) -> str:
    """What was run, where, and what it cost."""
    said = []
    for name, kept in found.items():
        run = kept["run"]
        seconds = f"{run['processor seconds']:.0f}" if "processor seconds" in run else "cut"
        command = " ".join([f"{EXPERIMENTS[name][2] or name}.py", *run["arguments"]])
        said.append([f"`{command}`", seconds, run["revision"], run["date"]])
    machines = {f"{kept['run']['processor']}, torch {kept['run']['torch']}" for kept in found.values()}
    head = ["script", "processor seconds", "revision of the libraries", "date"]
    return lines(head, said) + f"\n\nOne thread of: {'; '.join(sorted(machines))}."


# --------------------------------------------------------------------------------------------------------- the page


def page(text: str, found: dict[str, dict[str, Any]]) -> str:
    """The text with its tables written anew."""
    written = {name: write(found[of]["results"]) for name, (of, write) in TABLES.items() if of in found}
    if found:
        written["runs"] = runs(found)

    def new(match: re.Match[str]) -> str:
        name = match[1]
        if name != "runs" and name not in TABLES:
            raise ValueError(f"the page has a table {name!r}, which nothing writes")
        return f"<!-- table: {name} -->\n\n{written.get(name, match[2])}\n\n<!-- end -->"

    return re.sub(r"<!-- table: (.*?) -->\n\n(.*?)\n\n<!-- end -->", new, text, flags=re.DOTALL)


def results_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Results by experiment, of full runs."""
    files = {name: folder / f"{name}.json" for name in EXPERIMENTS}
    kept = {name: json.loads(path.read_text()) for name, path in files.items() if path.exists()}
    return {name: of for name, of in kept.items() if isinstance(of, dict) and not of.get("run", {"quick": 1})["quick"]}


def main(folder: Path) -> None:
    path = ROOT / "docs/experiments.md"
    path.write_text(page(path.read_text(), results_of(folder)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE)
