r"""What linear layers see in one call of a model: their inputs, and at each datum the metric on their outputs.

The metric of a layer $s = W a + b$ is given on s itself, or it lives further on, on the output z of a module that
contains the layer, and is pulled back to s: $g_s = J^T g_z J$ with $J = \partial z / \partial s$.

A layer may act at several positions of a datum, or several times: on sequences, patches of images, with shared
weights. Then each use counts as an input of its own (K-FAC "expand"), or their mean does ("reduce": for weights that
act on the mean of the positions alone).
"""

import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch._C import _functorch

from riemann_nn._losses.likelihoods import Factor, Metric, metric_at
from riemann_nn._optim.covered import Layer, inputs, outputs, widths


class Seen(NamedTuple):
    r"""One linear layer in one call of the model.

    Attributes:
        a: inputs, `(positions, in)`.
        V: a factor of the metric on the outputs, $g = V V^T$, `(positions, out, k)`; None where g is given itself. Of
            R positions a datum it is $\sqrt R$ times that of each, so that means over positions are sums over these.
        g: the metric, `(positions, out, out)`; None where it is the identity or comes as a factor.
    """

    a: Tensor
    V: Tensor | None = None
    g: Tensor | None = None

    def metric(self) -> Tensor | None:
        """The metric at each position, `(positions, out, out)`; None for the identity."""
        return self.g if self.V is None else self.V @ self.V.mT


