"""Neural differential manifolds, built from `riemann`'s public names."""

from riemann_nn._mlp_cholesky import MLPCholesky as MLPCholesky
