"""The cases: what is measured, beside whom, and what is aimed at."""

import pytest

from tests.benchmarks import problems

NETWORK = "Scalar curvature of a network metric"
LARGE = "Many dimensions"
GROWTH = "Growth with the dimension"
BATCH = "Growth with the batch"
KERR = "Kerr in Boyer-Lindquist coordinates, written as plain torch code"
TRAINING = "A curvature loss, forward and backward, float32"
EXACT = "The exact side: Kerr with symbols for mass and spin"
OTHER = "Other"

PEERS = ("jax", "omnibias")
GENERIC = {"generic": "riemann:generic_scalar_curvature"}


@pytest.fixture
def long(compare):
    """A case that quick runs leave out."""
    if compare.quick:
        pytest.skip("a long case")
    return compare


@pytest.mark.parametrize(
    "n, points, targets",
    [
        (2, 1024, {"omnibias": 0.2}),
        (4, 256, {}),
        (16, 16, {"fastest": 0.1}),
        (32, 2, {"fastest": 0.03}),
        (64, 1, {"fastest": 0.01}),
    ],
    ids=["2", "4", "16", "32", "64"],
)
def test_network(compare, n, points, targets):
    compare(
        "scalar_curvature", problems.network(n, points), group=NETWORK, title=f"n = {n}, {points} points, eager",
        peers=PEERS, targets=targets, memory=n == 64,
    )  # fmt: skip


@pytest.mark.parametrize("n, targets", [(32, {"jax": 0.5}), (64, {"bytes": 1e9})], ids=["32", "64"])
def test_generic_route(compare, n, targets):
    compare(
        "generic_scalar_curvature", problems.network(n, 1), group=LARGE,
        title=f"scalar curvature of any torch metric, n = {n}, 1 point", peers=("jax",), targets=targets, memory=True,
    )  # fmt: skip


def test_256_dimensions(compare):
    compare(
        "scalar_curvature", problems.network(256, 1), group=LARGE, title="scalar curvature of a network metric, n = 256",
        targets={"seconds": 2.0, "bytes": 2e9}, memory=True,
    )  # fmt: skip


def test_ricci_tensor(compare):
    compare(
        "ricci_tensor", problems.network(64, 1), group=LARGE, title="Ricci tensor of a network metric, n = 64",
        targets={"bytes": 8 * 64**4}, memory=True,
    )  # fmt: skip


def test_ricci_curvature(compare):
    compare(
        "ricci_curvature", problems.network(256, 1), group=LARGE, title="Ric(v, v) of any torch metric, n = 256, exact",
        targets={"bytes": 2e9}, memory=True, rounds=3,
    )  # fmt: skip


def test_estimate(long):
    long(
        "estimate_scalar_curvature", problems.network(1024, 1), group=LARGE,
        title="scalar curvature of any torch metric, n = 1024, estimate from 2 samples", targets={"bytes": 2e9},
        memory=True, rounds=3,
    )  # fmt: skip


@pytest.mark.parametrize("n", [4, 8, 16, 32, 64, 128, 256])
def test_growth(compare, n):
    peers = GENERIC | {"jax": "jax", "omnibias": "omnibias"} if n <= 64 else {}
    compare(
        "scalar_curvature", problems.network(n, 1), group=GROWTH, title=f"n = {n}, 1 point", peers=peers, per={"n": n}
    )  # fmt: skip


@pytest.mark.parametrize("points", [1, 16, 256, 4096])
def test_batch(compare, points):
    compare(
        "scalar_curvature", problems.network(4, points), group=BATCH, title=f"network metric, n = 4, {points} points",
        peers=GENERIC | {"jax": "jax", "omnibias": "omnibias"}, per={"points": points},
    )  # fmt: skip


def test_decoder(compare):
    compare(
        "decoder", problems.decoder(), group=OTHER,
        title="scalar curvature of the pull-back by a decoder R^8 -> R^784, 16 points",
        peers={"generic": "riemann:generic_decoder"}, targets={"generic": 1 / 20},
    )  # fmt: skip


def test_kerr_riemann(compare):
    points = 10_000 if compare.quick else 100_000
    compare(
        "kerr_riemann", problems.kerr(points), group=KERR, title=f"Riemann tensor, all components, {points:,} points, eager",
        peers=("jax",),
    )  # fmt: skip


def test_kerr_christoffel(compare):
    points = 10_000 if compare.quick else 1_000_000
    compare(
        "kerr_christoffel", problems.kerr(points), group=KERR, title=f"Christoffel symbols, {points:,} points, eager",
        peers=("jax",),
    )  # fmt: skip


@pytest.mark.parametrize("n, points, seconds", [(16, 128, 0.06), (64, 32, 1.2)], ids=["16", "64"])
def test_curvature_loss(compare, n, points, seconds):
    compare(
        "curvature_loss", problems.network(n, points), group=TRAINING, title=f"network metric, n = {n}, {points} points",
        targets={"seconds": seconds}, memory=True,
    )  # fmt: skip


@pytest.mark.parametrize("cosine", [False, True], ids=["theta", "cosine"])
def test_symbolic(compare, cosine):
    compare(
        "symbolic_riemann", {"cosine": cosine}, group=EXACT, targets={"seconds": 2.0}, rounds=3,
        title=f"all of Riemann simplified and Ricci = 0 proven, in {'cos theta' if cosine else 'theta'}",
    )  # fmt: skip


@pytest.mark.parametrize("cosine", [False, True], ids=["theta", "cosine"])
def test_symbolic_kretschmann(compare, cosine):
    compare(
        "symbolic_kretschmann", {"cosine": cosine}, group=EXACT, targets={"seconds": 5.0}, rounds=3,
        title=f"the Kretschmann scalar, factored, in {'cos theta' if cosine else 'theta'}",
    )  # fmt: skip


def test_import(compare):
    compare(
        "import_riemann", {}, group=OTHER, title="`import riemann` in a new process, beside `import torch`",
        peers={"import torch": "riemann:import_torch"}, targets={"import torch": 1.15},
    )  # fmt: skip
