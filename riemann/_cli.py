"""The command line: `riemann list`, `riemann show kerr`, `riemann verify kerr`, `riemann verify my_metric.py:g`."""

import argparse
import contextlib
import importlib.util
import inspect
import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from riemann import spaces
from riemann._verification.verify import verify
from riemann.spaces._space import description

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; 0 if all is well, 1 if a metric failed its verification, 2 if nothing could be done."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if "run" not in options:
        parser.print_help()
        return OK
    try:
        return options.run(options)
    except _Usage as error:
        options.command.print_usage(sys.stderr)
        print(f"{options.command.prog}: error: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("riemann: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `riemann list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def run() -> None:
    """The command `riemann`."""
    sys.exit(main())


class _Usage(Exception):
    """What is wrong with the command, for the person who typed it."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="riemann",
        description="Curvature of known spaces and of your metric.",
        epilog="Exit status: 0 all is well; 1 a metric failed its verification; 2 the command makes no sense, or names "
        "no metric; 130 interrupted. Progress goes to standard error.",
    )
    parser.add_argument("--version", action="version", version=f"riemann {sys.modules['riemann'].__version__}")
    commands = parser.add_subparsers(metavar="command")

    def add(name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help)
        command.add_argument("--json", action="store_true", help="print JSON, for programs")
        command.set_defaults(run=run, command=command)
        return command

    command = add("list", _list, "the catalogue, a line each")
    command.add_argument("--dim", type=int, help="spaces of this dimension only, with their default parameters")
    command.add_argument("--filter", metavar="WORD", default="", help="whose name or description holds this")

    command = add("show", _show, "line element and curvature of a space, exactly")
    command.add_argument("space", help="a name of the catalogue (`riemann list`)")
    command.add_argument(
        "parameters",
        nargs="*",
        default=[],
        metavar="name=value",
        help="numbers, names or formulas, as in M=1 a=spin f=x*y",
    )
    command.add_argument("--latex", action="store_true", help="print LaTeX")

    command = add("verify", _verify, "compare computed with exact curvature; status 1 if they differ")
    command.add_argument(
        "metric", help="a name of the catalogue, or FILE.py:FUNCTION; FILE.py alone lists the metrics in the file"
    )
    command.add_argument(
        "parameters", nargs="*", default=[], metavar="name=value", help="numbers, as in M=1 (of the catalogue)"
    )
    command.add_argument("--dim", type=int, help="dimension (of a function)")
    command.add_argument("--at", action="append", metavar="X", help="a point, as in --at 0.5,1.2; may be repeated")
    command.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    command.add_argument("--budget", type=float, default=10.0, metavar="SECONDS", help="for closed forms (10)")
    return parser


# -------------------------------------------------------------------------------------------------------- commands


def _list(options: argparse.Namespace) -> int:
    word = options.filter.lower()
    said = {name: description(getattr(spaces, name)) for name in spaces.names()}
    chosen = [name for name, words in said.items() if word in f"{name} {words}".lower()]
    made = {name: spaces.get(name) for name in chosen} if options.json or options.dim is not None else {}
    if options.dim is not None:
        chosen = [name for name in chosen if made[name].dim == options.dim]
    if options.json:
        keys = "dim", "description", "coordinates", "reference"
        _print_json([{"name": name} | {key: getattr(made[name], key) for key in keys} for name in chosen])
        return OK
    if not chosen:
        raise _Usage("no space of the catalogue is like that; `riemann list` shows all")
    width = max(map(len, chosen))
    for name in chosen:
        print(f"{name:{width}}  {said[name]}")
    return OK


def _show(options: argparse.Namespace) -> int:
    given = _parameters(options.parameters, names=True)
    space = _space(options.space, given)
    for name in space.parameters:  # what has no value given stands as a symbol, where it can
        if name not in given:
            with contextlib.suppress(TypeError, ValueError):
                space = spaces.get(options.space, **(given := {**given, name: name}))
    symbolic = space.symbolic
    if options.latex:
        _progress(f"deriving the curvature of {options.space}")
        latex = symbolic.latex()
        _progress("")
        print(latex)
        return OK
    if options.json:
        _print_json(_shown(space))
        return OK
    print(f"{space.description}\n{_line_element(symbolic)}")
    for name in _SHOWN:
        _progress(f"deriving {name}")
        value = getattr(symbolic, name)()
        _progress("")
        _print(name, value, space.coordinates)
    print(f"reference: {space.reference}")
    return OK


_SHOWN = ("christoffel", "ricci_tensor", "scalar_curvature", "kretschmann_scalar")


def _shown(space: Any) -> dict[str, Any]:
    """What `show` prints: components that are not 0 by their indices, as text that SymPy reads."""
    found: dict[str, Any] = {"description": space.description, "coordinates": list(space.coordinates)}
    for name in ("matrix", *_SHOWN):
        _progress(f"deriving {name}")
        value = space.symbolic.matrix if name == "matrix" else getattr(space.symbolic, name)()
        shape = tuple(map(int, getattr(value, "shape", ())))
        indices = itertools.product(*map(range, shape))
        found[name] = {" ".join(map(str, i)): str(value[i]) for i in indices if value[i] != 0} if shape else str(value)
    _progress("")
    return found | {"reference": space.reference}


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def _line_element(symbolic: Any) -> str:
    """`ds^2 = …`, the terms in the order of the matrix."""
    x = symbolic.coordinates
    pairs = itertools.combinations_with_replacement(range(len(x)), 2)
    terms = (
        f"({(1 if i == j else 2) * symbolic.matrix[i, j]}) " + (f"d{x[i]}^2" if i == j else f"d{x[i]} d{x[j]}")
        for i, j in pairs
        if symbolic.matrix[i, j] != 0
    )
    return "ds^2 = " + " + ".join(terms).replace("(1) ", "")


def _print(name: str, value: Any, coordinates: Sequence[str]) -> None:
    """A quantity, component by component, those that are 0 left out, symmetric pairs once."""
    shape = tuple(map(int, getattr(value, "shape", ())))
    indices = [i for i in itertools.product(*map(range, shape)) if len(i) < 2 or i[-2] <= i[-1]]
    components = {i: value[i] for i in indices if value[i] != 0} if shape else {}
    if shape and components:
        print(f"{name}:")
        for index, entry in components.items():
            print(f"  [{', '.join(coordinates[i] for i in index)}]  {entry}")
    else:
        print(f"{name} = {0 if shape else value}")


_COMPARED = ("quantity", "error", "of_value", "digits_lost", "truth", "ok")


def _verify(options: argparse.Namespace) -> int:
    if options.metric.endswith(".py"):
        found = _metrics_of(options.metric)
        if options.json:
            _print_json([{"metric": f"{options.metric}:{name}", "dim": dim} for name, dim in found])
        else:
            print(f"metrics in {options.metric}; none is verified before you say which:")
            for name, dim in found:
                print(f"  riemann verify {options.metric}:{name} --dim {dim}")
        return USAGE
    if ":" in options.metric:
        if options.parameters:
            raise _Usage(f"{options.metric} takes no name=value; they are for the catalogue")
        metric = _function(options.metric)
    else:
        metric = _space(options.metric, _parameters(options.parameters, names=False))
    dtype = getattr(torch, options.dtype)
    x = None if options.at is None else torch.tensor([_point(text) for text in options.at], dtype=dtype)
    try:
        report = verify(metric, dim=options.dim, x=x, dtype=dtype, budget=options.budget, progress=_progress)
    except (TypeError, ValueError) as error:
        raise _Usage(f"{error}".replace("`dim=`", "`--dim`").replace("`x=`", "`--at`")) from error
    finally:
        _progress("")
    if options.json:
        lines = [{name: getattr(c, name) for name in _COMPARED} for c in report.comparisons]
        _print_json({"ok": report.ok, "failure": report.failure, "notes": report.notes, "comparisons": lines})
        return OK if report.ok else FAILED
    if report.closed_form is not None:
        print(_line_element(report.closed_form))
    print(report)
    return OK if report.ok else FAILED


# ------------------------------------------------------------------------------------------------- what was typed


def _space(name: str, parameters: dict[str, Any]) -> Any:
    try:
        return spaces.get(name, **parameters)
    except (KeyError, TypeError, ValueError) as error:
        raise _Usage(str(error.args[0])) from error


def _parameters(words: Sequence[str], names: bool) -> dict[str, Any]:
    """`M=1 n=3 a=spin f=x*y` as numbers and, if `names` may stand for symbols, text, which the catalogue parses."""
    parameters: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier():
            raise _Usage(f"{word!r} is not a parameter, expected name=value, as in M=1")
        parameters[name] = _number(text)
        if parameters[name] is None:
            if not (names or name in ("chart", "model")):
                raise _Usage(f"{word!r}: {text!r} is not a number")
            parameters[name] = text
    return parameters


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _point(text: str) -> list[float]:
    numbers = [_number(word) for word in text.split(",")]
    if None in numbers:
        raise _Usage(f"{text!r} is not a point, expected numbers with commas between, as in 0.5,1.2")
    return [float(number) for number in numbers if number is not None]


def _function(text: str) -> Callable[..., Any]:
    """The function of `FILE.py:FUNCTION`; the file is imported, nothing of the text is evaluated."""
    path, _, name = text.rpartition(":")
    function = getattr(_imported(path), name, None)
    if not callable(function):
        raise _Usage(f"{path!r} has no function {name!r}; `riemann verify {path}` lists its metrics")
    return function


def _metrics_of(path: str) -> list[tuple[str, int]]:
    """What is a metric in a file, and its dimension: what makes a matrix (n, n) of a point (n,) for some n."""
    module, found = _imported(path), []
    for name, value in vars(module).items():
        if name.startswith("_") or isinstance(value, type) or not callable(value):
            continue
        if inspect.isroutine(value) and value.__module__ != module.__name__:
            continue
        dims = [n for n in range(1, _MOST_DIMENSIONS + 1) if _is_metric(value, n)]
        if dims:
            found.append((name, dims[0] if len(dims) == 1 else dims[1]))
    if not found:
        raise _Usage(f"{path!r} has no function of one point (n,) to a tensor (n, n), n up to {_MOST_DIMENSIONS}")
    return found


_MOST_DIMENSIONS = 6


def _is_metric(function: Callable[..., Any], n: int) -> bool:
    for dtype in (torch.float32, torch.float64):
        try:
            g = function(torch.full((n,), 0.5, dtype=dtype))
        except Exception:  # of another dimension, or no metric
            continue
        if isinstance(g, torch.Tensor) and g.shape == (n, n):
            return True
    return False


def _imported(path: str) -> Any:
    """The module of a file, which is run; nothing of the text on the command line is evaluated."""
    if not Path(path).is_file():
        raise _Usage(f"there is no file {path!r}")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise _Usage(f"{path!r} is not a Python file; expected FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _Usage(f"importing {path!r} raised {type(error).__name__}: {error}") from error
    return module


def _progress(text: str) -> None:
    """Says on standard error what is being done; on a terminal, in one line that is wiped at the end."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)
