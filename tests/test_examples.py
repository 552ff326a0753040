"""The examples run and say that their numbers agree."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(example, tmp_path):
    environment = {**os.environ, "RIEMANN_QUICK": "1", "MPLBACKEND": "Agg"}
    result = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "WRONG" not in result.stdout


@pytest.mark.slow
def test_a_conserved_quantity_at_full_size(tmp_path):
    """Where a net that saw pieces of one size first stopped in a poor minimum."""
    example = next(path for path in EXAMPLES if path.stem == "conserved_quantity")
    environment = {name: value for name, value in os.environ.items() if name != "RIEMANN_QUICK"}
    result = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200
    )
    assert result.returncode == 0 and result.stdout.endswith("agrees\n"), result.stdout + result.stderr


@pytest.mark.slow
def test_two_processes_give_the_results_of_one(tmp_path):
    example = next(path for path in EXAMPLES if path.stem == "distributed_curvature")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(example)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("equal to one process") == 2 and "WRONG" not in result.stdout
