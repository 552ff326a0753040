"""The mean volume element under a normal density: what a density by the Riemannian measure is divided by."""

import math
from typing import Any

import torch
from torch import Tensor

import riemann

SHIFTS = 16  # independent estimates, whose spread is the error


def log_mean_volume(metric: Any, means: Tensor, num_samples: int, generator: torch.Generator) -> riemann.Integral:
    r"""$\log E_{z \sim N(\mu, 1)} \sqrt{\det g(z)}$ for each row of `(k, n)` means, and its standard error."""
    if num_samples < SHIFTS:
        raise ValueError(f"`num_samples` is {num_samples}, expected {SHIFTS} or more")
    n, like = means.shape[-1], {"dtype": means.dtype, "device": means.device}
    sobol = torch.quasirandom.SobolEngine(n).draw(num_samples // SHIFTS, dtype=means.dtype).to(means.device)
    u = (sobol + torch.rand(SHIFTS, 1, n, generator=generator, **like)) % 1
    tiny = torch.finfo(means.dtype).eps
    normal = math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(tiny - 1, 1 - tiny))
    log_volume = riemann.log_volume_element(metric, normal + means[:, None, None])  # (k, shifts, points)
    each = log_volume.logsumexp(-1) - math.log(len(sobol))
    value = each.logsumexp(-1) - math.log(SHIFTS)
    return riemann.Integral(value, (each - value[:, None]).exp().std(-1).detach() / math.sqrt(SHIFTS))
