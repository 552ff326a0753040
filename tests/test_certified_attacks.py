"""Metrics that invite a false proof: kinks, jumps, poles, dead branches, networks, scales."""

import pytest
import torch
from torch.nn import functional

import riemann as rm


def with_entries(f):
    """A metric by one function."""
    return lambda x: torch.diag(torch.stack([torch.exp(f(x) / 4), 2 + f(x) ** 2]))


def layers(*parts):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 6), *parts, torch.nn.Linear(6, 1)).double()
    return with_entries(lambda x: model(x)[0])


def iterated(x):
    y = x[0]
    for k in range(5):
        y = torch.sin(y) + 0.1 * k * x[1]
    return y


def filled(x):
    g = torch.zeros(2, 2, dtype=x.dtype)
    g[0, 0], g[1, 1] = 1 + x[0] ** 2, 2 + x[1] ** 2
    g[0, 1] = g[1, 0] = x[0] * x[1] / 4
    g += torch.eye(2)
    return g


SMOOTH = {
    "a power of a float": (with_entries(lambda x: x[0] ** 3.0), ((-1, 1), (0, 1))),
    "filled in place": (filled, ((-1, 1), (0, 1))),
    "a loop": (with_entries(iterated), ((0, 0.2), (0, 0.2))),
    "a constant in single precision": (with_entries(lambda x: torch.tensor(0.1) * x[0] ** 2), ((0, 0.2), (0, 0.2))),
    "gelu": (layers(torch.nn.GELU()), ((-0.1, 0.1), (-0.1, 0.1))),
    "layer norm": (layers(torch.nn.Tanh(), torch.nn.LayerNorm(6)), ((0, 0.05), (0, 0.05))),
    "softmax": (
        with_entries(lambda x: torch.softmax(torch.stack([x[0], x[1], x[0] * x[1]]), 0)[0]), ((0, 0.2), (0, 0.2)),
    ),
    "NaN in a dead branch": (
        with_entries(lambda x: torch.where(x[0] > 0.5, x[0].sqrt(), (x[0] - 5).log())), ((0.6, 0.8), (0, 1)),
    ),
    "a product with zeros": (with_entries(lambda x: torch.stack([x[0], x[1], x[0]]).prod()), ((-0.1, 0.1),) * 2),
}  # fmt: skip
UNKNOWN = {
    "a kink": (lambda x: x[0].abs(), ((-1, 1), (0, 1))),
    "a kink of the third derivative": (lambda x: x[0].abs() ** 3, ((-1, 1), (0, 1))),
    "a minimum": (lambda x: torch.minimum(x[0], x[1]), ((0, 1), (0, 1))),
    "a clamp": (lambda x: x[0].clamp(-0.5, 0.5), ((-1, 1), (0, 1))),
    "a pole": (lambda x: 1 / x[0], ((-1, 1), (0, 1))),
    "0 / 0": (lambda x: x[0] / x[0], ((-1, 1), (0, 1))),
    "a root at 0": (lambda x: x[0].sqrt(), ((0, 1), (0, 1))),
    "a root of a square": (lambda x: (x[0] ** 2).sqrt(), ((-1, 1), (0, 1))),
    "a norm at 0": (lambda x: x.norm(), ((-0.4, 0.8), (-0.4, 0.4))),
    "a sign": (lambda x: x[0].sign(), ((-0.4, 0.8), (0, 1))),
    "NaN in a live branch": (lambda x: torch.where(x[0] > 0.5, x[0], (x[0] - 5).log()), ((0.4, 0.8), (0, 1))),
    "one point apart": (
        lambda x: torch.where(x[0] == 0, torch.ones_like(x[0]), torch.sin(x[0]) / x[0]), ((-0.4, 0.8), (0, 1)),
    ),
    "hardtanh": (lambda x: functional.hardtanh(2 * x[0]), ((-0.4, 0.8), (0, 1))),
    "elu": (lambda x: functional.elu(x[0]), ((-0.4, 0.8), (0, 1))),
    "where softplus ends": (lambda x: functional.softplus(x[0], beta=10), ((1.9, 2.1), (0, 1))),
    "pooling": (
        lambda x: functional.max_pool1d(torch.stack([x[0], x[1], x[0] * x[1], x[1]])[None], 2)[0, 0],
        ((-0.4, 0.8), (-0.4, 0.4)),
    ),
    "the end of a domain": (lambda x: torch.acos(x[0]), ((0.5, 1), (-0.4, 0.4))),
    "a pole of lgamma": (lambda x: torch.lgamma(x[0]), ((-0.5, 0.5), (-0.4, 0.4))),
    "layer norm of equals": (
        lambda x: functional.layer_norm(torch.stack([x[0], x[1], x[0] + x[1]]), (3,))[0], ((-0.1, 0.1),) * 2,
    ),
}  # fmt: skip
REFUSED = {
    "floor": lambda x: torch.floor(x[0]),
    "round": lambda x: torch.round(x[0]),
    "remainder": lambda x: torch.remainder(x[0], 1.0),
    "fmod": lambda x: torch.fmod(x[0], 0.3),
    "sort": lambda x: torch.topk(torch.stack([x[0], x[1], x[0] * x[1]]), 2)[0].sum(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMOOTH)
def test_what_is_smooth_is_proved_and_off_by_little_it_is_not(name):
    metric, box = SMOOTH[name]
    assert rm.certify(metric, "scalar_curvature", box, above=-100, below=100, max_boxes=100).proved
    sides = (torch.linspace(a, b, 15, dtype=torch.float64) for a, b in box)
    S = rm.scalar_curvature(metric, torch.stack(torch.meshgrid(*sides, indexing="ij"), -1)).detach()
    for bound in ({"below": float(S.max()) - 1e-8}, {"above": float(S.min()) + 1e-8}):
        assert not rm.certify(metric, "scalar_curvature", box, **bound, max_boxes=60, budget=10).proved


@pytest.mark.slow
@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_smooth_is_never_proved(name):
    f, box = UNKNOWN[name]
    certificate = rm.certify(with_entries(f), "scalar_curvature", box, above=-1e12, below=1e12, max_boxes=40, budget=10)
    assert not certificate.proved and certificate.undecided
    assert any(word in certificate.reason for word in ("singular", "choice"))


@pytest.mark.slow
def test_a_network_of_kinks_is_not_proved():
    certificate = rm.certify(layers(torch.nn.ReLU()), "scalar_curvature", ((-1, 1), (-1, 1)), below=1e9, max_boxes=40)
    assert not certificate.proved and "choice" in certificate.reason


@pytest.mark.parametrize("name", REFUSED)
def test_what_jumps_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"calls `{name}`, which has no exact form as balls"):
        rm.certify(with_entries(REFUSED[name]), "scalar_curvature", ((0.2, 0.8), (0, 1)), below=1e9)


@pytest.mark.parametrize("scale", [1e-200, 1e-310, 1e200])
def test_scales_at_the_ends_of_floats_prove_nothing_false(scale):
    """S of c g is S / c: beyond 1e199, or 0 to all digits."""
    metric = lambda x: scale * torch.diag(torch.stack([1 + x[0] * x[1], 1 + x[1] ** 2]))
    certificate = rm.certify(
        metric, "scalar_curvature", ((0, 0.2), (0.1, 0.2)), above=-1e-220, below=1e-220, max_boxes=20
    )
    assert not certificate.proved
