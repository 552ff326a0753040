r"""Coordinate layers: smooth invertible maps between charts, and what to call a map that changes the dimension."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from riemann.metrics.configuration import check_same, of_weights_alone
from riemann.metrics.elementwise import Bounded, described
from riemann_nn._fields.smooth import is_rough, perceptron, smooth


class CoordinateLayer(torch.nn.Module):
    r"""A chart transition: a diffeomorphism of $\mathbb{R}^n$ made of affine couplings, the identity at the start.

    Each coupling keeps some coordinates a and moves the others: $b \mapsto b\, e^{s(a)} + t(a)$ with
    $|s| <$ `log_scale`. Which are kept is drawn once, complements in turn.
    For n = 1 nothing is kept: s and t are numbers.

    Args:
        dim: n, the dimension.
        depth: number of couplings.
        hidden: widths of the hidden layers of s and t.
        activation: smooth elementwise map.
        log_scale: bound of s.

    Attributes:
        kind: `"transition"`.

    Raises:
        ValueError: numbers that are not positive, an activation that is not smooth; points of another dimension; a
            state dict of another activation or bound.

    Note:
        The pull-back of a flat metric through it is flat: charts create no curvature.

    Reference:
        Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP* (2017).

    Example:
        >>> import torch
        >>> from riemann_nn import CoordinateLayer
        >>> phi, x = CoordinateLayer(4, depth=8), torch.randn(10, 4)
        >>> torch.equal(phi(x), x)
        True
    """

    couplings: torch.nn.ModuleList
    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...

    kind = "transition"

    def __init__(
        self,
        dim: int,
        *,
        depth: int = 4,
        hidden: Sequence[int] = (64,),
        activation: Any = torch.nn.Tanh,
        log_scale: float = 1.0,
    ):
        super().__init__()
        if min(dim, depth, *hidden, 1) < 1 or not log_scale > 0:
            raise ValueError(
                f"`dim` is {dim}, `depth` {depth}, `hidden` {tuple(hidden)}, `log_scale` {log_scale}, expected "
                "positive numbers"
            )
        self.dim = dim
        activation = smooth(activation)
        couplings, order = [], torch.arange(dim)
        for i in range(depth):
            order = order.roll(dim // 2) if i % 2 else torch.randperm(dim)
            couplings.append(_Coupling(order, hidden, activation, log_scale))
        self.couplings = torch.nn.ModuleList(couplings)
        self.register_load_state_dict_pre_hook(of_weights_alone)

    def get_extra_state(self) -> dict[str, Any]:
        """What makes the map, beside its weights and their shapes."""
        (coupling, *_) = self.couplings
        between = [m for m in coupling.net.children() if not isinstance(m, torch.nn.Linear)]
        activation = described(getattr(between[0], "f", between[0])) if between else None
        return {"activation": activation, "log_scale": coupling.bound.bound}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Raises unless the state is of such a layer."""
        check_same("coordinate layer", self.get_extra_state(), state)

    def forward(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        r"""The new coordinates $\phi(x)$, `(*batch, n)`."""
        self._check(x)
        for coupling in self.couplings:
            x = coupling(x)[0]
        return x

    def inverse(self, z: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        r"""The old coordinates $\phi^{-1}(z)$, `(*batch, n)`, in closed form."""
        self._check(z)
        for coupling in reversed(self.couplings):
            z = coupling.inverse(z)  # type: ignore[operator]
        return z

    def log_abs_det_jacobian(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
        r"""$\log |\det \partial \phi / \partial x|$ at x, `(*batch,)`: a sum of n numbers for each coupling."""
        return self.with_log_det(x)[1]

    def with_log_det(self, x: Float[Tensor, "*batch n"]) -> tuple[Float[Tensor, "*batch n"], Float[Tensor, "*batch"]]:
        r"""$\phi(x)$ and `log_abs_det_jacobian(x)`, in one pass."""
        self._check(x)
        total = x.new_zeros(x.shape[:-1])
        for coupling in self.couplings:
            x, log_det = coupling(x)
            total = total + log_det
        return x, total

    def _check(self, x: Tensor) -> None:
        """Coordinates are picked by number: without this, more of them than n would be left out in silence."""
        if x.shape[-1:] != (self.dim,):
            raise ValueError(
                f"got points of shape {tuple(x.shape)}, expected (*batch, {self.dim}), points of this layer's dimension"
            )

    def extra_repr(self) -> str:
        """What print shows."""
        return f"dim={self.dim}, kind={self.kind!r}"


class _Coupling(torch.nn.Module):
    """One coupling: the first half of `order` is kept."""

    order: Tensor
    places: Tensor

    def __init__(self, order: Tensor, hidden: Sequence[int], activation: Any, log_scale: float):
        super().__init__()
        dim = len(order)
        self.kept = dim // 2
        self.register_buffer("order", order)
        self.register_buffer("places", order.argsort())
        self.bound = Bounded(log_scale)
        moved = dim - self.kept
        widths = [self.kept, *hidden, 2 * moved]
        self.net = perceptron(widths, activation) if self.kept else _Numbers(2 * moved)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        kept, moved = x.index_select(-1, self.order).tensor_split((self.kept,), -1)
        s, t = self.net(kept).chunk(2, -1)
        return kept, moved, self.bound(s), t

    def _joined(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat((kept, moved), -1).index_select(-1, self.places)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The moved point and log |det J|."""
        kept, moved, s, t = self._split(x)
        return self._joined(kept, moved * torch.exp(s) + t), s.sum(-1)

    def inverse(self, z: Tensor) -> Tensor:
        """The point that was moved."""
        kept, moved, s, t = self._split(z)
        return self._joined(kept, (moved - t) * torch.exp(-s))


class _Numbers(torch.nn.Module):
    """Outputs that depend on nothing."""

    def __init__(self, count: int):
        super().__init__()
        self.values = torch.nn.Parameter(torch.zeros(count))

    def forward(self, x: Tensor) -> Tensor:
        """`(*batch, count)`."""
        return self.values.expand(*x.shape[:-1], -1)


# ------------------------------------------------------------------------------------------- maps made of modules


def parts(map: torch.nn.Module) -> list[torch.nn.Module]:
    """The modules of a map in the order in which they act."""
    if isinstance(map, torch.nn.Sequential):
        return [part for module in map for part in parts(module)]
    return [map]


def kind_of(map: torch.nn.Module) -> str:
    """What a map is: `"transition"`, `"embedding"` (dimension grows), `"submersion"` (it shrinks), or `"map"`.

    Of a full-rank map, that is; only a transition is a diffeomorphism (onto its image). A map whose dimension grows and
    shrinks again is none of them.
    """
    kinds = {_kind(part) for part in parts(map)} - {"transition"}
    if not kinds:
        return "transition"
    return kinds.pop() if len(kinds) == 1 else "map"


def _kind(part: torch.nn.Module) -> str:
    if isinstance(part, torch.nn.Linear):
        grows = part.out_features - part.in_features
        return "embedding" if grows > 0 else "submersion" if grows < 0 else "transition"
    kind = getattr(part, "kind", None)
    if isinstance(kind, str):
        return kind
    return "transition" if is_elementwise(part) else "map"


_MIXING = ("Softmax", "Softmin", "Softmax2d", "LogSoftmax", "GLU", "MultiheadAttention")


def is_elementwise(part: torch.nn.Module) -> bool:
    """Whether a module is one of torch's activations, or has a `jet` of its own: it acts on each coordinate alone."""
    activation = type(part).__module__ == "torch.nn.modules.activation" and type(part).__name__ not in _MIXING
    return activation or hasattr(part, "jet")


def rough_parts(map: torch.nn.Module) -> list[str]:
    """Names of the activations in a map through which curvature cannot be pulled back."""
    return [type(part).__name__ for part in parts(map) if is_elementwise(part) and is_rough(part)]
