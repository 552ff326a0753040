"""The cases: what is measured, beside whom, and what is aimed at."""

import pytest

from tests.benchmarks import problems

NETWORK = "Scalar curvature of a network metric"
PLAIN = "Scalar curvature of a network metric, written as a plain function"
FREE = "Scalar curvature of a metric without known structure, a plain function"
LARGE = "Many dimensions"
GROWTH = "Growth with the dimension: scalar curvature of a network metric, 1 point"
BATCH = "Growth with the batch: scalar curvature of a network metric, n = 4"
DECODER = "The pull-back by a decoder"
KERR = "Kerr in Boyer-Lindquist coordinates, written as plain torch code"
GEODESICS = "Geodesics"
TRAINING = "A curvature loss, forward and backward, float32"
EXACT = "The exact side: Kerr with symbols for mass and spin"
IMPORT = "Import in a new process"
CERTIFIED = "Enclosures of scalar curvature over boxes, a network metric"

PEERS = {"jax": "jax:scalar_curvature", "omnibias": "omnibias:scalar_curvature"}
OURSELVES = {"compiled": "riemann:compiled_scalar_curvature", "generic": "riemann:generic_scalar_curvature"}
WAYS = pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])


def _points(count):
    return "1 point" if count == 1 else f"{count:,} points"


@WAYS
@pytest.mark.parametrize(
    "n, points, eager, faster",
    [
        (2, 1024, {"omnibias": 0.2}, {"jax": 1.0}),
        (4, 256, {}, {"jax": 1.0}),
        (16, 16, {"fastest": 0.1}, {"fastest": 0.05}),
        (32, 2, {"fastest": 0.03}, {"fastest": 0.03}),
        (64, 1, {"fastest": 0.01}, {"fastest": 0.01}),
    ],
    ids=["2", "4", "16", "32", "64"],
)
def test_network(compare, n, points, eager, faster, compiled):
    if compiled and n != 16:
        compare.long()
    way, targets = ("compiled_", faster) if compiled else ("", eager)
    compare(
        f"{way}scalar_curvature", problems.network(n, points), group=NETWORK, peers=PEERS, targets=targets,
        title=f"n = {n}, {_points(points)}, {'compiled' if compiled else 'eager'}", memory=n == 64,
    )  # fmt: skip


@WAYS
@pytest.mark.parametrize(
    "n, points, eager, faster",
    [(2, 1024, 0.15, 1.0), (4, 256, 0.15, 0.8), (8, 64, 0.2, 0.4), (16, 16, 0.25, 0.06), (32, 2, 0.3, 0.02),
     (64, 1, 0.2, 0.008)],
    ids=["2", "4", "8", "16", "32", "64"],
)  # fmt: skip
def test_plain_network(compare, n, points, eager, faster, compiled):
    compare.long()
    targets = {"fastest": faster} if compiled else {"omnibias": eager}
    compare(
        f"{'compiled_' * compiled}plain_scalar_curvature", problems.network(n, points), group=PLAIN, peers=PEERS,
        targets=targets, title=f"n = {n}, {_points(points)}, {'compiled' if compiled else 'eager'}",
    )  # fmt: skip


@WAYS
@pytest.mark.parametrize(
    "n, points, eager, faster",
    [(2, 1024, 0.15, 1.1), (4, 256, 0.15, 1.0), (8, 64, 0.2, 0.8), (16, 16, 0.25, 0.3)],
    ids=["2", "4", "8", "16"],
)
def test_unstructured(compare, n, points, eager, faster, compiled):
    compare.long()
    peers = {"jax": "jax:unstructured_scalar_curvature", "omnibias": "omnibias:unstructured_scalar_curvature"}
    targets = {"fastest": faster} if compiled else {"omnibias": eager}
    compare(
        f"{'compiled_' * compiled}unstructured_scalar_curvature", problems.unstructured(n, points), group=FREE,
        peers=peers, targets=targets, title=f"n = {n}, {_points(points)}, {'compiled' if compiled else 'eager'}",
    )  # fmt: skip


@pytest.mark.parametrize("n, points, faster", [(2, 1024, 1.1), (4, 256, 1.0), (8, 64, 0.8), (16, 16, 0.3)])
def test_unstructured_spelled_otherwise(compare, n, points, faster):
    compare.long()
    peers = {"jax": "jax:unstructured_scalar_curvature", "omnibias": "omnibias:unstructured_scalar_curvature"}
    compare(
        "compiled_unstructured_spelled_otherwise", problems.unstructured(n, points), group=FREE, peers=peers,
        targets={"fastest": faster}, title=f"n = {n}, {_points(points)}, compiled, by loops, `stack` and `einsum`",
    )  # fmt: skip


