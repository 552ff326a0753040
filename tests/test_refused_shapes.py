"""What torch does not take of a plain tensor, riemann does not take of a point: torch's own table of wrong inputs."""

import pytest
import torch
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import ErrorInput, OpInfo
from torch.utils._pytree import tree_flatten, tree_unflatten

from riemann import jet

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

OPERATIONS = [op for op in op_db if op.supports_autograd and op.error_inputs_func is not None]
EMPTY = {"reshape", "view"}  # of no numbers: any shape of none will do


def errors(op: OpInfo) -> list[ErrorInput]:
    try:
        return list(op.error_inputs("cpu"))
    except Exception:  # some need another machine
        return []


def is_moved(leaf: object) -> bool:
    plain = isinstance(leaf, Tensor) and leaf.layout == torch.strided and leaf.device.type == "cpu"
    return plain and leaf.is_floating_point() and not leaf.requires_grad


@pytest.mark.parametrize("op", OPERATIONS, ids=lambda op: f"{op.name}.{op.variant_test_name}")
def test_wrong_inputs(op: OpInfo) -> None:
    for wrong in errors(op):
        sample = wrong.sample_input
        leaves, spec = tree_flatten((sample.input, sample.args, sample.kwargs))
        if not any(map(is_moved, leaves)) or (op.name in EMPTY and 0 in sample.input.shape):
            continue

        def f(x: Tensor, leaves: list = leaves, spec: object = spec) -> Tensor:
            now = [leaf.double() + 0.01 * x[0] if is_moved(leaf) else leaf for leaf in leaves]
            input, args, kwargs = tree_unflatten(now, spec)
            found = tree_flatten(op.op(input, *args, **kwargs))[0]
            return sum(y.abs().double().sum() for y in found if isinstance(y, Tensor)) + 0 * x[0]

        x = torch.ones(1, dtype=torch.float64)
        try:
            f(x)
        except Exception:
            with pytest.raises(Exception):  # noqa: B017, of whatever kind torch's is
                jet(f, x, 1)
