"""Pictures show what they should: numbers of things, lengths of axes, colours' data. No pixels are compared."""

import math
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from torch import cos, sin, stack

import riemann as rm
from riemann import plot, spaces
from riemann.plot._plane import Colours
from tests.helpers import assert_equal

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from mpl_toolkits.mplot3d import proj3d  # noqa: E402

ROUND = (0, 2 * math.pi)


@pytest.fixture(autouse=True)
def _drawn():
    """Every picture can be drawn, without a warning."""
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


def skew(x):
    """A metric with eigenvalues 4 and 1/4, turned by the first coordinate."""
    c, s = cos(x[0]), sin(x[0])
    R = stack([stack([c, -s]), stack([s, c])])
    return R @ torch.diag(x.new_tensor([4.0, 0.25])) @ R.T


def torus(x):
    return stack([(2 + cos(x[0])) * cos(x[1]), (2 + cos(x[0])) * sin(x[1]), sin(x[0])])


# --------------------------------------------------------------------------------------------------------- maps


def test_the_colours_are_the_curvature():
    metric = spaces.torus(2, 1)
    ax = plot.curvature_map(metric, (ROUND, ROUND), resolution=24)
    mesh = ax.collections[0]
    theta = (torch.arange(24, dtype=torch.float64) + 0.5) * 2 * math.pi / 24
    K = 2 * cos(theta) / (2 + cos(theta))
    assert_equal(torch.from_numpy(np.array(mesh.get_array())), K.expand(24, 24))
    low, high = mesh.get_clim()
    assert low == -high and mesh.get_cmap().name == "RdBu_r"  # white is flat
    assert ax.get_xlabel() == r"$\theta$" and ax.get_ylabel() == r"$\phi$" and ax.get_aspect() == 1
    assert ax.get_xlim() == pytest.approx(ROUND)


def test_other_quantities_slices_and_axes_of_the_user():
    figure, (one, two) = plt.subplots(1, 2)
    hole = spaces.schwarzschild(M=1)
    ax = plot.curvature_map(hole, (0.0, (3, 9), (0.5, 2.5), 0.0), rm.kretschmann_scalar, resolution=12, ax=two)
    assert ax is two and not one.collections
    values = np.array(two.collections[0].get_array())
    assert values.shape == (4, 12)
    r = 3 + 6 * (np.arange(12) + 0.5) / 12
    assert values == pytest.approx(np.broadcast_to(48 / r**6, (4, 12)))
    assert (two.get_xlabel(), two.get_ylabel()) == ("$r$", r"$\theta$")
    assert figure.axes[-1].get_ylabel() == "Kretschmann scalar"


def test_the_volume_is_shown_by_its_logarithm():
    half_plane = lambda x: torch.eye(2) / x[1] ** 2
    box = ((0, 1), (1, 2))
    log, plain = (np.array(plot.volume_map(half_plane, box, resolution=6, log=log).collections[0].get_array())
                  for log in (True, False))  # fmt: skip
    y = 1 + (np.arange(6) + 0.5) / 6
    assert plain == pytest.approx(np.broadcast_to(y[:, None] ** -2, (6, 6)))
    assert log == pytest.approx(np.log10(plain))


def test_a_constant_curvature_has_one_colour():
    mesh = plot.curvature_map(spaces.sphere(2), ((0.5, 2), (0, 1)), resolution=8).collections[0]
    low, high = mesh.get_clim()
    assert (low, high) == pytest.approx((1, 3))


def test_outliers_are_clipped_and_said_to_be():
    values = np.concatenate([np.linspace(0, 1, 999), [1e6]])
    colours = Colours(values)
    assert float(colours.norm.vmax or 0) < 2 and colours.extend == "both"
    assert Colours(np.array([np.nan, 1.0, 2.0])).extend in ("both", "neither")