@pytest.mark.parametrize("n, points, target", [(32, 2, 0.05), (64, 1, 0.02)], ids=["32", "64"])
def test_structured(compare, n, points, target):
    compare.long()
    compare(
        "structured_scalar_curvature", problems.network(n, points), group=PLAIN, peers=PEERS,
        targets={"omnibias": target}, title=f"n = {n}, {_points(points)}, eager, by `structured`",
    )  # fmt: skip


@pytest.mark.parametrize("way", ["compiled_plain", "structured"])
def test_plain_256_dimensions(compare, way):
    compare.long()
    compare(
        f"{way}_scalar_curvature", problems.network(256, 1), group=LARGE, targets={"seconds": 2.0, "bytes": 2e9},
        memory=True, title=f"scalar curvature of a network metric, a plain function, n = 256, {way.split('_')[0]}",
    )  # fmt: skip


@pytest.mark.parametrize("n", [2, 4, 16])
def test_one_point(compare, n):
    compare.long()
    compare(
        "compiled_plain_scalar_curvature", problems.network(n, 1), group=PLAIN, peers=PEERS,
        targets={"seconds": 0.35e-3}, title=f"n = {n}, 1 point, compiled",
    )  # fmt: skip


@pytest.mark.parametrize("n, targets", [(32, {"jax": 0.5}), (64, {"bytes": 1e9})], ids=["32", "64"])
def test_generic_route(compare, n, targets):
    if n > 32:
        compare.long()
    compare(
        "generic_scalar_curvature", problems.network(n, 1), group=LARGE, peers=PEERS, targets=targets, memory=True,
        title=f"scalar curvature of any torch metric, n = {n}",
    )  # fmt: skip


def test_256_dimensions(compare):
    compare(
        "scalar_curvature", problems.network(256, 1), group=LARGE, targets={"seconds": 2.0, "bytes": 2e9}, memory=True,
        title="scalar curvature of a network metric, n = 256",
    )  # fmt: skip


def test_ricci_tensor(compare):
    compare(
        "ricci_tensor", problems.network(64, 1), group=LARGE, targets={"bytes": 8 * 64**4}, memory=True,
        title="Ricci tensor of a network metric, n = 64, less than an array of n⁴",
    )  # fmt: skip


def test_ricci_curvature(compare):
    compare.long()
    compare(
        "ricci_curvature", problems.network(256, 1), group=LARGE, targets={"bytes": 2e9}, memory=True, rounds=1,
        title="Ric(v, v) of any torch metric, n = 256",
    )  # fmt: skip


def test_estimate(compare):
    compare.long()
    compare(
        "estimate_scalar_curvature", problems.network(1024, 1), group=LARGE, targets={"bytes": 2e9}, memory=True,
        rounds=3, title="scalar curvature of any torch metric, n = 1,024, estimate from 2 samples",
    )  # fmt: skip


@pytest.mark.parametrize("n", [4, 8, 16, 32, 64, 128, 256])
def test_growth(compare, n):
    if n > 32:
        compare.long()
    peers = OURSELVES | PEERS if n <= 64 else {}
    compare("scalar_curvature", problems.network(n, 1), group=GROWTH, title=f"n = {n}", peers=peers, per={"n": n})


@pytest.mark.parametrize("points", [1, 16, 256, 4096])
def test_batch(compare, points):
    if points > 256:
        compare.long()
    compare(
        "scalar_curvature", problems.network(4, points), group=BATCH, title=_points(points),
        peers=OURSELVES | PEERS, per={"points": points},
    )  # fmt: skip


def test_decoder(compare):
    compare(
        "decoder", problems.decoder(), group=DECODER, title="R⁸ → R⁷⁸⁴, scalar curvature, 16 points",
        peers={"generic": "riemann:generic_decoder"}, targets={"generic": 1 / 20},
    )  # fmt: skip


@WAYS
@pytest.mark.parametrize("independent", [False, True], ids=["all", "independent"])
def test_kerr_riemann(compare, compiled, independent):
    if independent and not compiled:
        pytest.skip("the independent components alone come from compiled code")
    points = 10_000 if compare.quick else 100_000
    way = "compiled_" * compiled + "independent_" * independent
    compare(
        f"{way}kerr_riemann", problems.kerr(points), group=KERR, peers={"jax": "jax:kerr_riemann"},
        targets={"jax": (0.05 if independent else 0.2) if compiled else 1.0},
        title=f"Riemann, {'independent' if independent else 'all'} components, {points:,} points, "
        f"{'compiled' if compiled else 'eager'}",
    )  # fmt: skip


@WAYS
def test_kerr_christoffel(compare, compiled):
    if compiled:
        compare.long()
    points = 10_000 if compare.quick else 1_000_000
    compare(
        f"{'compiled_' * compiled}kerr_christoffel", problems.kerr(points), group=KERR,
        peers={"jax": "jax:kerr_christoffel"}, targets={"jax": 0.4} if compiled else {},
        title=f"Christoffel, {points:,} points, {'compiled' if compiled else 'eager'}",
    )  # fmt: skip


