"""How uncertain fitted parameters are: by Laplace's approximation, or by refits to resampled data."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from riemann._shared import warn
from riemann_nn._discovery.fitted import MetricUncertainty, scale_of
from riemann_nn._discovery.gauss_newton import NULL, Linear, Prior
from riemann_nn._discovery.motion import Motion


def laplace(
    motion: Motion, linear: Linear, prior: Prior | None, factor: float, x: Tensor, scale_is_free: bool
) -> MetricUncertainty:
    """From the last Jacobian, at `factor` times the variance it was weighed with, for the metric at points x.

    Whether the scale is free is known only with a prior; else it is seen in what the data leave open.
    """
    s, directions, P = linear.values, linear.unit.unsqueeze(-1) * linear.right, len(motion.theta)
    if prior is None:
        seen = s > NULL * s.max()
        root = directions[:, seen] / s[seen]
        null = torch.linalg.qr(directions[:, ~seen])[0]
        scale_is_free = scale_of(motion.metric, null, x[:: max(1, len(x) // 20)])
    else:
        root = directions / (s.square() + prior.precision * float(linear.unit[0]) ** 2).sqrt()
        null = root.new_zeros(P, 0)
    away = torch.eye(P).to(root) - null @ null.mT
    covariance = factor * (away @ root) @ (away @ root).mT
    return MetricUncertainty(motion.names, motion.theta, covariance, null, scale_is_free, motion.metric, x)


def bootstrap(
    around: MetricUncertainty,
    motion: Motion,
    prior: Prior | None,
    data: int,
    resamples: int,
    refit: Callable[[Tensor, Prior | None], Any],
) -> MetricUncertainty:
    """The covariance of refits to as many data, drawn with replacement by their numbers.

    Of a prior the mean is drawn, too: what the data leave open is then as uncertain as it says.
    """
    theta, found, failed = motion.theta, [], 0
    for _ in range(resamples):
        if prior is not None:
            drawn = prior.mean + torch.randn_like(theta) / prior.precision**0.5
            held = Prior(drawn, prior.precision, known=True)
        else:
            held = None
        failed += not refit(torch.randint(data, (data,), device=theta.device), held).converged
        found.append(motion.theta)
        motion.set(theta)
    if failed > resamples // 10:
        warn(f"{failed} of {resamples} refits did not converge: the deviations are rough; ask uncertainty='laplace'")
    away = torch.eye(len(theta)).to(theta) - around.null @ around.null.mT
    covariance = torch.cov((torch.stack(found) @ away).mT).reshape(len(theta), -1)
    return MetricUncertainty(**{**vars(around), "covariance": covariance})