def test_a_network_in_single_precision():
    net = torch.nn.Linear(2, 4)

    class Metric(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            A = torch.tanh(self.net(x)).reshape(2, 2)
            return torch.eye(2) + A @ A.T

    metric = Metric()
    ax = plot.curvature_map(metric, ((0, 1), (0, 1)), resolution=6)
    assert ax.get_xlabel() == "$x^{1}$"
    plot.metric_ellipses(metric, ((0, 1), (0, 1)), shape=(2, 2))


# ------------------------------------------------------------------------------------------------------ surfaces


def test_faces_have_the_colours_of_the_curvature_and_equal_scales():
    ax = plot.surface(torus, (ROUND, ROUND), resolution=16)
    (faces,) = ax.collections
    centres = (torch.arange(16, dtype=torch.float64) + 0.5) * 2 * math.pi / 16
    K = rm.gauss_curvature(torus, torch.cartesian_prod(centres, centres)).numpy()
    norm = Colours(K)
    colours = matplotlib.colormaps["RdBu_r"](norm.norm(K))[:, :3]
    drawn = faces._facecolor3d[:, :3]  # before they are sorted by depth
    ratio = drawn / np.maximum(colours, 1e-9)  # the light: one factor a face
    assert drawn.shape == (256, 3)
    assert np.ptp(ratio, axis=1).max() < 1e-6 and 0.64 < ratio.min() and ratio.max() < 1.0001
    spans = [np.ptp(limits) for limits in (ax.get_xlim(), ax.get_ylim(), ax.get_zlim())]
    aspect = ax._box_aspect / ax._box_aspect.max()
    assert aspect == pytest.approx(np.array(spans) / max(spans))


def test_a_surface_takes_another_quantity():
    mean = lambda map, x: rm.mean_curvature_vector(map, x).norm(dim=-1)
    ax = plot.surface(torus, (ROUND, ROUND), mean, resolution=6, label="H")
    assert ax.figure.axes[-1].get_ylabel() == "H"


def test_a_surface_up_to_the_corners_of_its_box_is_not_cut_off():
    ax = plot.surface(lambda x: stack([x[0], x[1], x[0] * x[1]]), ((-1, 1), (-1, 1)), resolution=6)
    ax.figure.canvas.draw()
    for x, y in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        across, up, _ = proj3d.proj_transform(x, y, x * y, ax.get_proj())
        assert ax.figure.bbox.contains(*ax.transData.transform((across, up)))


def test_triangles_of_a_level_set_lie_on_it_and_cover_it():
    ellipsoid = lambda x: (x**2 * torch.tensor([1.0, 2.0, 4.0], dtype=x.dtype)).sum() - 1
    own = plt.figure().add_subplot(projection="3d")
    assert plot.level_set(ellipsoid, ((-1.1, 1.1), (-1, 1), (-0.6, 0.6)), resolution=24, ax=own) is own
    triangles = own.collections[0]._vec.T[:, :3].reshape(-1, 3, 3) if hasattr(own.collections[0], "_vec") else None
    triangles = triangles if triangles is not None else np.array(own.collections[0]._faces)
    values = [float(ellipsoid(torch.from_numpy(p))) for p in triangles[::50, 0]]
    assert max(map(abs, values)) < 0.03
    areas = np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1) / 2
    a, b, c, p = 1, 0.5**0.5, 0.5, 1.6075  # Knud Thomsen's formula, right to 1 %
    area = 4 * np.pi * (((a * b) ** p + (a * c) ** p + (b * c) ** p) / 3) ** (1 / p)
    assert areas.sum() == pytest.approx(area, rel=0.02)
    for box, words in ((((0, 1),) * 2, "three intervals"), (((2, 3),) * 3, "f = 0 nowhere in `box`: it goes from 27")):
        with pytest.raises(ValueError, match=words):
            plot.level_set(ellipsoid, box)


@pytest.mark.parametrize("f", [lambda x: x.norm() - 1, lambda x: x @ x - 1, lambda x: (x @ x) ** 2 - 1])
def test_a_round_level_set_has_one_colour(f):
    """Triangles cut corners, and their centres are off the sphere: the curvature is that of the sphere all the same."""
    seen = []
    watched = lambda f, x: seen.append(rm.level_set_gauss_curvature(f, x)) or seen[-1]
    faces = plot.level_set(f, ((-1.2, 1.2),) * 3, watched, resolution=6).collections[0]
    torch.testing.assert_close(seen[0], torch.ones_like(seen[0]), rtol=1e-6, atol=0)
    assert not faces.get_antialiased()[0]  # else what is behind shines through between triangles


def test_curvature_is_drawn_of_whatever_gives_a_surface():
    for f, box, quantity in (
        (torus, (ROUND, ROUND), rm.gauss_curvature),
        (lambda x: x @ x - 1, ((-1.1, 1.1),) * 3, rm.level_set_gauss_curvature),
        (spaces.torus(2, 1), (ROUND, ROUND), rm.scalar_curvature),
    ):
        seen = []
        watched = lambda f, x, quantity=quantity, seen=seen: seen.append(quantity(f, x)) or seen[-1]
        flat = quantity is rm.scalar_curvature
        own = plt.figure().add_subplot(**({} if flat else {"projection": "3d"}))
        assert plot.curvature(f, box, watched, resolution=6, ax=own) is own and seen
        plot.curvature(f, box, resolution=6)
    with pytest.raises(ValueError, match=r"returned shape \(2,\) at a point of 2 coordinates, expected \(3,\)"):
        plot.curvature(lambda x: x, (ROUND, ROUND))


