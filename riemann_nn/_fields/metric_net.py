r"""A network that is a metric: positive definite, of bounded condition number, the identity at the start."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

import riemann
from riemann import metrics
from riemann.metrics import MLPCholesky
from riemann.metrics.configuration import check_same, name_of, of_weights_alone, plain
from riemann.metrics.elementwise import Bounded, BoundedExp, check_widths, described
from riemann_nn._fields.smooth import perceptron, smooth


class MetricNet(torch.nn.Module):
    r"""A learned metric $g(x)$ with $m \le g \le M$ at every point, in one of four families.

    | family | $g$ | start |
    | --- | --- | --- |
    | `"cholesky"` | $L L^T$, $L_{kk} \in \sqrt c\, (e^{-b}, e^b)$, $L_{ik} \in \sqrt c\, (-1/n, 1/n)$ | $g_0$ within |
    | `"diagonal"` | $\mathrm{diag}(d)$, $d_i \in c\, (e^{-2b}, e^{2b})$ | any diagonal within |
    | `"conformal"` | $e^{2p} c\, 1$, $p \in (-b, b)$ | $c\, 1$ |
    | `"low_rank"` | $\mathrm{diag}(d) + U U^T$, d as above, $U_{ia} \in \sqrt{c / n}\, (-1, 1)$ | any diagonal within |

    The heads are bounded elementwise maps, so that the closed forms of each family hold: every function of `riemann`
    takes them. A module and a metric at once: one point or a batch.

    Args:
        dim: n, the dimension.
        hidden: widths of the hidden layers.
        family: what g is made of, as above.
        activation: smooth elementwise map, a function, a module or a class of modules.
        start: $g_0$, what g is everywhere before training: a number c (times the identity) or a matrix `(n, n)`, for
            which c is the geometric mean of its eigenvalues.
        log_range: b.
        rank: columns of U, for `"low_rank"`.

    Raises:
        ValueError: an unknown family, an activation that is not smooth, a `start` out of the family's reach.

    Note:
        In the family `"low_rank"` columns of exactly 0 would never get a gradient: they start at $10^{-4}$, and g
        within $10^{-7}$ of $g_0$.

    Example:
        >>> import torch
        >>> import riemann as rm
        >>> from riemann_nn import MetricNet
        >>> metric = MetricNet(3)
        >>> metric(torch.zeros(3)).diagonal()
        tensor([1., 1., 1.], grad_fn=<DiagonalBackward0>)
        >>> rm.scalar_curvature(metric, torch.randn(2, 3)).abs().max() < 1e-6
        tensor(True)
    """

    dim: int
    family: str
    log_range: float
    rank: int
    scale: float
    structure: torch.nn.Module
    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int] = (64, 64),
        family: str = "cholesky",
        activation: Any = torch.nn.Tanh,
        *,
        start: float | Tensor = 1.0,
        log_range: float = 1.0,
        rank: int = 2,
    ):
        super().__init__()
        if family not in _FAMILIES:
            raise ValueError(f"`family` is {family!r}, expected one of {', '.join(map(repr, _FAMILIES))}")
        check_widths(dim, hidden, rank=rank)
        if not log_range > 0:
            raise ValueError(f"`log_range` is {log_range}, expected a positive number")
        self.dim, self.family, self.log_range, self.rank = dim, family, log_range, rank
        g_0 = _start(start, dim)
        self.register_load_state_dict_pre_hook(of_weights_alone)
        self.hidden: list[int] = list(hidden)
        self.start: Any = start if isinstance(start, float | int) else g_0.tolist()
        self.scale = math.exp(float(torch.linalg.slogdet(g_0).logabsdet) / dim)
        build, _ = _FAMILIES[family]
        self.activation: Any = smooth(activation)
        self.structure = build(self, list(hidden), self.activation, g_0)

    def forward(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n n"]:
        """The metric at points, `(*batch, n, n)`."""
        return _FAMILIES[self.family][1](self.structure, x)

    @property
    def bounds(self) -> tuple[float, float]:
        """`(m, M)`: every eigenvalue of g at every point lies between; the condition number is at most M / m.

        Of the family `"cholesky"` they are the best possible: both are approached at some values of the heads.
        """
        b, c, n = self.log_range, self.scale, self.dim
        if self.family == "conformal" or self.family == "diagonal":
            return c * math.exp(-2 * b), c * math.exp(2 * b)
        if self.family == "low_rank":
            return c * math.exp(-2 * b), c * (math.exp(2 * b) + self.rank)
        lower, eye = torch.ones(n, n, dtype=torch.float64).tril(-1) / n, torch.eye(n, dtype=torch.float64)
        inverse = torch.linalg.inv(math.exp(-b) * eye - lower)  # the largest |L^-1|, entry by entry
        largest = math.exp(b) * eye + lower
        return (
            c / float(torch.linalg.matrix_norm(inverse, 2)) ** 2,
            c * float(torch.linalg.matrix_norm(largest, 2)) ** 2,
        )

    def saturation(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch k"]:
        """How near the heads are to their bounds at points, each between 0 and 1, where it has no gradient left."""
        g, b, c, n = self.structure, self.log_range, self.scale, self.dim
        if isinstance(g, MLPCholesky):
            L = g.factor(x)
            below = L[..., *torch.tril_indices(n, n, -1)] * n / math.sqrt(c)
            return torch.cat((torch.log(L.diagonal(dim1=-2, dim2=-1) / math.sqrt(c)) / b, below), -1).abs()
        if isinstance(g, metrics.Conformal):
            return g.log_factor(x).unsqueeze(-1).abs() / b
        of_diagonal = torch.log((g.entries if isinstance(g, metrics.Diagonal) else g.diagonal)(x) / c).abs() / (2 * b)
        if isinstance(g, metrics.Diagonal):
            return of_diagonal
        return torch.cat((of_diagonal, g.factor(x).flatten(-2).abs() / math.sqrt(c / n)), -1)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that such a metric is made with."""
        names = "dim", "hidden", "family", "start", "log_range", "rank"
        return {**{name: getattr(self, name) for name in names}, "activation": name_of(self.activation)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "MetricNet":
        """A new metric from the `config` of another."""
        options = {**config, "start": config["start"] if isinstance(config["start"], float | int) else torch.tensor(
            config["start"], dtype=torch.float64)}  # fmt: skip
        return cls(**options)

    def get_extra_state(self) -> dict[str, Any]:
        """What makes the metric, beside its weights."""
        return plain({**self.config, "activation": described(self.activation)})

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Raises unless the state is of such a metric."""
        check_same("metric", self.get_extra_state(), state)

    def extra_repr(self) -> str:
        """What print shows."""
        return f"dim={self.dim}, family={self.family!r}"


def default_family(dim: int) -> str:
    """The family of metrics of a chart: where `"cholesky"` has many thousand outputs, `"low_rank"`."""
    return "cholesky" if dim < 64 else "low_rank"


# ------------------------------------------------------------------------------------------------------ the families


class Scalar(torch.nn.Module):
    """`(*batch, 1)` to `(*batch,)`."""

    def forward(self, z: Tensor) -> Tensor:
        """Without the last axis."""
        return z.squeeze(-1)


def _cholesky(net: MetricNet, hidden: list[int], activation: Any, g_0: Tensor) -> MLPCholesky:
    root, n = math.sqrt(net.scale), net.dim
    diagonal, below = BoundedExp(net.log_range, root), Bounded(root / n)
    mlp = MLPCholesky(n, hidden, activation=activation, diagonal=diagonal, off_diagonal=below)
    L = torch.linalg.cholesky(g_0)
    on_diagonal = _before_tanh(torch.log(L.diagonal() / root) / net.log_range, net.log_range, net)
    entries = _before_tanh(L.tril(-1) / below.bound, below.bound, net) + torch.diag_embed(on_diagonal)
    _start_at(mlp.layers[-1], entries[mlp.rows, mlp.columns])
    return mlp


def _entries(net: MetricNet, hidden: list[int], activation: Any, g_0: Tensor) -> torch.nn.Sequential:
    n, b = net.dim, 2 * net.log_range
    if float((g_0 - torch.diag_embed(g_0.diagonal())).abs().max()) > 0:
        raise ValueError(f"`start` is not diagonal, as metrics of the family {net.family!r} are at the start")
    mlp = perceptron([n, *hidden, n], activation, BoundedExp(b, net.scale))
    _start_at(mlp[-2], _before_tanh(torch.log(g_0.diagonal() / net.scale) / b, b, net))
    return mlp


def _diagonal(net: MetricNet, hidden: list[int], activation: Any, g_0: Tensor) -> metrics.Diagonal:
    return metrics.Diagonal(_entries(net, hidden, activation, g_0))


def _conformal(net: MetricNet, hidden: list[int], activation: Any, g_0: Tensor) -> metrics.Conformal:
    if not torch.allclose(g_0, net.scale * torch.eye(net.dim, dtype=g_0.dtype)):
        raise ValueError("`start` is not a multiple of the identity, as metrics of the family 'conformal' are")
    p = perceptron([net.dim, *hidden, 1], activation, Bounded(net.log_range), Scalar())
    base = None if net.scale == 1 else metrics.Constant(g_0.to(torch.get_default_dtype()))
    return metrics.Conformal(base, p)


def _low_rank(net: MetricNet, hidden: list[int], activation: Any, g_0: Tensor) -> metrics.LowRankPlusDiagonal:
    n, r = net.dim, net.rank
    bound = math.sqrt(net.scale / n)
    U = perceptron([n, *hidden, n * r], activation, Bounded(bound), torch.nn.Unflatten(-1, (n, r)))
    torch.nn.init.uniform_(U[-3].bias, -1e-4 * bound, 1e-4 * bound)
    return metrics.LowRankPlusDiagonal(_entries(net, hidden, activation, g_0), U)


def _conformal_at(g: metrics.Conformal, x: Tensor) -> Tensor:
    return torch.exp(2 * g.log_factor(x))[..., None, None] * g.base(x)


def _low_rank_at(g: metrics.LowRankPlusDiagonal, x: Tensor) -> Tensor:
    U = g.factor(x)
    return torch.diag_embed(g.diagonal(x)) + U @ U.mT


_FAMILIES: dict[str, tuple[Callable[..., torch.nn.Module], Callable[[Any, Tensor], Tensor]]] = {
    "cholesky": (_cholesky, lambda g, x: g(x)),
    "diagonal": (_diagonal, lambda g, x: torch.diag_embed(g.entries(x))),
    "conformal": (_conformal, _conformal_at),
    "low_rank": (_low_rank, _low_rank_at),
}


def _start(start: float | Tensor, n: int) -> Tensor:
    """The metric at the start, float64, checked."""
    g = torch.as_tensor(start, dtype=torch.float64).detach().cpu()
    g = g * torch.eye(n, dtype=torch.float64) if g.ndim == 0 else g
    if g.shape != (n, n):
        raise ValueError(f"`start` has shape {tuple(g.shape)}, expected a number or ({n}, {n})")
    if not torch.allclose(g, g.mT) or int(torch.linalg.cholesky_ex(g).info) != 0:
        raise ValueError("`start` is not symmetric and positive definite")
    return g


def _before_tanh(ratio: Tensor, bound: float, net: MetricNet) -> Tensor:
    """What `bound * tanh(z / bound)` takes to `bound * ratio`."""
    if float(ratio.abs().max()) >= 1:
        raise ValueError(
            f"`start` is out of reach of the family {net.family!r} with `log_range` {net.log_range}: it lies outside "
            "the bounds of the heads; make `log_range` larger, or rescale the coordinates"
        )
    return bound * torch.atanh(ratio)


def _start_at(layer: torch.nn.Linear, outputs: Tensor) -> None:
    torch.nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(outputs)


# ----------------------------------------------------------------- every open function asks the structure underneath


def _by_structure(function: Callable[..., Any]) -> None:
    """Registers the route of a function that asks the structure underneath."""

    @function.register(MetricNet)  # type: ignore[attr-defined]
    def of_structure(metric: MetricNet, *args: Any, **kwargs: Any) -> Any:
        return function(metric.structure, *args, **kwargs)


for _function in riemann.open_functions():
    _by_structure(_function)
