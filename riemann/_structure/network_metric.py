"""An `MLPCholesky` that is made of what was found in a graph: its layers read the parameters of the metric itself."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from riemann import _jets
from riemann.metrics import MLPCholesky
from riemann.metrics.elementwise import elementwise_jet


class Layer(torch.nn.Module):
    """An affine map `W s + b` of the parts of a state, in front of which some parts are carried on as they are.

    Args:
        field: the map, of the parts that it uses, one behind the other.
        used: their widths.
        parts: the parts at hand, `(name, width, whether it is used)`.
        carried: the names of those that are carried on.
        out_features: of the map.
        rows: which of its outputs are wanted, in order; all if None.
        given: the weight, whether it is to be transposed, and the bias, where they are tensors.
    """

    def __init__(
        self,
        field: torch.nn.Module,
        used: Sequence[int],
        parts: Sequence[tuple[int, int, bool]],
        carried: Sequence[int],
        out_features: int,
        rows: Tensor | None,
        given: tuple[Tensor, bool, Tensor | None] | None,
    ):
        super().__init__()
        self.parts, self.carried, self.turned = list(parts), list(carried), False
        self.in_features = sum(width for _, width, _ in parts)
        self.inputs, self.outputs = sum(used), out_features
        self.register_buffer("rows", rows)
        self.field, self.own_weight, self.own_bias = field, None, None
        if given is not None:
            weight, self.turned, bias = given
            self.field = None
            for name, tensor in (("own_weight", weight), ("own_bias", bias)):
                delattr(self, name)
                if isinstance(tensor, torch.nn.Parameter):
                    self.register_parameter(name, tensor)
                else:
                    self.register_buffer(name, tensor)

    def both(self) -> tuple[Tensor, Tensor]:
        """The weight and the bias."""
        if self.own_weight is not None:
            W = self.own_weight.mT if self.turned else self.own_weight
            b = W.new_zeros(len(W)) if self.own_bias is None else self.own_bias
        else:
            like = torch.zeros(self.inputs, dtype=self.field.dtype, device=self.field.device)
            b, W = _jets.jets_at(self.field, like, 1)
            b, W = b.reshape(self.outputs), W.reshape(self.outputs, self.inputs)
        if self.rows is not None:
            W, b = W[self.rows], b[self.rows]
        return (W, b) if [u for _, _, u in self.parts] == [True] and not self.carried else self._among_parts(W, b)

    def _among_parts(self, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Columns of 0 for parts that are not used, and rows of the identity for those carried on."""
        widths = [width for _, width, used in self.parts if used]
        columns = iter(W.split(widths, 1))
        rows = [torch.cat([next(columns) if used else W.new_zeros(len(W), width) for _, width, used in self.parts], 1)]
        identity = torch.eye(self.in_features, dtype=W.dtype, device=W.device)
        blocks = dict(zip((p for p, _, _ in self.parts), identity.split([w for _, w, _ in self.parts]), strict=True))
        kept = [blocks[p] for p in self.carried]
        size = sum(len(k) for k in kept)
        return torch.cat([*kept, *rows]), torch.cat([b.new_zeros(size), b])

    @property
    def weight(self) -> Tensor:
        """W, as the parameters are now."""
        return self.both()[0]

    @property
    def bias(self) -> Tensor:
        """The bias, as the parameters are now."""
        return self.both()[1]

    def forward(self, s: Tensor) -> Tensor:
        """W s + b."""
        return torch.nn.functional.linear(s, *self.both())


class Unit(torch.nn.Module):
    """A function of single numbers.

    Args:
        function: an elementwise map; the identity if None.
        factor: what it is multiplied by.
    """

    def __init__(self, function: Callable[[Tensor], Tensor] | None, factor: float = 1.0):
        super().__init__()
        self.function, self.factor = function, factor

    def forward(self, z: Tensor) -> Tensor:
        """The function, entry by entry."""
        y = z if self.function is None else self.function(z)
        return y if self.factor == 1 else self.factor * y

    def jet(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same with its first and second derivatives."""
        identity = z, torch.ones_like(z), torch.zeros_like(z)
        jet = identity if self.function is None else elementwise_jet(self.function, z)
        return jet if self.factor == 1 else tuple(self.factor * y for y in jet)  # type: ignore[return-value]


Head = Unit


class Carried(torch.nn.Module):
    """Units of which the first are carried on as they are.

    Args:
        width: how many.
        unit: the function of the others.
    """

    def __init__(self, width: int, unit: Unit):
        super().__init__()
        self.width, self.unit = width, unit

    def forward(self, s: Tensor) -> Tensor:
        """At units on the last axis."""
        if not self.width:
            return self.unit(s)
        return torch.cat([s[..., : self.width], self.unit(s[..., self.width :])], -1)

    def jet(self, s: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
        """With first and second derivatives, at units on any axis."""
        if not self.width:
            return self.unit.jet(s)
        kept, rest = s.split([self.width, s.shape[dim] - self.width], dim)
        f, first, second = self.unit.jet(rest)
        return (
            torch.cat([kept, f], dim),
            torch.cat([torch.ones_like(kept), first], dim),
            torch.cat([torch.zeros_like(kept), second], dim),
        )


class NetworkMetric(MLPCholesky):
    """The network that was found in a metric: an `MLPCholesky` whose layers may carry units on.

    Args:
        dim: n.
        layers: the affine maps.
        hidden: the units between them.
        diagonal: the map on the diagonal of L.
        below: that below it; the identity if None.
    """

    def __init__(self, dim: int, layers: Sequence[Layer], hidden: Sequence[Carried], diagonal: Any, below: Any):
        torch.nn.Module.__init__(self)
        self.dim = dim
        self.layers, self.hidden = torch.nn.ModuleList(layers), torch.nn.ModuleList(hidden)
        self.diagonal = diagonal
        self.off_diagonal = None if below is None or (below.function, below.factor) == (None, 1) else below
        self._register_places(dim)

    def units(self, k: int, s: Tensor) -> Tensor:
        """The values of the k-th hidden layer."""
        return self.hidden[k](s)

    def units_jet(self, k: int, s: Tensor, dim: int = -1) -> tuple[Tensor, Tensor, Tensor]:
        """The same with first and second derivatives."""
        return self.hidden[k].jet(s, dim)

    def routes_hold(self) -> bool:
        """The layers are those that the closed forms are for."""
        return True