# ------------------------------------------------------------------------------------------------- in the plane


def outline(ellipse):
    """Vectors from the centre of an ellipse to its outline."""
    t, turn = np.linspace(0, 2 * np.pi, 60), np.radians(ellipse.angle)
    a, b = ellipse.width / 2 * np.cos(t), ellipse.height / 2 * np.sin(t)
    return np.stack([a * np.cos(turn) - b * np.sin(turn), a * np.sin(turn) + b * np.cos(turn)], -1)


def test_ellipses_have_the_axes_of_the_metric():
    ax = plot.metric_ellipses(skew, ((0, 1), (0, 2)), shape=(3, 5), radius=0.05)
    assert len(ax.patches) == 15
    for ellipse in ax.patches:
        x = torch.tensor(ellipse.center, dtype=torch.float64)
        half = sorted([ellipse.width / 2, ellipse.height / 2])
        assert half == pytest.approx([0.05 / 2, 0.05 * 2])  # radius / sqrt of the eigenvalues
        boundary = torch.from_numpy(outline(ellipse))
        size = torch.einsum("bi,ij,bj->b", boundary, skew(x), boundary)
        assert_equal(size / 0.05**2, 1.0)


def test_ellipses_do_not_touch_by_themselves():
    ax = plot.metric_ellipses(skew, ((0, 1), (0, 1)), shape=(4, 4))
    wide = max(np.ptp(outline(e), axis=0).max() for e in ax.patches)
    assert 0.9 * 0.25 < wide < 0.25


def test_ellipses_of_a_plane_in_space():
    ax = plot.metric_ellipses(spaces.sphere(3), (1.0, (0.5, 1.5), (0, 1)), shape=(2, 2), radius=0.1)
    assert len(ax.patches) == 4
    for ellipse in ax.patches:
        theta = ellipse.center[0]
        assert sorted([ellipse.width, ellipse.height]) == pytest.approx(
            [0.2 / math.sin(1), 0.2 / math.sin(1) / math.sin(theta)]
        )


def test_a_fan_of_the_sphere_closes_at_the_antipode():
    """By stereographic coordinates from (1, 0): all geodesics meet at (-1, 0) after pi."""
    sphere = lambda x: 4 * torch.eye(2) / (1 + x @ x) ** 2
    x = torch.tensor([1.0, 0.0])
    ax = plot.geodesic_fan(sphere, ((-30, 30), (-30, 30)), x, num=9, length=math.pi)
    assert len(ax.lines) == 13
    for line in ax.lines[:9]:
        assert line.get_xydata()[0] == pytest.approx([1, 0])
    for line in ax.lines[1:9]:  # the first goes to infinity
        assert line.get_xydata()[-1] == pytest.approx([-1, 0], abs=1e-4)
    half = ax.lines[10].get_xydata()[:, 0]  # the great circle between: the second axis
    assert np.isfinite(half).sum() > 100 and half[np.isfinite(half)] == pytest.approx(0, abs=1e-3)


def test_a_fan_in_a_window_of_its_own():
    ax = plot.geodesic_fan(lambda x: torch.eye(2) * 4, ((0, 2), (0, 2)), num=4)
    ends = np.array([line.get_xydata()[0] for line in ax.lines[:4]])
    assert ends == pytest.approx(np.ones((4, 2)))
    assert all(np.nanmax(np.abs(line.get_xydata() - 1)) < 1.5 for line in ax.lines)
    assert ax.get_xlim() == (0, 2)


@pytest.mark.parametrize("theta", [0.4, 1.2])
def test_a_transported_vector_turns_by_the_area_inside(theta):
    sphere = lambda x: 4 * torch.eye(2) / (1 + x @ x) ** 2
    loop = lambda s: math.tan(theta / 2) * stack([cos(2 * math.pi * s), sin(2 * math.pi * s)])
    ax = plot.parallel_transport(sphere, ((-1, 1), (-1, 1)), loop, num=10, scale=0.3)
    area = math.degrees(2 * math.pi * (1 - math.cos(theta)))
    assert float(ax.get_title().split()[-1].rstrip("°")) == pytest.approx((area + 180) % 360 - 180, abs=0.06)
    (arrows,) = ax.collections
    assert len(arrows.U) == 11 and np.hypot(arrows.U, arrows.V) == pytest.approx(0.3)  # circles: lengths are equal
    assert np.degrees(math.atan2(arrows.V[-1], arrows.U[-1])) == pytest.approx((area + 180) % 360 - 180, abs=0.1)


# --------------------------------------------------------------------------------------------------------- light


