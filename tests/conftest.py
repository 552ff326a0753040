"""Options, the fixtures that every test has, and which tests take long."""

import os
from pathlib import Path

import jaxtyping
import pytest
import torch

os.environ.setdefault("MPLBACKEND", "Agg")
LONG = {*(Path(__file__).parent / "long.txt").read_text().splitlines()}  # cases of seconds: they are part of the sweep


def _of_what_is_made_once(jaxtyped):
    """The shape checker, but for closures: they have no shapes, and to wrap them at each call took half of the time."""

    def decorator(*args, **options):
        wrap = jaxtyped(*args, **options)
        return lambda f: f if "<locals>" in getattr(f, "__qualname__", "") else wrap(f)

    return decorator


jaxtyping.jaxtyped = _of_what_is_made_once(jaxtyping.jaxtyped)


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="device on which points live: cpu, cuda")
    parser.addoption("--part", default="1/1", help="k/m: the k-th of m parts, every m-th of the tests")


def pytest_collection_modifyitems(config, items):
    """The sweep begins with the examples: each takes long, and the last ones would leave the other worker idle."""
    for item in items:
        if item.nodeid in LONG:
            item.add_marker("slow")
    part, parts = map(int, config.getoption("--part").split("/"))
    chosen = items[part % parts :: parts]
    if parts > 1:
        config.hook.pytest_deselected(items=[item for k, item in enumerate(items) if (k - part) % parts])
    if config.option.markexpr == "slow":
        chosen.sort(key=lambda item: item.path.name != "test_examples.py")
    items[:] = chosen


@pytest.fixture
def device(request):
    return torch.device(request.config.getoption("--device"))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace):
    import riemann

    doctest_namespace["torch"] = torch
    doctest_namespace.update({name: getattr(riemann, name) for name in dir(riemann) if not name.startswith("_")})
