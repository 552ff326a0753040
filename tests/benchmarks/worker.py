"""A side of a comparison in a process of its own, pinned to one core: it loads a problem and times itself on request.

Run as a script in the side's environment (standard library and numpy only), it answers requests, one a line.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent.parent
SIDES = Path(__file__).parent / "sides"
COMPARED = 1000  # points at most whose values are compared
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "1",
    "GEOMSTATS_BACKEND": "pytorch",
}


def problem(side: str, name: str) -> Callable[..., Callable[[], Any]]:
    """A problem of a side, found by their names."""
    spec = importlib.util.spec_from_file_location(f"side_{side}", SIDES / f"{side}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def values(result: Any) -> np.ndarray:
    """What is compared of a result: an array, of its first points, all components."""
    result = result.full() if hasattr(result, "full") else result
    return np.atleast_1d(np.asarray(result))[:COMPARED].astype(float)


def seconds(work: Callable[[], Any]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def memory(key: str) -> int:
    """A figure of this process in bytes: `VmRSS`, what it holds, or `VmHWM`, the most that it has held."""
    return 1024 * int(re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


class Worker:
    """A process that works for a side.

    Args:
        side: name of a file of `sides/`.
        core: where it runs.

    Raises:
        RuntimeError: the side has no environment, or its process failed; the message has its words.
    """

    def __init__(self, side: str, core: int):
        python = Path(sys.executable) if side == "riemann" else ROOT / ".peers" / side / "bin" / "python"
        if not python.exists():
            raise RuntimeError(f"`{side}` has no environment: run `make .peers/{side}/ready`")
        self.side, self.files = side, tempfile.TemporaryDirectory()
        command = [str(python), "-P", __file__, side, str(core)]
        # A kernel of OpenBLAS that somebody chose for older builds is not what a current one would choose.
        inherited = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
        environment = inherited | ONE_THREAD | {"PYTHONPATH": str(ROOT) if side == "riemann" else ""}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, bufsize=1
        )

    def _ask(self, **request: Any) -> Any:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        answer = json.loads(self.process.stdout.readline() or f'{{"error": "ended with {self.process.poll()}"}}')
        if "error" in answer:
            raise RuntimeError(f"{self.side}: {answer['error']}")
        return answer["answer"]

    def load(self, name: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Prepares a problem, works it once, and returns its values."""
        where = Path(self.files.name)
        np.savez(where / "arrays.npz", **arrays)
        self._ask(do="load", name=name, arrays=str(where / "arrays.npz"), values=str(where / "values.npy"))
        return np.load(where / "values.npy")

    def time(self, warm: bool = True) -> float:
        """Seconds of one call, after another one that is not timed if `warm`."""
        return self._ask(do="time", warm=warm)

    def memory(self) -> int:
        """Bytes at the peak of a call, over what was held before the first one."""
        return self._ask(do="memory")

    def versions(self) -> dict[str, str]:
        """Versions of what the side installs."""
        return self._ask(do="versions")

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.files.cleanup()


def serve(side: str, core: int) -> None:
    """Answers requests on standard input until it ends; whatever the side prints goes to standard error."""
    os.sched_setaffinity(0, {core})
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    work, held = (lambda: None), 0
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = None
            match request["do"]:
                case "load":
                    with np.load(request["arrays"]) as arrays:
                        work = problem(side, request["name"])(**arrays)
                    held = memory("VmRSS")
                    np.save(request["values"], values(work()))
                case "time":
                    if request["warm"]:
                        work()
                    answer = seconds(work)
                case "memory":
                    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
                    work()
                    answer = memory("VmHWM") - held
                case "versions":
                    lines = re.findall(r"^# pip install (.*)$", (SIDES / f"{side}.py").read_text(), re.M)
                    names = [re.split("[=<>]", word)[0] for line in lines for word in line.split()]
                    answer = {name: importlib.metadata.version(name) for name in names}
            reply = {"answer": answer}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serve(sys.argv[1], int(sys.argv[2]))