def test_light_is_captured_within_the_critical_impact_parameter():
    """Far away b < sqrt(27) M falls in; in flat space all rays are straight."""
    ax = plot.light_rays(spaces.schwarzschild(M=1), ((-10, 40), (-8, 8)), impact=[-5.6, -4.8, 4.8, 5.6], horizon=2)
    assert [line.get_color()[4:] for line in ax.lines] == ["blue", "orange", "orange", "blue"]
    assert len(ax.patches) == 1 and ax.patches[0].radius == 2
    flat = lambda x: torch.diag(
        stack([-torch.ones_like(x[1]), torch.ones_like(x[1]), x[1] ** 2, (x[1] * sin(x[2])) ** 2])
    )
    ax = plot.light_rays(flat, ((-5, 5), (-3, 3)), impact=[-2.0, 1.0])
    for line, b in zip(ax.lines, (-2.0, 1.0), strict=True):
        y = line.get_ydata()
        assert y[np.isfinite(y)] == pytest.approx(b, abs=1e-4)


# ------------------------------------------------------------------------------------------------------ messages


def test_messages():
    flat, lorentz = lambda x: torch.eye(2), lambda x: torch.diag(x.new_tensor([-1.0, 1.0]))
    box = ((0, 1), (0, 1))
    for bad in (((0, 1), 0.0), ((0, 1), (1, 0)), ((0, 1), (0, 1), (0, 1))):
        with pytest.raises(ValueError, match="`box` is .* expected two intervals"):
            plot.curvature_map(flat, bad)
    with pytest.raises(ValueError, match="not positive definite at .* no unit circle"):
        plot.metric_ellipses(lorentz, box)
    with pytest.raises(ValueError, match="`box` has 3 coordinates, and `geodesic_fan` takes a plane"):
        plot.geodesic_fan(spaces.sphere(3), (1.0, (0.5, 1), (0, 1)))
    with pytest.raises(ValueError, match="`map` goes to 2 dimensions"):
        plot.surface(lambda x: x, box)
    with pytest.raises(ValueError, match='projection="3d"'):
        plot.surface(torus, box, ax=plt.figure().add_subplot())
    with pytest.raises(ValueError, match="no scalar at each"):
        plot.curvature_map(flat, box, rm.ricci_tensor)
    with pytest.raises(ValueError, match="no light goes to the left"):
        plot.light_rays(lambda x: torch.eye(4), ((-1, 1), (-1, 1)))


def test_without_matplotlib_the_message_names_the_extra():
    script = (
        "import sys; sys.modules['matplotlib'] = None; import riemann\n"
        "try: riemann.plot\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "pip install 'riemann-torch[plot]'" in said


def test_geodesics_of_the_half_plane_are_arcs():
    half_plane = lambda x: torch.eye(2, dtype=x.dtype) / x[1] ** 2
    x = torch.tensor([[-0.8, 0.5], [-0.4, 0.3]], dtype=torch.float64)
    _, own = plt.subplots()
    axes = plot.geodesic(half_plane, ((-1, 1), (0.2, 2)), x, x * torch.tensor([-1.0, 1.0]), ax=own)
    assert axes is own and len(axes.lines) == 4
    for line, p in zip(axes.lines, x, strict=False):  # circles around the origin, by symmetry
        radius = np.hypot(*line.get_data())
        np.testing.assert_allclose(radius, float(p.norm()), rtol=1e-5)


def test_the_poincare_disc():
    """Arcs end where they should, at equal steps of the length of 4 |dx|^2 / (1 - |x|^2)^2."""
    x, y = torch.tensor([[0.5, 0.1], [-0.3, 0.9]], dtype=torch.float64)
    axes = plot.poincare_disc(x, y)
    (line,) = axes.lines
    points = np.stack(line.get_data(), -1)
    np.testing.assert_allclose(points[[0, -1]], torch.stack((x, y)), atol=1e-12)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1) * 2
    middle = (points[1:] + points[:-1]) / 2
    lengths = steps / (1 - (middle**2).sum(-1))
    np.testing.assert_allclose(lengths, lengths.mean(), rtol=1e-3)
    with pytest.raises(ValueError, match="expected .* with .x. < 1"):
        plot.poincare_disc(torch.tensor([1.0, 0.5]))


def test_pictures_take_arrays_and_lists():
    half_plane = lambda x: torch.eye(2, dtype=x.dtype) / x[1] ** 2
    window, x, y = ((-1, 1), (0.2, 2)), np.array([-0.5, 0.5]), [0.5, 0.5]
    assert len(plot.geodesic(half_plane, window, x, y).lines) == 2
    assert len(plot.geodesic_fan(half_plane, window, x, num=4, length=0.2).lines) == 8
    assert len(plot.poincare_disc(x, y).lines) == 1
