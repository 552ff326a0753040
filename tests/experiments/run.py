"""Runs the experiments at their full settings: `python -m tests.experiments.run [names]`, all of them by default.

Each is a script of `examples/`; its results are kept in `docs/img/experiments` with the revision, the machine and the
processor seconds, and its pictures beside them. `--collect` keeps what scripts have written so far, without running
them: the long ones write after each of their parts.
"""

import argparse
import datetime
import json
import os
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/img/experiments"
LONG = ["--problems", "S^4", "--optimisers", "Levenberg-Marquardt", "--seconds", "300"]

# Name: arguments of the script that has this name, unless the third says which, and its pictures by those of the page.
EXPERIMENTS: dict[str, tuple[list[str], dict[str, str], str]] = {
    "two_moons": ([], {"collapse": "article", "moons": "scale-free"}, ""),
    "interpretability": ([], {"interpretability": "boundary"}, ""),
    "continual": ([], {"continual": "forgetting"}, ""),
    "digits": ([], {"digits": "errors"}, ""),
    "natural_gradient": ([], {}, ""),
    "calibration": ([], {}, ""),
    "einstein": ([], {"einstein": "einstein"}, ""),
    "einstein_long": (LONG, {}, "einstein"),
    "ricci_flow": ([], {"ricci_flow": "ricci_flow"}, ""),
    "claims": ([], {}, ""),
    "ndm_from_primitives": ([], {"primitives": "manifold"}, ""),
    "conserved_quantity": ([], {}, ""),
    "generation": (["--seeds", "5"], {}, ""),
    "discovery": (["--seeds", "10"], {}, ""),
}


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def environment() -> dict[str, Any]:
    """Where the run takes place. The revision is the last that changed the libraries, whatever the pages say since."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    libraries = ("--", "riemann", "riemann_nn")
    return {
        "revision": git("log", "-1", "--format=%h", *libraries) + ", changed" * bool(git("diff", "HEAD", *libraries)),
        "date": datetime.date.today().isoformat(),
        "processor": model[1] if model else platform.machine(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": 1,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def run(name: str, build: Path, quick: bool) -> dict[str, Any]:
    """Runs one, and says where, how, and what it cost."""
    arguments, _, script = EXPERIMENTS[name]
    where = environment() | {"quick": quick}
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    keep = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    keep |= {"RIEMANN_QUICK": "1"} if quick else {}
    command = [sys.executable, str(ROOT / f"examples/{script or name}.py")]
    if name != "conserved_quantity":  # which says what it finds, and has no options
        command += [*arguments, "--out", str(build)]
    build.mkdir(parents=True, exist_ok=True)
    about = build / "about.json"
    about.write_text(json.dumps(where | {"arguments": arguments, "returned": None}))
    with (build / "said.txt").open("w") as said:
        code = subprocess.run(command, cwd=build, env=keep, stdout=said).returncode
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime
    where |= {"arguments": arguments, "returned": code, "processor seconds": round(seconds, 1)}
    about.write_text(json.dumps(where))
    return where


def collect(name: str, build: Path, to: Path) -> None:
    """Keeps the results and the pictures of one; what it said where it has no results."""
    found, said = build / "results.json", (build / "said.txt").read_text()
    results = json.loads(found.read_text()) if found.exists() else said.splitlines()
    about = json.loads((build / "about.json").read_text())
    (to / f"{name}.json").write_text(json.dumps({"run": about, "results": results}, indent=1) + "\n")
    for here, there in EXPERIMENTS[name][1].items():
        if (picture := build / f"{there}.png").exists():
            Image.open(picture).convert("RGB").quantize(256).save(to / f"{here}.png", optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *EXPERIMENTS], default=[])
    parser.add_argument("--to", type=Path, default=PAGE)
    parser.add_argument("--quick", action="store_true", help="to see that everything works; --to another folder")
    parser.add_argument("--collect", action="store_true", help="keep what was written so far, without running")
    options = parser.parse_args()
    if options.quick and options.to == PAGE:
        parser.error("quick figures are not for the page: give --to another folder")
    options.to.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in options.names or EXPERIMENTS:
        build = ROOT / "build/experiments" / name
        if not options.collect:
            about = run(name, build, options.quick)
            said = (build / "said.txt").read_text()
            failed += [name] * bool(about["returned"] or "WRONG" in said)
            print(f"{name}: {about['processor seconds']} s of processor time", flush=True)
        if (build / "about.json").exists():
            collect(name, build, options.to)
    if failed:
        sys.exit(f"failed, or WRONG: {', '.join(failed)}; see said.txt in build/experiments")


if __name__ == "__main__":
    main()