class Observer:
    """Hooks on a model that hand over, after each call of it, what its linear layers saw.

    Only calls of the whole model count; what is called beside it, or inside transforms of `torch.func`, does not.
    Copies and pickles of the model get hooks that do nothing.

    Args:
        model: the model; data lead, `(batch, …)`.
        layers: linear layers and their names.
        on_layers: metrics on the outputs of layers themselves.
        on_modules: factors of metrics on the outputs of modules, pulled back to the layers inside that `on_layers` does
            not name; the innermost module counts. Costs one backward pass for each column of the factor.
        wanted: whether the call that begins is to be looked at.
        receive: gets the result of each such call.
        sharing: `"expand"` or `"reduce"`; None: a layer that sees a datum more than once is refused.
        probes: where a factor has more columns, so many random combinations of them are pulled back, which have its
            metric in the mean; None for all columns.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        layers: Mapping[Layer, str],
        on_layers: Mapping[Layer, Metric],
        on_modules: Mapping[torch.nn.Module, Factor],
        wanted: Callable[[], bool],
        receive: Callable[[dict[Layer, Seen]], None],
        sharing: str | None = None,
        probes: int | None = None,
    ):
        self.sharing, self.probes = sharing, probes
        self.generator = torch.Generator().manual_seed(0)
        self.layers, self.on_layers, self.on_modules = layers, on_layers, on_modules
        self.wanted, self.receive = wanted, receive
        self.names = {module: name or "the model" for name, module in model.named_modules()}
        self.home = {  # outer modules come first, so that the innermost stays
            layer: module
            for module in model.modules()
            if module in on_modules
            for layer in module.modules()
            if layer in layers and layer not in on_layers
        }
        for module in set(self.home.values()):
            mixing = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
            if mixing:
                raise ValueError(
                    f"`{self.names[mixing[0]]}` is a {type(mixing[0]).__name__}, which mixes the data of a batch: no "
                    "datum has a Jacobian of its own; use LayerNorm or GroupNorm, or metric='identity'"
                )
        self.seen: dict[Layer, list[Seen]] | None = None
        self.nudges: dict[Layer, list[tuple[Tensor, Tensor]]] = {}  # inputs, and what is added to outputs
        self.handles = [
            model.register_forward_pre_hook(_Hook(self._begin)),
            *(layer.register_forward_hook(_Hook(self._layer)) for layer in layers),
            *(m.register_forward_hook(_Hook(self._module)) for m in reversed(self.names) if m in self.home.values()),
            model.register_forward_hook(_Hook(self._end), always_call=True),
        ]

    def close(self) -> None:
        """Takes the hooks off."""
        for handle in self.handles:
            handle.remove()

    def _refuse(self, message: str) -> NoReturn:
        self.seen = None  # so that the hook at the end of the call, which runs all the same, has nothing to say
        raise ValueError(message)

    def _begin(self, module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        self.nudges = {}
        self.seen = {} if torch.is_grad_enabled() and self.wanted() else None

    def _layer(self, layer: Layer, args: tuple[Any, ...], s: Tensor) -> Tensor | None:
        if self.seen is None or _functorch.is_functorch_wrapped_tensor(s):
            return None
        where = f"layer `{self.layers[layer]}`"
        if self.sharing is None and (layer in self.seen or layer in self.nudges):
            self._refuse(f"{where} is called more than once in one call of the model: its weights are shared")
        a = inputs(layer, args[0])
        if layer in self.home:
            if self.sharing is None and s.ndim != 2:
                self._refuse(
                    f"{where} returned shape {tuple(s.shape)}, expected (batch, {widths(layer)[1]}): the metric of a "
                    "datum is pulled back to a layer that sees it once"
                )
            nudge = torch.zeros_like(s, requires_grad=True)  # s itself may be overwritten later on
            self.nudges.setdefault(layer, []).append((a, nudge))
            return s + nudge
        metric, g = self.on_layers.get(layer), None
        if metric is not None:
            seen, self.seen = self.seen, None  # the metric may call layers of the model
            with torch.no_grad():
                g = metric_at(metric, outputs(layer, s.detach().to(layer.weight.dtype)), where)
            self.seen = seen
        self.seen.setdefault(layer, []).append(Seen(a, g=g))
        return None

    def _module(self, module: torch.nn.Module, args: tuple[Any, ...], z: Any) -> None:
        layers = [layer for layer in self.nudges if self.home[layer] is module]
        if self.seen is None or not layers:
            return
        z = z[0] if isinstance(z, tuple) else z
        if not isinstance(z, Tensor) or z.ndim < 2 or (self.sharing is None and z.ndim > 2):
            got = f"shape {tuple(z.shape)}" if isinstance(z, Tensor) else f"a {type(z).__name__}"
            self._refuse(
                f"`{self.names[module]}` returned {got}, expected a tensor (batch, …, n), or a tuple that begins with "
                "one: a metric is pulled back from one vector a datum"
            )
        data = z.shape[:-1].numel()
        used = [(layer, a, nudge) for layer in layers for a, nudge in self.nudges.pop(layer)]
        for layer, a, _ in used:
            if len(a) % data:
                self._refuse(
                    f"`{self.names[module]}` returned shape {tuple(z.shape)}, {data} vectors, and layer "
                    f"`{self.layers[layer]}` acted {len(a)} times, expected as often or a multiple of it: a metric is "
                    "pulled back from one vector a datum; name the layer in `exclude`, so that Adam trains it"
                )
        # meanwhile nothing counts: the metric may raise, and a checkpointed module is called again by `backward`
        seen, self.seen = self.seen, None
        with torch.no_grad():
            S = self._columns(self.on_modules[module](z.detach().to(layers[0].weight.dtype)), z.ndim > 2).to(z.dtype)
        nudges = [nudge for *_, nudge in used]
        columns: list[list[Tensor]] = []
        for column in S.unbind(-1):
            z.backward(column, retain_graph=True, inputs=nudges)
            columns.append([torch.zeros_like(e) if e.grad is None else e.grad for e in nudges])
            for e in nudges:
                e.grad = None
        for (layer, a, _), V in zip(used, zip(*columns, strict=True), strict=True):
            factor = torch.stack([outputs(layer, v) for v in V], -1).to(layer.weight.dtype)
            seen.setdefault(layer, []).append(self._shared(Seen(a, V=factor), len(a) // data))
        self.seen = seen

    def _columns(self, S: Tensor, several: bool) -> Tensor:
        """The columns to pull back: S, or as many random combinations as `probes`.

        Of several vectors a datum, whose positions may mix, signs are random: cross terms are 0 in the mean.
        """
        if self.probes is not None and S.shape[-1] > self.probes:
            normal = torch.randn(*S.shape[:-2], S.shape[-1], self.probes, generator=self.generator)
            return S @ normal.to(S) / self.probes**0.5
        if not several:
            return S
        signs = 1 - 2 * torch.randint(2, (*S.shape[:-2], 1, S.shape[-1]), generator=self.generator)
        return S * signs.to(S)

    def _shared(self, here: Seen, positions: int) -> Seen:
        """Of a layer that acts at several positions of each datum."""
        if positions == 1:
            return here
        if self.sharing == "reduce":
            a, V = (t.unflatten(0, (-1, positions)) for t in (here.a, here.V))
            return Seen(a.mean(1), V=V.sum(1))
        return here._replace(V=positions**0.5 * here.V)

    def _end(self, module: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
        seen, self.seen = self.seen, None
        complete = not self.nudges
        self.nudges = {}
        if seen and output is not None:
            if not complete:
                raise ValueError(
                    "a layer ran, but the module whose metric it gets did not return; call the module itself"
                )
            self.receive({layer: self._together(uses) for layer, uses in seen.items()})

    def _together(self, uses: list[Seen]) -> Seen:
        """Several uses of a layer in one call as one."""
        if len(uses) == 1:
            return uses[0]
        if self.sharing == "reduce" and uses[0].V is not None and len({len(use.a) for use in uses}) == 1:
            return Seen(torch.stack([use.a for use in uses]).mean(0), V=torch.stack([use.V for use in uses]).sum(0))
        a, V, g = (None if field[0] is None else torch.cat(field) for field in zip(*uses, strict=True))
        return Seen(a, None if V is None else len(uses) ** 0.5 * V, None if g is None else len(uses) * g)


class _Hook:
    """A hook that does not keep its owner alive, and does nothing in copies and pickles of the model."""

    keeps_values = True  # so that `riemann` knows the structure of metrics all the same

    def __init__(self, method: Callable[..., Any] | None):
        self.method = method and weakref.WeakMethod(method)

    @torch._disable_dynamo
    def __call__(self, *args: Any) -> Any:
        method = self.method and self.method()
        return method and method(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Hook, (None,)
