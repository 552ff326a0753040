"""JAX, jitted and vectorised: the textbook route, forward mode of the Christoffel symbols."""
# pip install jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 scipy==1.17.1
# pyright: reportMissingImports=false

import jax
import jax.numpy as jnp
import numpy as np


def _network(W0, b0, W1, b1, W2, b2):
    n = W0.shape[1]
    i, j = np.tril_indices(n)

    def g(x):
        p = W2 @ jnp.tanh(W1 @ jnp.tanh(W0 @ x + b0) + b1) + b2
        L = jnp.zeros((n, n)).at[i, j].set(p)
        L = jnp.tril(L, -1) + jnp.diag(jax.nn.softplus(jnp.diagonal(L)) + 0.1)
        return L @ L.T

    return g


def _kerr(p, M=1.0, a=0.6):
    _, r, th, _ = p
    S, D = r**2 + (a * jnp.cos(th)) ** 2, r**2 - 2 * M * r + a**2
    g = jnp.zeros((4, 4)).at[0, 0].set(-(1 - 2 * M * r / S))
    cross = -2 * M * a * r * jnp.sin(th) ** 2 / S
    g = g.at[0, 3].set(cross).at[3, 0].set(cross).at[1, 1].set(S / D).at[2, 2].set(S)
    return g.at[3, 3].set((r**2 + a**2 + 2 * M * r * (a * jnp.sin(th)) ** 2 / S) * jnp.sin(th) ** 2)


def _christoffel(g):
    def gamma(x):
        dg = jax.jacfwd(g)(x)
        first = 0.5 * (jnp.einsum("lji->lij", dg) + dg - jnp.einsum("ijl->lij", dg))
        return jnp.einsum("kl,lij->kij", jnp.linalg.inv(g(x)), first)

    return gamma


def _riemann(g):
    gamma = _christoffel(g)

    def riemann(x):
        G, dG = gamma(x), jax.jacfwd(gamma)(x)
        R = jnp.einsum("rnsm->rsmn", dG) - jnp.einsum("rmsn->rsmn", dG)
        return R + jnp.einsum("rml,lns->rsmn", G, G) - jnp.einsum("rnl,lms->rsmn", G, G)

    return riemann


def _ready(f, x):
    f, x = jax.jit(jax.vmap(f)), jnp.array(x)
    return lambda: f(x).block_until_ready()


def _unstructured(W0, b0, W1, b1, W2, b2):
    n = W0.shape[1]

    def g(x):
        p = W2 @ jnp.tanh(W1 @ jnp.tanh(W0 @ x + b0) + b1) + b2
        s, U = jax.nn.softplus(p[:n]), p[n:].reshape(n, n)
        S = jnp.tanh(U) @ U
        return jnp.eye(n) + U.T @ jnp.diag(s) @ U + 0.05 * (S + S.T)

    return g


def unstructured_scalar_curvature(x, **weights):
    return _scalar_curvature(_unstructured(**{name: jnp.array(w) for name, w in weights.items()}), x)


def scalar_curvature(x, **weights):
    return _scalar_curvature(_network(**{name: jnp.array(w) for name, w in weights.items()}), x)


def _scalar_curvature(g, x):
    riemann = _riemann(g)
    return _ready(lambda p: jnp.einsum("sn,rsrn->", jnp.linalg.inv(g(p)), riemann(p)), x)


def kerr_riemann(x):
    return _ready(_riemann(_kerr), x)


def kerr_christoffel(x):
    return _ready(_christoffel(_kerr), x)
