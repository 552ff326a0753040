"""What type checkers say of a user's script: the real signatures, and the mistakes in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RIGHT = """
import torch
import riemann as rm
import riemann_nn as rn
from torch import Tensor


def g(x: Tensor) -> Tensor:
    return torch.eye(2, dtype=x.dtype) / x[1] ** 2


x = torch.ones(3, 2)
reveal_type(rm.scalar_curvature)
here: rm.LocalGeometry = rm.at(g, x, order=3)
ricci: Tensor = rm.ricci_tensor(g, x, indices="ul") + here.ricci_tensor("ul")
report: rm.VerificationReport = rm.verify(g, dim=2)
v: Tensor = rm.log_map(g, x, x) + rm.exp_map(g, x, x, rtol=1e-6)
found: rm.Logarithm = rm.log_map(g, x, x, throw=False, restarts=1)
length: Tensor | rm.Logarithm = rm.distance(g, x, x, throw=False)
mean: Tensor = rm.frechet_mean(g, x)
carried: rm.Transport = rm.holonomy(g, lambda t: torch.stack([t, t]), throw=False)
way: str = rm.ricci_tensor.route(g)
net = rn.MetricNet(2)
value: Tensor = net(x) + rm.ricci_tensor(net, x) + rn.CoordinateLayer(2)(x) + rm.metrics.MLPCholesky(2)(x)
output, charts = rn.NeuralDifferentialManifold(2, [3], 2)(x)
loss: Tensor = output.sum() + rn.CurvatureLoss(net)(x) + charts[0].coordinates.sum()
"""
WRONG = {
    "rm.ricci_tensor(x, g)": "Tensor",
    "rm.ricci_tensor(g, x, indices=4)": "str",
    "rm.ricci_tensor(g, x, position='ul')": "position",
    "rm.ricci_tenso(g, x)": "ricci_tenso",
    "rm.log_map(g, x, x, throw=False).abs()": "abs",
    "rm.exp_map(g, x, x, rtoll=1e-6)": "exp_map",
    "here.ricci_tenso()": "ricci_tenso",
    "rm.metrics.Conforml": "Conforml",
    "rm.spaces.spher(2)": "spher",
    "rn.MetricNets(2)": "MetricNets",
    "net(2)": "Tensor",
}


def run(*command, cwd):
    here = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=here).stdout


@pytest.fixture
def script(tmp_path):
    (tmp_path / "script.py").write_text(RIGHT + "\n".join(WRONG) + "\n")
    return tmp_path


def check(lines):
    """The mistakes, each at its line, and nothing else; the signature."""
    first = RIGHT.count("\n") + 1
    found = [(int(line.split(":")[1]), line) for line in lines if "script.py:" in line and "error" in line]
    assert {number for number, _ in found} == set(range(first, first + len(WRONG))), "\n".join(lines)
    for number, word in enumerate(WRONG.values(), first):
        assert any(word in line for at, line in found if at == number)
    (revealed,) = [line for line in lines if "OpenFunction" in line and ("evealed" in line or "Type of" in line)]
    assert "metric" in revealed and "chunk_size" in revealed and "Tensor" in revealed


def test_pyright(script):
    pyright = shutil.which("pyright", path=Path(sys.executable).parent)
    if not pyright:
        pytest.skip("pyright is not installed")
    (script / "pyrightconfig.json").write_text(f'{{"extraPaths": ["{ROOT}"]}}')
    check(run(pyright, "--pythonpath", sys.executable, "script.py", cwd=script).splitlines())


@pytest.mark.slow
def test_mypy(script):
    pytest.importorskip("mypy")
    (script / "mypy.ini").write_text(f"[mypy]\nmypy_path = {ROOT}\nfollow_imports = silent\n")
    check(run(sys.executable, "-m", "mypy", "--strict", "script.py", cwd=script).splitlines())


@pytest.mark.parametrize("package", ["riemann", "riemann_nn"])
def test_types_are_complete(package):
    pyright = shutil.which("pyright", path=Path(sys.executable).parent)
    if not pyright:
        pytest.skip("pyright is not installed")
    text = run(pyright, "--verifytypes", package, "--ignoreexternal", cwd=ROOT)
    score = next(line for line in text.splitlines() if "completeness score" in line)
    assert float(score.split()[-1].rstrip("%")) >= 98, text
