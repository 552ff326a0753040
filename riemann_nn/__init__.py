"""Neural differential manifolds, built from `riemann`'s public names."""

from riemann_nn import _plain as _plain
from riemann_nn import _routes as _routes
from riemann_nn._elementwise import Bounded as Bounded
from riemann_nn._elementwise import Softplus as Softplus
from riemann_nn._mlp_cholesky import MLPCholesky as MLPCholesky
