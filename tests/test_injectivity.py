"""Lower bounds of the injectivity radius are never above the truth, and hold what they are proved from."""

import json
import math

import pytest
import torch

import riemann as rm


def sphere(x):
    """From a pole, in any dimension."""
    return torch.eye(len(x), dtype=x.dtype) * 4 / (1 + x @ x) ** 2


def hyperbolic(x):
    return torch.eye(len(x), dtype=x.dtype) * 4 / (1 - x @ x) ** 2


def polar(x):
    return torch.diag(torch.stack([torch.ones_like(x[0]), x[0].sin() ** 2]))


def flat(x):
    return torch.eye(len(x), dtype=x.dtype)


def ellipsoid(x):
    """x = a sin u cos v, b sin u sin v, c cos u, with the semiaxes 1, 1.2, 1.5."""
    u, v = x
    zero = torch.zeros_like(u)
    by_u = torch.stack([u.cos() * v.cos(), 1.2 * u.cos() * v.sin(), -1.5 * u.sin()])
    by_v = torch.stack([-u.sin() * v.sin(), 1.2 * u.sin() * v.cos(), zero])
    J = torch.stack([by_u, by_v])
    return J @ J.T


def square(size, n=2):
    return ((-size, size),) * n


# metric, point, box, what the bound has to reach, and the truth: of the radius, or of the distance to the faces
CASES = {
    "sphere": (sphere, [0.0, 0.0], square(0.5), 0.4, 2 * math.atan(0.5)),
    "sphere in three dimensions": (sphere, [0.0] * 3, square(0.2, 3), 0.1, 2 * math.atan(0.2)),
    "all but a point of a sphere": (sphere, [0.0, 0.0], square(50.0), 0.01, math.pi),
    "sphere in polar coordinates": (polar, [1.0, 0.0], ((0.5, 1.5), (-1, 1)), 0.2, 0.5),
    "hyperbolic": (hyperbolic, [0.0, 0.0], square(0.5), 0.3, 2 * math.atanh(0.5)),
    "hyperbolic off the middle": (hyperbolic, [0.3, 0.1], square(0.5), 0.1, 2 * math.atanh(0.5) - 2 * math.atanh(0.3)),
    "a strip of a cylinder": (flat, [0.5, 0.0], ((-3, 3), (-1, 2)), 0.999, 1.0),
    "ellipsoid": (ellipsoid, [1.3, 0.3], ((0.9, 1.7), (-0.2, 0.8)), 0.1, 1.5 * 0.4),
    "a line": (lambda x: (1 + x[0] ** 2).reshape(1, 1), [0.0], ((-1, 1),), 0.99, 1.148),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_bound_is_below_the_truth_and_near_it(name):
    metric, x, box, least, truth = CASES[name]
    bound = rm.bound_injectivity_radius(metric, x, box, max_boxes=128)
    assert least < bound.radius <= truth and bound.reason == ""
    assert bound.radius == min(bound.distance, bound.conjugate, bound.loop / 2) and "Klingenberg" in bound.theorem


def test_units_of_length_are_those_of_the_metric():
    one, many = (
        rm.bound_injectivity_radius(lambda x, c=c: c * sphere(x), [0.0, 0.0], square(0.3), max_boxes=64)
        for c in (1, 2**20)
    )
    assert many.radius == pytest.approx(2**10 * one.radius, rel=1e-6)


@pytest.mark.parametrize("metric, box", [
    (polar, ((-0.5, 0.5), (-1, 1))),  # the pole
    (lambda x: torch.diag(torch.stack([-torch.ones_like(x[0]), torch.ones_like(x[0])])), square(1.0)),
    (lambda x: torch.eye(2) * (1 + x[0].abs()), square(1.0)),  # a kink at the point
])  # fmt: skip
def test_nothing_is_known_where_the_metric_is_not_riemannian(metric, box):
    bound = rm.bound_injectivity_radius(metric, [0.0, 0.0], box, max_boxes=256)
    assert bound.radius == 0 and "singular" in bound.reason
    for c in (0.001, -1.0):
        assert not rm.certify(metric, "injectivity_radius", box, above=c, max_boxes=2, budget=10).proved


def test_a_claim_of_all_points_of_a_box_is_proved_checked_and_saved():
    claim = rm.certify(sphere, "injectivity_radius", square(0.1), above=0.3, within=square(0.3))
    assert claim.proved and rm.check_certificate(sphere, claim)
    again = rm.Certificate.from_json(claim.to_json())
    assert again == claim
    forged = ({"above": 0.6}, {"box": square(0.28)}, {"within": square(0.11)}, {"above": 4.0})
    for change in forged:
        data = json.dumps(json.loads(claim.to_json()) | change)
        assert not rm.check_certificate(sphere, rm.Certificate.from_json(data)), change


def test_a_claim_without_a_chart_is_of_the_centre():
    box = ((0.8, 1.4), (-0.5, 0.5))
    claim = rm.certify(polar, "injectivity_radius", box, above=0.25)
    assert claim.proved and claim.within == box and claim.box[1] == (0.0, 0.0)
    false = rm.certify(polar, "injectivity_radius", box, above=0.3 + 1e-12, budget=10)
    assert not false.proved and not false.refuted and "what is proved" in false.reason


@pytest.mark.parametrize("call, message", [
    (lambda: rm.certify(sphere, "injectivity_radius", square(0.5), below=1), "from below only"),
    (lambda: rm.certify(sphere, "injectivity_radius", square(0.5), above=1, within=square(0.5)), "room on all sides"),
    (lambda: rm.certify(sphere, "scalar_curvature", square(0.5), above=1, within=square(1)), "`within` is the chart"),
    (lambda: rm.enclose(sphere, "injectivity_radius", [0.0, 0.0]), "bound_injectivity_radius"),
    (lambda: rm.bound_injectivity_radius(sphere, [0.5, 0.0], square(0.5)), "`x` .* is not inside `box`"),
    (lambda: rm.bound_injectivity_radius(sphere, [0.0], square(0.5)), "1 coordinates and `box` 2"),
])  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
