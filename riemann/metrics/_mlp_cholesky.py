r"""A network metric $g = L L^T$ whose factor is an elementwise map of the last linear layer's outputs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from riemann.metrics.configuration import check_same, of_weights_alone, plain
from riemann.metrics.elementwise import Elementwise, Softplus, check_elementwise, check_widths, elementwise_jet


class MLPCholesky(torch.nn.Module):
    r"""The metric $g(x) = L(x) L(x)^T$ of a network with outputs o, $L_{ik} = \phi_{ik}(o_{ik})$ for $i \ge k$.

    $o = W h + b$ with h the last hidden layer, in the order of `torch.tril_indices`; $\phi$ is a positive map on the
    diagonal. A module and a metric: one point or a batch. Curvature has closed forms here, which the functions of
    `riemann` find by themselves: no differentiation, time O(n²H(n + H)) for H hidden units.

    Args:
        dim: n, the dimension.
        hidden: widths of the hidden layers.
        activation: smooth elementwise map after each hidden layer, a function or a module.
        diagonal: smooth positive elementwise map on the diagonal of L; by default `softplus(.) + 0.1`.
        off_diagonal: smooth elementwise map below it, such as `Bounded(1 / dim)`; by default the identity.

    Raises:
        ValueError: `dim` or a width is not positive, or a map is not elementwise.

    Note:
        Closed forms are known for tanh, sigmoid, softplus, silu, gelu, sin and for maps with a method
        `jet(z) -> (f, f', f'')`; other maps are differentiated by `riemann.jet`. Elementwise heads keep the inverse
        factor cheap: bound the condition number by `off_diagonal`, not by adding a multiple of the identity to g.

        Inside DistributedDataParallel: `riemann`'s functions unwrap it, and gradients of a loss on curvature are then
        NOT synchronised. Wrap a module whose `forward` computes the loss.

    Example:
        >>> import torch
        >>> import riemann as rm
        >>> from riemann.metrics import MLPCholesky
        >>> metric = MLPCholesky(3, hidden=(16, 16)).double()
        >>> rm.scalar_curvature(metric, torch.randn(5, 3, dtype=torch.float64)).shape
        torch.Size([5])
    """

    layers: torch.nn.ModuleList
    diagonal: torch.nn.Module
    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...

    rows: Tensor
    columns: Tensor
    on_diagonal: Tensor

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int] = (64, 64),
        *,
        activation: Elementwise = torch.tanh,
        diagonal: Elementwise | None = None,
        off_diagonal: Elementwise | None = None,
    ):
        super().__init__()
        check_widths(dim, hidden)
        widths = (dim, *hidden, dim * (dim + 1) // 2)
        for name, f, units in (
            ("activation", activation, max(hidden, default=1)),
            ("diagonal", diagonal, dim),
            ("off_diagonal", off_diagonal, widths[-1]),
        ):
            if f is not None:
                check_elementwise(f, name, units)
        self.register_load_state_dict_pre_hook(of_weights_alone)
        self.dim = dim
        self.layers = torch.nn.ModuleList(torch.nn.Linear(i, o) for i, o in zip(widths, widths[1:], strict=False))
        self.activation = activation
        self.diagonal = Softplus() if diagonal is None else diagonal
        self.off_diagonal = off_diagonal
        self._register_places(dim)

    def _register_places(self, dim: int) -> None:
        """Where the outputs stand in the triangle."""
        rows, columns = torch.tril_indices(dim, dim)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        self.register_buffer("on_diagonal", torch.nonzero(rows == columns)[:, 0], persistent=False)

    @classmethod
    def from_weights(
        cls,
        weights: Sequence[tuple[Any, Any]],
        *,
        activation: Elementwise = torch.tanh,
        diagonal: Elementwise | None = None,
        off_diagonal: Elementwise | None = None,
    ) -> "MLPCholesky":
        """The metric with given weights, which are copied and keep their dtype.

        Args:
            weights: `(W, b)` of each linear layer, input first, arrays of numpy or tensors: `(out, in)` and `(out,)`.
            activation: as for the class.
            diagonal: as for the class.
            off_diagonal: as for the class.

        Returns:
            The metric.

        Raises:
            ValueError: shapes that do not fit together, or a last layer that has not n(n+1)/2 outputs.

        Example:
            >>> import numpy as np
            >>> from riemann.metrics import MLPCholesky
            >>> metric = MLPCholesky.from_weights([(np.eye(3, 2), np.zeros(3)), (np.eye(3), np.zeros(3))])
            >>> metric(torch.zeros(2, dtype=torch.float64)).diagonal()
            tensor([0.6291, 0.6291], dtype=torch.float64, grad_fn=<DiagonalBackward0>)
        """
        pairs = [(torch.as_tensor(W), torch.as_tensor(b)) for W, b in weights]
        if not pairs:
            raise ValueError("`weights` is empty, expected (W, b) of one layer or more")
        width = n = pairs[0][0].shape[-1]
        for i, (W, b) in enumerate(pairs):
            if W.ndim != 2 or W.shape[1] != width or b.shape != W.shape[:1]:
                raise ValueError(
                    f"layer {i} of `weights` has W {tuple(W.shape)} and b {tuple(b.shape)}, "
                    f"expected (out, {width}) and (out,)"
                )
            width = W.shape[0]
        if width != n * (n + 1) // 2:
            raise ValueError(
                f"the last layer of `weights` has {width} outputs, expected n(n+1)/2 = {n * (n + 1) // 2} "
                f"for points of n = {n} coordinates: the lower triangle of the factor, row by row"
            )
        hidden = [W.shape[0] for W, _ in pairs[:-1]]
        self = cls(n, hidden, activation=activation, diagonal=diagonal, off_diagonal=off_diagonal)
        for layer, (W, b) in zip(self.layers, pairs, strict=True):
            layer.weight = torch.nn.Parameter(W.detach().clone())
            layer.bias = torch.nn.Parameter(b.detach().clone())
        return self

    def forward(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n n"]:
        """The metric at points, `(*batch, n, n)`."""
        L = self.factor(x)
        return L @ L.mT

    def factor(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n n"]:
        """The lower triangular factor L, `(*batch, n, n)`."""
        h = x
        for k, layer in enumerate(self.layers[:-1]):
            h = self.units(k, layer(h))
        o = self.triangle(self.layers[-1](h))
        lower = o if self.off_diagonal is None else self.off_diagonal(o)
        return lower.tril(-1) + torch.diag_embed(self.diagonal(o.diagonal(dim1=-2, dim2=-1)))

    def units(self, k: int, s: Tensor) -> Tensor:
        """The values of the k-th hidden layer, `(…, H)`, from what goes into it."""
        return self.activation(s)

    def units_jet(self, k: int, s: Tensor, dim: int = -1) -> tuple[Tensor, Tensor, Tensor]:
        """The same with first and second derivatives; the units stand on the axis `dim`."""
        return elementwise_jet(self.activation, s)

    def get_extra_state(self) -> dict[str, Any]:
        """What makes the metric, beside its weights."""
        maps = {"activation": self.activation, "diagonal": self.diagonal, "off_diagonal": self.off_diagonal}
        return {"dim": self.dim, **plain(maps)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Raises unless the state is of such a metric."""
        check_same("metric", self.get_extra_state(), state)

    def routes_hold(self) -> bool:
        """Whether the layers are those that the closed forms are for: W h + b."""
        plain = torch.nn.Linear.forward, torch.nn.Module.__call__
        return all((type(m).forward, type(m).__call__) == plain and m.bias is not None for m in self.layers)

    def triangle(self, entries: Tensor) -> Tensor:
        """The lower triangular matrices `(..., n, n)` with these entries, `(..., n(n+1)/2)`, row by row."""
        n = self.dim
        zeros = entries.new_zeros((*entries.shape[:-1], n * n))
        return zeros.index_copy(-1, self.rows * n + self.columns, entries).unflatten(-1, (n, n))
