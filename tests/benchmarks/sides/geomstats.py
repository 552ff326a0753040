"""geomstats on its torch backend: SciPy's Dormand-Prince pair, one geodesic after the other."""
# pip install torch==2.13.0
# pip install geomstats==2.8.0 numpy==2.2.6 scipy==1.17.1
# pyright: reportMissingImports=false

import torch
from geomstats.geometry.euclidean import Euclidean
from geomstats.geometry.riemannian_metric import RiemannianMetric
from geomstats.numerics.geodesic import ExpODESolver
from geomstats.numerics.ivp import ScipySolveIVP

torch.set_default_dtype(torch.float64)


class _Sphere(RiemannianMetric):
    def metric_matrix(self, base_point=None):
        theta = base_point[..., 0]
        return torch.diag_embed(torch.stack([torch.ones_like(theta), torch.sin(theta) ** 2], -1))


class _Kerr(RiemannianMetric):
    def metric_matrix(self, base_point=None, M=1.0, a=0.6):
        r, th = base_point[..., 1], base_point[..., 2]
        S, D, zero = r**2 + (a * torch.cos(th)) ** 2, r**2 - 2 * M * r + a**2, torch.zeros_like(r)
        cross = -2 * M * a * r * torch.sin(th) ** 2 / S
        last = (r**2 + a**2 + 2 * M * r * (a * torch.sin(th)) ** 2 / S) * torch.sin(th) ** 2
        rows = [[2 * M * r / S - 1, zero, zero, cross], [zero, S / D, zero, zero], [zero, zero, S, zero],
                [cross, zero, zero, last]]  # fmt: skip
        return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _points(metric, x, v, t, tolerance):
    space = Euclidean(x.shape[-1], equip=False)
    space.equip_with_metric(metric)
    solver = ExpODESolver(space, ScipySolveIVP(method="RK45", rtol=tolerance, atol=tolerance))
    x, v, t = map(torch.tensor, (x, v, t))
    return lambda: solver.geodesic_ivp(v, x)(t).swapaxes(0, 1)


def sphere_geodesics(x, v, t, tolerance):
    return _points(_Sphere, x, v, t, float(tolerance))


def kerr_geodesics(x, v, t, tolerance):
    return _points(_Kerr, x, v, t, float(tolerance))
