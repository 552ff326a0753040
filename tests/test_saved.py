"""What version 0.1.0 saved loads, and says what it said; what is saved now names public packages only."""

import importlib.util
import io
import pickle
import pickletools
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import riemann as rm
import riemann_nn as rn
from riemann._moved import MOVED, RENAMED
from tests.helpers import assert_equal

ELEMENTWISE = "riemann.metrics.elementwise"
SAVED = Path(__file__).parent / "saved"


def test_models_of_0_1_0_load():
    saved = torch.load(SAVED / "0.1.0.pt", weights_only=False)
    x, truth = saved["x"], saved["truth"]
    assert isinstance(saved["manifold"], rn.NeuralDifferentialManifold)
    assert_equal(saved["manifold"](x)[0], truth.pop("manifold"))
    for name, curvature in truth.items():
        assert type(saved[name]) in (rn.MetricNet, rn.MLPCholesky)
        assert_equal(rm.scalar_curvature(saved[name], x), curvature)
    assert rm.scalar_curvature.route(saved["product"]) != "generic"
    assert isinstance(saved["evolution"], rn.EvolutionLoss) and isinstance(saved["loss"], rn.CurvatureLoss)


def test_records_of_0_1_0_load():
    saved = pickle.loads((SAVED / "0.1.0.pickle").read_bytes())
    x = torch.tensor([0.7, 0.2], dtype=torch.float64)
    assert rm.scalar_curvature(saved["space"], torch.tensor([0.0, 5.0, 1.0, 0.0], dtype=x.dtype)).abs() < 1e-12
    assert_equal(saved["snapshot"].scalar_curvature(), torch.full((3,), 2.0, dtype=x.dtype))
    assert_equal(saved["compiled"](x), torch.tensor(2.0, dtype=x.dtype))
    assert saved["exact"].scalar_curvature() == 2 and saved["check"].ok
    assert saved["components"].full().shape == (3, 2, 2, 2, 2)
    for name, kind in {"estimate": rm.Estimate, "geodesic": rm.Geodesic, "snapshot": rm.LocalGeometry}.items():
        assert type(saved[name]) is kind


def test_layers_of_functions_and_logarithms_of_0_1_0_load():
    saved = pickle.loads((SAVED / "0.1.0.layer.pickle").read_bytes())
    assert_equal(saved["layer"](saved["x"]), saved["image"])
    assert type(saved["logarithm"]) is rm.Logarithm
    assert_equal(saved["logarithm"].checked(), saved["logarithm"].velocities)


def test_every_old_place_has_a_new_one():
    for old, new in MOVED.items():
        assert importlib.util.find_spec(new), f"{old} is said to be {new}"
    for module, name in RENAMED.values():
        assert isinstance(getattr(importlib.import_module(module), name), type), f"{module}.{name}"


def test_a_fresh_process_loads_them_without_an_import_of_ours():
    script = "import pickle, sys; print(type(pickle.load(open(sys.argv[1], 'rb'))['snapshot']).__name__)"
    result = subprocess.run([sys.executable, "-c", script, SAVED / "0.1.0.pickle"], capture_output=True, text=True)
    assert result.stdout == "LocalGeometry\n", result.stderr


def test_a_name_that_is_no_more_is_an_error():
    with pytest.raises(AttributeError, match="Nothing"):
        pickle.loads(b"criemann._geometry\nNothing\n.")
    with pytest.raises(ModuleNotFoundError):
        pickle.loads(b"criemann._never_there\nNothing\n.")


@pytest.mark.parametrize("package", [rm, rm.metrics, rm.spaces, rm.symbolic, rm.bridge, rn], ids=lambda p: p.__name__)
def test_public_classes_belong_to_their_package(package):
    classes = [value for name in package.__all__ if isinstance(value := getattr(package, name), type)]
    home = {rn.MLPCholesky: "riemann.metrics", **dict.fromkeys((rn.Bounded, rn.BoundedExp, rn.Softplus), ELEMENTWISE)}
    assert classes and all(kind.__module__ == home.get(kind, package.__name__) for kind in classes)


def test_what_is_saved_now_survives_another_move():
    net = rn.MLPCholesky(2, (3,)).double()
    named = {arg.split()[0] for op, arg, _ in pickletools.genops(pickle.dumps(net, 0)) if op.name == "GLOBAL"}
    assert not {name for name in named if name.startswith("riemann") and name.count("._")} - {
        "riemann_nn._fields.smooth"
    }
    buffer = io.BytesIO()
    torch.save(rm.metrics.Product((net, 2), (rm.metrics.Constant(), 1)), buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    assert rm.scalar_curvature.route(loaded) == "riemann.metrics._product.scalar_curvature"
