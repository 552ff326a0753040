"""The rules of the house hold, and the tools that enforce them catch a planted violation."""

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PUBLIC = {
    "__init__.py",
    "conventions.py",
    "formulas.py",
    "bridge",
    "plot",
    "symbolic",
    "metrics",
    "spaces",
    "__main__.py",
}


def run(*command, cwd=ROOT):
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=cwd)


def test_modules_are_underscored_so_that_they_do_not_shadow_functions():
    for path in (ROOT / "riemann").iterdir():
        assert path.name in PUBLIC | {"py.typed", "__pycache__"} or path.name.startswith("_"), path


def test_long_files_say_why():
    for path in (p for package in ("riemann", "riemann_nn") for p in (ROOT / package).rglob("*.py")):
        lines = path.read_text().splitlines()
        table = path.parent.name == "spaces"  # of spaces, one entry after the other
        assert len(lines) <= 400 or table or any("therefore long" in line for line in lines[:12]), path


def test_the_plan_of_the_house_names_every_folder():
    plan = (ROOT / "CONTRIBUTING.md").read_text()
    for package in ("riemann", "riemann_nn"):
        for path in (ROOT / package).iterdir():
            assert not (path / "__init__.py").exists() or path.name in plan, path


def test_types_ship():
    assert (ROOT / "riemann" / "py.typed").exists() and (ROOT / "riemann_nn" / "py.typed").exists()


def test_the_top_level_holds_no_other_folder():
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if listed.returncode:
        pytest.skip("not a checkout")
    folders = {line.split("/")[0] for line in listed.stdout.splitlines() if "/" in line}
    assert folders <= {"riemann", "riemann_nn", "tests", "docs", "examples", ".ci"}


@pytest.mark.parametrize("line", ["import torch.func", "from torch.func import jvp", "from torch.autograd import grad",
                                  "import torch\ntorch.func.vmap", "import torch\ntorch.autograd.grad",
                                  "from torch._functorch.eager_transforms import jvp"])  # fmt: skip
def test_a_second_room_that_differentiates_is_caught(line, tmp_path):
    shutil.copytree(ROOT / "riemann", tmp_path / "riemann", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert run("ruff", "check", "--select", "TID251", "riemann", cwd=tmp_path).returncode == 0
    with open(tmp_path / "riemann" / "formulas.py", "a") as planted:
        planted.write(f"\n{line}\n")
    result = run("ruff", "check", "--select", "TID251", "riemann", cwd=tmp_path)
    assert result.returncode == 1 and "only riemann/_jets.py differentiates" in result.stdout


def test_backward_is_called_in_the_rooms_that_the_decision_names():
    calls = {
        str(path.relative_to(ROOT))
        for package in ("riemann", "riemann_nn")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "backward"
    }
    assert calls - {"riemann/_jets.py"} == {"riemann_nn/_estimators/estimators.py", "riemann_nn/_optim/observer.py"}


@pytest.mark.parametrize(
    "module, line, contract",
    [
        ("symbolic/_metric.py", "import torch", "knows nothing of the numeric side"),
        ("symbolic/_metric.py", "from riemann import formulas", "knows nothing of the numeric side"),
        ("formulas.py", "from riemann._curvature import ricci_tensor", "one staircase"),
        ("_jets.py", "import riemann_nn", "does not know its neural layer"),
        ("../riemann_nn/__init__.py", "from riemann._metric import judged", "takes public names"),
        ("../riemann_nn/_fields/smooth.py", "from riemann_nn._losses.means import mixed", "neural layer has one stair"),
        ("_calculus/lie.py", "from riemann._curvature import ricci_tensor", "one staircase"),  # a room beside it
        ("_anywhere.py", "import math", "one staircase"),  # a room on no step
    ],
)
def test_an_import_against_the_rules_is_caught(module, line, contract, tmp_path):
    for package in ("riemann", "riemann_nn"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with open(tmp_path / "riemann" / module, "a") as planted:
        planted.write(f"\n{line}\n")
    command = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as c; c()"
    result = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [text for text in result.stdout.splitlines() if "BROKEN" in text]
    assert any(contract in text for text in broken), result.stdout


def test_every_private_room_but_the_shared_one_is_closed_to_the_neural_layer():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (closed,) = (c["forbidden_modules"] for c in contracts if "takes public names" in c["name"])
    rooms = {path.stem for path in (ROOT / "riemann").iterdir() if path.name[0] == "_" and path.name[1] != "_"}
    assert {f"riemann.{room}" for room in rooms - {"_shared"}} == {*closed}


def test_importing_riemann_loads_no_more_than_torch_does():
    script = "import {}, sys; print(sorted(m for m in ('sympy', 'mpmath', 'matplotlib', 'scipy') if m in sys.modules))"
    torch, riemann = (
        subprocess.run([sys.executable, "-c", script.format(name)], capture_output=True, text=True, check=True).stdout
        for name in ("torch", "riemann")
    )
    assert riemann == torch
