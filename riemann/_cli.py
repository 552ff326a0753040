"""The command line: `riemann list`, `riemann show kerr`, `riemann verify kerr`, `riemann verify my_metric.py:g`."""

import argparse
import contextlib
import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from riemann import spaces
from riemann._verification.verify import verify

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; 0 if all is well, 1 if a metric failed its verification, 2 if the command makes no sense."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except _Usage as error:
        print(f"riemann: {error}", file=sys.stderr)
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
    parser = argparse.ArgumentParser(prog="riemann", description="Curvature of known spaces and of your metric.")
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("list", help="the catalogue, a line each")
    command.set_defaults(run=_list)

    command = commands.add_parser("show", help="line element and curvature of a space, exactly")
    command.add_argument("space", help="a name of the catalogue (`riemann list`)")
    command.add_argument(
        "parameters", nargs="*", metavar="name=value", help="numbers, names or formulas, as in M=1 a=spin f=x*y"
    )
    command.add_argument("--latex", action="store_true", help="print LaTeX")
    command.set_defaults(run=_show)

    command = commands.add_parser("verify", help="compare computed with exact curvature; status 1 if they differ")
    command.add_argument("metric", help="a name of the catalogue, or FILE.py:FUNCTION")
    command.add_argument("parameters", nargs="*", metavar="name=value", help="numbers, as in M=1 (of the catalogue)")
    command.add_argument("--dim", type=int, help="dimension (of a function)")
    command.add_argument("--at", action="append", metavar="X", help="a point, as in --at 0.5,1.2; may be repeated")
    command.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    command.add_argument("--budget", type=float, default=10.0, metavar="SECONDS", help="for closed forms (10)")
    command.set_defaults(run=_verify)
    return parser


# -------------------------------------------------------------------------------------------------------- commands


def _list(options: argparse.Namespace) -> int:
    width = max(map(len, spaces.names()))
    for name in spaces.names():
        print(f"{name:{width}}  {spaces.get(name).description}")
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
    print(f"{space.description}\n{_line_element(symbolic)}")
    for name in ("christoffel", "ricci_tensor", "scalar_curvature", "kretschmann_scalar"):
        _progress(f"deriving {name}")
        value = getattr(symbolic, name)()
        _progress("")
        _print(name, value, space.coordinates)
    print(f"reference: {space.reference}")
    return OK


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


def _verify(options: argparse.Namespace) -> int:
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
            raise _Usage(f"{word!r} is no parameter, expected name=value, as in M=1")
        parameters[name] = _number(text)
        if parameters[name] is None:
            if not (names or name in ("chart", "model")):
                raise _Usage(f"{word!r}: {text!r} is no number")
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
        raise _Usage(f"{text!r} is no point, expected numbers with commas between, as in 0.5,1.2")
    return [float(number) for number in numbers if number is not None]


def _function(text: str) -> Callable[..., Any]:
    """The function of `FILE.py:FUNCTION`; the file is imported, nothing of the text is evaluated."""
    path, _, name = text.rpartition(":")
    if not Path(path).is_file():
        raise _Usage(f"there is no file {path!r}")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise _Usage(f"{path!r} is no Python file; expected FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _Usage(f"importing {path!r} raised {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise _Usage(f"{path!r} has no function {name!r}")
    return function


def _progress(text: str) -> None:
    """Says on standard error what is being done; on a terminal, in one line that is wiped at the end."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)