@pytest.mark.parametrize(
    "way, peer, count, target",
    [("", "geomstats", 10, None), ("", "diffrax", 1000, 2.0), ("compiled_", "diffrax", 1000, 0.6)],
    ids=["geomstats", "eager", "compiled"],
)
@pytest.mark.parametrize("space, name", [("sphere", "the unit sphere"), ("kerr", "Kerr")], ids=["sphere", "kerr"])
def test_geodesics(compare, space, name, way, peer, count, target):
    if space == "kerr" or way:
        compare.long()
    if peer == "geomstats" and space == "kerr":
        count = 2  # it solves one after the other
    starts = getattr(problems, f"{space}_geodesics")(count)
    compare(
        f"{way}{space}_geodesics", starts | {"tolerance": 1e-9}, group=GEODESICS, rtol=1e-6, rounds=3,
        peers={peer: f"{peer}:{space}_geodesics"}, targets={peer: target} if target else {},
        title=f"{name}, {count:,} geodesics, relative tolerance 1e-9, {'compiled' if way else 'eager'}"
        + ", one after the other in geomstats" * (peer == "geomstats"),
    )  # fmt: skip


def test_distances(compare):
    compare.long()
    compare(
        "decoder_distances", problems.decoder_pairs(100), group=GEODESICS, targets={"seconds": 10.0}, rounds=3,
        title="100 distances through a decoder, R¹⁶ → R⁷⁸⁴, a plain function",
    )  # fmt: skip


@pytest.mark.parametrize("n, points, seconds", [(16, 128, 0.06), (64, 32, 1.2)], ids=["16", "64"])
def test_curvature_loss(compare, n, points, seconds):
    if n > 16:
        compare.long()
    compare(
        "curvature_loss", problems.network(n, points), group=TRAINING, targets={"seconds": seconds}, memory=True,
        title=f"mean square of the scalar curvature, network metric, n = {n}, {points} points",
    )  # fmt: skip


def test_plain_curvature_loss(compare):
    compare.long()
    compare(
        "compiled_plain_curvature_loss", problems.network(16, 128), group=TRAINING, rtol=1e-3,
        peers={"MLPCholesky": "riemann:curvature_loss"}, targets={"MLPCholesky": 1.3},
        title="mean square of the scalar curvature, a module of torch, compiled, n = 16, 128 points",
    )  # fmt: skip


def test_sampled_curvature_loss(compare):
    compare.long()
    compare(
        "sampled_curvature_loss", problems.network(256, 16), group=TRAINING, targets={"seconds": 1.5}, memory=True,
        title="mean square of sectional curvatures, sampled in 2 planes a point, network metric, n = 256, 16 points",
    )  # fmt: skip


def test_training(compare):
    compare.long()
    compare(
        "training", {}, group=TRAINING, peers={"without": "riemann:training_without_geometry"}, rounds=3,
        targets={"without": 3.0}, title="20 steps of training, default schedule, charts of 64, 32, 16 dimensions",
    )  # fmt: skip


@pytest.mark.parametrize("family, most", [("low_rank", 12.0), ("diagonal", 7.0)], ids=["low_rank", "diagonal"])
def test_wide_training(compare, family, most):
    compare.long()
    compare(
        f"wide_{family}", {}, group=TRAINING, peers={"MLP": "riemann:wide_mlp"}, targets={"MLP": most}, memory=True,
        title=f"4 steps of training, default schedule, 784 features, charts of 256 and 128, {family}, batch 512",
    )  # fmt: skip


@pytest.mark.parametrize("cosine", [False, True], ids=["theta", "cosine"])
@pytest.mark.parametrize(
    "problem, seconds, what",
    [
        ("symbolic_riemann", 2.0, "all of Riemann simplified and Ricci = 0 proven"),
        ("symbolic_kretschmann", 5.0, "the Kretschmann scalar, factored"),
    ],
    ids=["riemann", "kretschmann"],
)
def test_symbolic(compare, cosine, problem, seconds, what):
    chart = "in cos θ" if cosine else "in θ"
    compare(
        problem, {"cosine": cosine}, group=EXACT, targets={"seconds": seconds}, rounds=3, title=f"{what}, {chart}"
    )  # fmt: skip


@pytest.mark.parametrize("n, hidden", [(2, 8), (2, 64), (2, 256), (3, 64), (4, 64)])
def test_certified_boxes(compare, n, hidden):
    compare(
        "enclosed_boxes", {**problems.network(n, 64, hidden=hidden), "radius": 1e-3}, group=CERTIFIED, rounds=3,
        title=f"64 boxes, n = {n}, two hidden layers of {hidden}",
    )  # fmt: skip


def test_import(compare):
    compare(
        "import_riemann", {}, group=IMPORT, title="`import riemann`", targets={"import torch": 1.15},
        peers={"import torch": "riemann:import_torch"},
    )  # fmt: skip
