"""`dir` shows public names, all of them and no other; a misspelt one says which was meant."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import riemann as rm
import riemann_nn as rn
from riemann import plot

PACKAGES = [rm, rm.metrics, rm.spaces, rm.symbolic, rm.bridge, plot, rn]
MODULES = [rm.formulas, rm.conventions, rm.metrics.elementwise, rm.metrics.configuration]


@pytest.mark.parametrize("package", PACKAGES + MODULES, ids=lambda p: p.__name__)
def test_dir_is_all(package):
    lazy = {"NDMClassifier", "NDMRegressor"} & set(dir(package))  # an import of everything needs no scikit-learn
    assert dir(package) == sorted({*package.__all__, *lazy}) and len(set(package.__all__)) == len(package.__all__)
    for name in package.__all__:
        assert not name.startswith("_") and getattr(package, name) is not None


@pytest.mark.parametrize(
    "package, name, meant",
    [(rm, "ricci_tenso", "ricci_tensor"), (rm, "plots", "plot"), (rm.metrics, "Conforml", "Conformal"),
     (rm.spaces, "schwarzshild", "schwarzschild"), (rm.symbolic, "SymbolicMetrik", "SymbolicMetric"),
     (rm.bridge, "to_toch", "to_torch"), (plot, "surfaces", "surface"), (rn, "MetricNets", "MetricNet"),
     (rm.formulas, "ricci_tensr", "ricci_tensor"), (rm.conventions, "convrt", "convert"),
     (rn, "ricci_tensor", "riemann.ricci_tensor")],
)  # fmt: skip
def test_a_misspelt_name(package, name, meant):
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'; did you mean `{meant}`"):
        getattr(package, name)


def test_names_are_those_of_the_contract():
    assert {"at", "route", "QUANTITIES", "bach_tensor", "plot", "spaces", "symbolic", "bridge"} <= set(dir(rm))
    assert {"sphere", "get", "names", "Space"} <= set(dir(rm.spaces)) and "light_rays" in dir(plot)
    assert not {"import_module", "torch", "TYPE_CHECKING", "difflib", "Any"} & {n for p in PACKAGES for n in dir(p)}


def test_modules_with_plain_names_are_all_here():
    found = [m.name for p in (rm, rn) for m in pkgutil.walk_packages(p.__path__, f"{p.__name__}.")]
    plain = [name for name in found if "._" not in name]
    assert {*plain} <= {m.__name__ for m in PACKAGES + MODULES} | {"riemann.__main__"}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_what_a_module_defines_is_in_its_list(module):
    defined = {name for name, f in vars(module).items() if getattr(f, "__module__", None) == module.__name__}
    assert {name for name in defined if name[0] != "_"} <= {*module.__all__}


def test_everything_can_be_imported_at_once():
    script = "from riemann import *; from riemann_nn import *; from riemann.spaces import *; print(MetricNet, torus)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "riemann_nn.MetricNet" in result.stdout, result.stderr


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_all_is_complete(package):
    """What an `__init__` imports under its own name, `from room import name as name`, is in `__all__`."""
    tree = ast.parse(Path(package.__file__).read_text())
    imports = [a for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names]
    names = [a.asname for a in imports if a.asname == a.name and a.name[0] != "_"]
    assert set(names) <= set(dir(package)), set(names) - set(dir(package))
