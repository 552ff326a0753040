"""The command line: what it prints, its exit status, and that it evaluates nothing that is typed."""

import json
import subprocess
import sys

import pytest

from riemann import _cli
from riemann._cli import FAILED, OK, USAGE, main

METRICS = """
import torch

def half_plane(x):
    return torch.eye(2) / x[1] ** 2

def refused(x):
    return torch.eye(2) * float(x[0])

number = 3
"""


@pytest.fixture
def metrics(tmp_path):
    path = tmp_path / "my_metrics.py"
    path.write_text(METRICS)
    return str(path)


def test_list(capsys):
    assert main(["list"]) == OK
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 25 and any(line.startswith("kerr ") for line in lines)


def test_show(capsys):
    assert main(["show", "schwarzschild"]) == OK
    out = capsys.readouterr().out
    assert "kretschmann_scalar = 48*M**2/r**6" in out and "ricci_tensor = 0" in out and "dtheta^2" in out
    assert main(["show", "schwarzschild", "M=2"]) == OK
    assert "kretschmann_scalar = 192/r**6" in capsys.readouterr().out
    assert main(["show", "sphere", "n=2", "--latex"]) == OK
    assert r"\Gamma^{\theta}_{\phi \phi}" in capsys.readouterr().out


def test_verify_a_space(capsys):
    assert main(["verify", "sphere", "n=3"]) == OK
    out, err = capsys.readouterr()
    assert "riemann_tensor" in out and "ds^2" in out and "point 1 of 8" in err


def test_verify_a_function(metrics, capsys):
    assert main(["verify", f"{metrics}:half_plane", "--dim", "2"]) == OK
    assert "closed form" in capsys.readouterr().out
    assert main(["verify", f"{metrics}:half_plane", "--at", "0.5,1.5", "--at", "0,2", "--dtype", "float32"]) == OK
    assert "2 points in 2 dimensions, float32" in capsys.readouterr().out
    assert main(["verify", f"{metrics}:refused", "--dim", "2"]) == FAILED
    assert "FAIL" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command, words",
    [
        (["verify", "ker"], "kerr"),
        (["verify", "kerr", "M=1+1"], "is not a number"),
        (["verify", "kerr", "M=__import__('os')"], "is not a number"),
        (["verify", "kerr", "b=1"], "b"),
        (["verify", "kerr", "M"], "expected name=value"),
        (["show", "sphere", "n=0"], "n"),
        (["verify", "nowhere.py:g"], "no file"),
        (["verify", "{metrics}:absent", "--dim", "2"], "no function 'absent'"),
        (["verify", "{metrics}:number", "--dim", "2"], "no function 'number'"),
        (["verify", "{metrics}:half_plane"], "--dim"),
        (["verify", "{metrics}:half_plane", "--at", "1,a"], "is not a point"),
        (["verify", "{metrics}:half_plane", "M=1", "--dim", "2"], "for the catalogue"),
    ],
)
def test_what_makes_no_sense(command, words, metrics, capsys):
    assert main([word.format(metrics=metrics) for word in command]) == USAGE
    out, err = capsys.readouterr()
    assert words in err and "Traceback" not in err


def test_a_file_that_raises(tmp_path, capsys):
    path = tmp_path / "broken.py"
    path.write_text("raise RuntimeError('not today')")
    assert main(["verify", f"{path}:g", "--dim", "2"]) == USAGE
    assert "RuntimeError: not today" in capsys.readouterr().err


def test_as_a_module():
    result = subprocess.run([sys.executable, "-m", "riemann", "verify", "torus"], capture_output=True, text=True)
    assert result.returncode == OK and "kretschmann_scalar" in result.stdout
    usage = subprocess.run([sys.executable, "-m", "riemann", "fly"], capture_output=True, text=True)
    assert usage.returncode == USAGE and "invalid choice" in usage.stderr


def test_a_bare_call_helps_and_the_version_is_told(capsys):
    assert main([]) == OK
    out = capsys.readouterr().out
    assert "verify" in out and "Exit status: 0" in out
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out.startswith("riemann ")


def test_list_some(capsys):
    assert main(["list", "--dim", "4", "--filter", "black"]) == OK
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("kerr ") for line in lines) and not any(line.startswith("sphere") for line in lines)
    assert main(["list", "--dim", "3", "--json"]) == OK
    entries = json.loads(capsys.readouterr().out)
    assert entries and all(entry["dim"] == 3 for entry in entries)
    assert main(["list", "--filter", "nothing like it"]) == USAGE


def test_json(metrics, capsys):
    assert main(["show", "sphere", "n=2", "radius=1", "--json"]) == OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["scalar_curvature"] == "2" and shown["matrix"]["0 0"] == "1"
    assert main(["verify", f"{metrics}:half_plane", "--dim", "2", "--json"]) == OK
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] and {line["quantity"] for line in report["comparisons"]} >= {"riemann_tensor"}


def test_the_metrics_of_a_file(metrics, tmp_path, capsys):
    assert main(["verify", metrics]) == USAGE  # nothing is verified
    out = capsys.readouterr().out
    assert f"riemann verify {metrics}:half_plane --dim 2" in out and "number" not in out
    assert main(["verify", metrics, "--json"]) == USAGE
    assert {"metric": f"{metrics}:half_plane", "dim": 2} in json.loads(capsys.readouterr().out)
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1")
    assert main(["verify", str(empty)]) == USAGE
    assert "no function of one point" in capsys.readouterr().err


def test_errors_show_the_usage_of_their_command(capsys):
    assert main(["verify", "ker"]) == USAGE
    err = capsys.readouterr().err
    assert err.startswith("usage: riemann verify") and "riemann verify: error: " in err


@pytest.mark.parametrize("command, missing", [("verify", "metric"), ("show", "space")])
def test_only_what_is_missing_is_asked_for(command, missing, capsys):
    with pytest.raises(SystemExit):
        _cli._parser().parse_args([command])
    assert capsys.readouterr().err.rstrip().endswith(f"are required: {missing}")
