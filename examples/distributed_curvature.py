"""Curvature over a point set on several processes: each takes a share of the points, the first gathers and compares.

    torchrun --standalone --nproc-per-node 2 examples/distributed_curvature.py

Points are independent, so there is nothing to synchronise. Without torchrun the one process does everything.
"""

import os
import sys

import torch
import torch.distributed as dist

import riemann as rm
from riemann import spaces
from riemann_nn import MLPCholesky

torch.manual_seed(0)  # the same metric and points in every process
torch.set_default_dtype(torch.float64)


def over_ranks(f, x):
    """`f(x)` with the points `(points, n)` dealt out to the processes; in rank 0, None in the others."""
    if not dist.is_initialized():
        return f(x)
    share = f(x.tensor_split(dist.get_world_size())[dist.get_rank()])
    shares = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(share, shares)
    return None if shares is None else torch.cat(shares)


def main():
    rank = dist.get_rank() if dist.is_initialized() else 0
    kerr = spaces.get("kerr")
    network = MLPCholesky(6, hidden=(32, 32))
    exact = True
    with torch.no_grad():
        for name, f, x in [
            ("Kerr, all of Riemann", lambda x: rm.riemann_tensor(kerr, x, progress=rank == 0), kerr.sample(3001)),
            ("a network, scalar curvature", lambda x: rm.scalar_curvature(network, x), torch.randn(1001, 6)),
        ]:
            gathered = over_ranks(f, x)
            if rank == 0:
                alone = f(x)
                error = float((gathered - alone).abs().max() / alone.abs().max())
                exact = exact and error < 1e-13
                agree = "bit for bit" if torch.equal(gathered, alone) else "to rounding" if error < 1e-13 else "WRONG"
                print(f"{name:30} {len(x)} points: equal to one process {agree} ({error:.1e})")
    return exact


if __name__ == "__main__":
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    ok = main()
    if dist.is_initialized():
        dist.barrier()  # who leaves while others still work can crash
        dist.destroy_process_group()
    sys.exit(0 if ok else "WRONG")
