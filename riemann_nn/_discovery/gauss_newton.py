r"""Whole-trajectory least squares: multiple shooting, condensed, by Gauss and Newton's method.

The unknowns are the parameters and the states at all samples, which start at the data and need not lie on one motion;
that each is where its predecessor's motion arrives is a constraint, linear in a step. So no motion is followed for
longer than from one sample to the next, and at the end they are motions as a whole.

Reference: Bock, *Recent advances in parameteridentification techniques for O.D.E.* (1983).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from riemann_nn._discovery.motion import Motion, flow, flow_and_derivatives
from riemann_nn._discovery.pieces import Pieces

NULL = 1e-7  # singular values of the Jacobian that are smaller, of its largest, are 0
_FAINT = 1e-5  # parameters that do less than this, of what the strongest does, keep to its unit
_SUBSTEPS = 16  # of the solver between two samples, at most
_PATIENCE = 8  # steps
NUMBERS_AT_ONCE = 2**21  # numbers of theta at so many points


class Prior(NamedTuple):
    """A normal distribution of theta around `mean`; of the precision that makes the data most likely, or `known`."""

    mean: Tensor
    precision: float
    known: bool = False


def penalty(prior: Prior | None, theta: Tensor) -> float:
    """What a prior adds to the sum of squares."""
    return 0.0 if prior is None else prior.precision * float((theta - prior.mean).square().sum())


class Linear(NamedTuple):
    r"""Linearised: residuals in units of the noise, $e + J\,\delta\theta$.

    Attributes:
        values: singular values of J in units of `unit`.
        right: their vectors on the side of theta, `(P, P)`, as columns.
        projected: e on the vectors of the other side.
        rest: the square of what no parameter reduces.
        unit: of each parameter, `(P,)`.
    """

    values: Tensor
    right: Tensor
    projected: Tensor
    rest: float
    unit: Tensor

    @classmethod
    def of(cls, J: Tensor, e: Tensor, theta: Tensor, equal: bool) -> "Linear":
        """In units in which all parameters do as much, or in `equal` ones, for a prior."""
        P = J.shape[1]
        effects = J.norm(dim=0) * (size := theta.abs().clamp(min=1))
        unit = size / effects.clamp(min=max(_FAINT * float(effects.max()), 1e-300))
        if equal:
            unit = torch.full_like(unit, P**0.5 / max(float(J.norm()), 1e-300))
        U, s, Vh = torch.linalg.svd(J * unit, full_matrices=False)
        if len(s) < P:
            U, s = (torch.nn.functional.pad(a, (0, P - len(s))) for a in (U, s))
            Vh = torch.cat((Vh, torch.linalg.qr(Vh.mT, mode="complete")[0].mT[len(Vh) :]))
        projected = U.mT @ e
        rest = float((e.square().sum() - projected.square().sum()).clamp(min=0))
        return cls(s, Vh.mT, projected, rest, unit)

    def effective(self, prior: Prior | None) -> float:
        """How many parameters the data determine; with a prior a fraction of each."""
        if prior is None:
            return float((self.values > NULL * self.values.max()).sum())
        s = self.values.square() / self.unit[0] ** 2
        return float((s / (s + prior.precision)).sum())

    def solved(self, damping: float, prior: Prior | None, theta: Tensor) -> tuple[Tensor, float]:
        """The step of theta, and the sum of squares that it should lead to, that of the prior included."""
        s = self.values
        if prior is None:
            kept = s > NULL * s.max().clamp(min=1e-300)
            along = torch.where(kept, -s * self.projected / (s.square() + damping).clamp(min=1e-300), 0.0)
            penalty = 0.0
        else:
            alpha = prior.precision * float(self.unit[0]) ** 2
            from_mean = self.right.mT @ ((theta - prior.mean) / self.unit)
            along = -(s * self.projected + alpha * from_mean) / (s.square() + alpha + damping)
            penalty = alpha * float((from_mean + along).square().sum())
        left = float((self.projected + s * along).square().sum())
        return self.unit * (self.right @ along), self.rest + left + penalty


class Condensed(NamedTuple):
    """The problem of all motions, with their first states solved for.

    Attributes:
        linear: for theta alone.
        step: of theta to the states of all pieces, `(pieces, samples, 2n)`.
        gap: how far each state is from where its predecessor's motion arrives, `(pieces, samples - 1, 2n)`.
    """

    linear: Linear
    step: Callable[[Tensor], Tensor]
    gap: Tensor


def condensed(
    motion: Motion, nodes: Tensor, y: Tensor, weights: Tensor, pieces: Pieces, substeps: int, equal: bool
) -> Condensed:
    """The problem at states `nodes` along pieces and positions y; `equal` units of all parameters, for a prior."""
    n, P = y.shape[-1], len(motion.theta)
    count, samples = nodes.shape[:2]
    scale = torch.where(pieces.present, 1.0, 0.0).unsqueeze(-1) * weights
    at_once = max(1, NUMBERS_AT_ONCE // ((P + 20) * samples))
    parts, rows = [], y.new_zeros(0, P + 1)
    for piece in torch.arange(count, device=y.device).split(at_once):
        start, end = nodes[piece, :-1].flatten(0, 1), nodes[piece, 1:]
        moved, slopes = flow_and_derivatives(motion, start, pieces.steps[piece].reshape(-1), substeps)
        gap = moved.reshape(end.shape) - end
        slopes = slopes.reshape(len(piece), samples - 1, 2 * n, 2 * n + P)
        r = y.new_zeros(len(piece), 2 * n, 1)
        S = torch.eye(2 * n, 2 * n + P).to(y).expand(len(piece), -1, -1)
        along = [torch.cat((S, r), -1)]
        for k in range(samples - 1):  # of the states to the first one and to theta, and the gaps summed up
            following = slopes[:, k, :, : 2 * n] @ along[-1]
            following[..., 2 * n : -1] += slopes[:, k, :, 2 * n :]
            following[..., -1] += gap[:, k]
            along.append(following)
        states = torch.stack(along, 1)
        matrix = states[:, :, :n] * scale[piece].unsqueeze(-1)
        matrix[..., -1] += (nodes[piece, :, :n] - y[piece]) * scale[piece]
        matrix = matrix.flatten(1, 2)
        Q, R = torch.linalg.qr(matrix[..., : 2 * n])
        inner = Q.mT @ matrix[..., 2 * n :]
        first = torch.linalg.solve_triangular(R, -inner, upper=True)  # the first states that suit theta
        rows = torch.cat((rows, (matrix[..., 2 * n :] - Q @ inner).flatten(0, 1)))
        rows = torch.linalg.qr(rows, mode="r")[1] if len(rows) > 4 * (P + 1) else rows
        parts.append((states[..., 2 * n :] + states[..., : 2 * n] @ first.unsqueeze(1), gap))
    to_theta = torch.cat([states for states, _ in parts])
    if not bool(rows.isfinite().all()):
        raise RuntimeError(
            "derivatives of the motions are not finite: `metric` (or `potential`) has none at points of the data, or "
            "the motions are too unstable to follow for so long; keep the data inside the chart, or lower `longest`"
        )
    step = lambda delta: to_theta[..., :-1] @ delta + to_theta[..., -1]
    linear = Linear.of(rows[:, :-1], rows[:, -1], motion.theta, equal)
    return Condensed(linear, step, torch.cat([gap for _, gap in parts]))


class Fit(NamedTuple):
    """Where the iterations ended."""

    nodes: Tensor
    linear: Linear
    prior: Prior | None
    chi2: float
    effective: float
    substeps: int
    converged: bool


def minimise(
    motion: Motion,
    nodes: Tensor,
    y: Tensor,
    noise: Tensor,
    pieces: Pieces,
    prior: Prior | None,
    iterations: int,
    enough: float,
) -> Fit:
    """Fits the motion's parameters and all states, in place; the steps are damped as Levenberg and Marquardt do.

    It ends where a step without damping would reduce the sum of squares, in units of the noise, by `enough` or less;
    with a prior, whose valley is long and flat, where a few steps did not.
    """
    n = y.shape[-1]
    weights = 1 / noise
    present = pieces.present.unsqueeze(-1)
    time = pieces.steps[pieces.steps > 0].mean()
    in_noise = torch.cat((weights, weights * time))
    substeps = enough_substeps(motion, nodes, pieces, noise)

    def chi2(nodes: Tensor, theta: Tensor) -> float:
        squares = ((nodes[..., :n] - y) * weights * present).square().sum()
        return float(squares) + penalty(prior, theta)

    def gaps(nodes: Tensor) -> float:
        moved = flow(motion, nodes[:, :-1].flatten(0, 1), pieces.steps.reshape(-1), substeps)
        return float(((moved.reshape(nodes[:, 1:].shape) - nodes[:, 1:]) * in_noise).square().sum())

    signs = motion.signature(nodes[..., :n].flatten(0, 1))

    def merit(nodes: Tensor, theta: Tensor, price: float) -> float:
        """NaN where g is not a metric, or has become one of another signature: such steps are refused."""
        if not bool((motion.signature(nodes[..., :n].flatten(0, 1)) == signs).all()):
            return torch.nan
        return chi2(nodes, theta) + price * gaps(nodes)

    damping, converged, effective = 1e-3, False, 0.0
    history, held = [], False
    for iteration in range(iterations):
        theta = motion.theta
        linear, step, gaps_now = condensed(motion, nodes, y, weights, pieces, substeps, prior is not None)
        if prior is not None:
            prior = likelier(linear, prior, theta, iteration > 0)
        effective = linear.effective(prior)
        now, gap = chi2(nodes, theta), float((gaps_now * in_noise).square().sum())
        history.append(now + gap)
        if prior is not None and len(history) > _PATIENCE and not history[-1 - _PATIENCE] - history[-1] > enough:
            held, damping = True, 1e12  # what is left is to close the gaps
        best = linear.solved(1e12 if held else 0.0, prior, theta)[1]
        converged = abs(now - best) <= enough + 1e-9 * now and gap <= min(enough, 1e-4)
        price, length = 1.0, 1.0  # of gaps, such that a step that closes them is worth it
        for attempt in range(20):
            delta, then = linear.solved(damping, prior, theta)
            if gap > 0:
                price = max(price, 2 * (then - now) / gap)
            promised = length * (now - then) + price * gap * (2 - length) * length
            tried = nodes + length * step(delta)
            motion.set(theta + length * delta)
            if merit(tried, motion.theta, price) <= now + price * gap - 1e-4 * promised:  # NaN is not
                nodes, damping = tried, damping / (10 if attempt == 0 else 1)
                break
            motion.set(theta)
            damping, length = max(damping * 10, 1e-6), length / (1 if attempt < 4 else 2)
        else:
            break
        if converged:
            break
    return Fit(nodes, linear, prior, chi2(nodes, motion.theta), effective, substeps, converged)


def likelier(linear: Linear, prior: Prior, theta: Tensor, moved: bool) -> Prior:
    """MacKay's step towards the precision that makes the data most likely."""
    square = float((theta - prior.mean).square().sum())
    if prior.known or not moved or square == 0:
        return prior
    wanted = linear.effective(prior) / square
    return prior._replace(precision=min(max(wanted, prior.precision / 10), prior.precision * 10))


def enough_substeps(motion: Motion, nodes: Tensor, pieces: Pieces, noise: Tensor) -> int:
    """Substeps whose halves change positions, over whole pieces, by a hundredth of the noise at most."""
    n, start, steps = len(noise), nodes[:, :-1].flatten(0, 1), pieces.steps.reshape(-1)
    substeps, samples = 1, nodes.shape[1]
    coarse = flow(motion, start, steps, substeps)[:, :n]
    while substeps < _SUBSTEPS:
        fine = flow(motion, start, steps, 2 * substeps)[:, :n]
        if float(((fine - coarse) / noise).nan_to_num(1e9).square().mean().sqrt()) * samples <= 1e-2:
            break
        coarse, substeps = fine, 2 * substeps
    return substeps
