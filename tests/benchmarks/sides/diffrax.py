"""diffrax on JAX: adaptive Dormand-Prince, one step size a geodesic, jitted and vectorised."""
# pip install jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 scipy==1.17.1
# pip install diffrax==0.7.2
# pyright: reportMissingImports=false

import diffrax
import jax
import jax.numpy as jnp


def _sphere(x):
    return jnp.diag(jnp.stack([jnp.ones_like(x[0]), jnp.sin(x[0]) ** 2]))


def _kerr(p, M=1.0, a=0.6):
    _, r, th, _ = p
    S, D = r**2 + (a * jnp.cos(th)) ** 2, r**2 - 2 * M * r + a**2
    g = jnp.zeros((4, 4)).at[0, 0].set(-(1 - 2 * M * r / S))
    cross = -2 * M * a * r * jnp.sin(th) ** 2 / S
    g = g.at[0, 3].set(cross).at[3, 0].set(cross).at[1, 1].set(S / D).at[2, 2].set(S)
    return g.at[3, 3].set((r**2 + a**2 + 2 * M * r * (a * jnp.sin(th)) ** 2 / S) * jnp.sin(th) ** 2)


def _points(g, x, v, t, tolerance):
    n = x.shape[-1]

    def force(_, state, __):
        x, v = state[:n], state[n:]
        dg = jax.jacfwd(g)(x)  # d_k g_ij, k last
        turn = jnp.einsum("ljk,j,k->l", dg, v, v) - 0.5 * jnp.einsum("jkl,j,k->l", dg, v, v)
        return jnp.concatenate([v, -jnp.linalg.solve(g(x), turn)])

    term, solver, save = diffrax.ODETerm(force), diffrax.Dopri5(), diffrax.SaveAt(ts=jnp.array(t))
    steps = diffrax.PIDController(rtol=tolerance, atol=tolerance)

    @jax.jit
    @jax.vmap
    def solve(start):
        times = {"t0": t[0], "t1": t[-1], "dt0": None}
        return diffrax.diffeqsolve(term, solver, y0=start, saveat=save, stepsize_controller=steps, **times).ys

    start = jnp.concatenate([jnp.array(x), jnp.array(v)], -1)
    return lambda: jnp.swapaxes(solve(start), 0, 1)[..., :n].block_until_ready()


def sphere_geodesics(x, v, t, tolerance):
    return _points(_sphere, x, v, t, float(tolerance))


def kerr_geodesics(x, v, t, tolerance):
    return _points(_kerr, x, v, t, float(tolerance))
