"""Neural differential manifolds, built from `riemann`'s public names."""

from riemann_nn import _routes as _routes
from riemann_nn._elementwise import Bounded as Bounded
from riemann_nn._elementwise import Softplus as Softplus
from riemann_nn._mlp_cholesky import MLPCholesky as MLPCholesky
from riemann_nn._natural_gradient import NaturalGradient as NaturalGradient
from riemann_nn._representation import pulled_back_fisher as pulled_back_fisher
from riemann_nn._representation import riemannian_gradient as riemannian_gradient
