r"""What linear layers see in one call of a model: their inputs, and at each datum the metric on their outputs.

The metric of a layer $s = W a + b$ is given on s itself, or it lives further on, on the output z of a module that
contains the layer, and is pulled back to s: $g_s = J^T g_z J$ with $J = \partial z / \partial s$.
"""

import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch._C import _functorch

from riemann_nn._losses.likelihoods import Factor, Metric, metric_at


class Seen(NamedTuple):
    """One linear layer in one call of the model.

    Attributes:
        a: inputs, `(batch, in)`.
        V: a factor of the metric on the outputs, $g = V V^T$, `(batch, out, k)`; None where g is given itself.
        g: the metric, `(batch, out, out)`; None where it is the identity or comes as a factor.
    """

    a: Tensor
    V: Tensor | None = None
    g: Tensor | None = None

    def metric(self) -> Tensor | None:
        """The metric at each datum, `(batch, out, out)`; None for the identity."""
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
    """

    def __init__(
        self,
        model: torch.nn.Module,
        layers: Mapping[torch.nn.Linear, str],
        on_layers: Mapping[torch.nn.Linear, Metric],
        on_modules: Mapping[torch.nn.Module, Factor],
        wanted: Callable[[], bool],
        receive: Callable[[dict[torch.nn.Linear, Seen]], None],
    ):
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
        self.seen: dict[torch.nn.Linear, Seen] | None = None
        self.nudges: dict[torch.nn.Linear, Tensor] = {}
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

    def _layer(self, layer: torch.nn.Linear, args: tuple[Any, ...], s: Tensor) -> Tensor | None:
        if self.seen is None or _functorch.is_functorch_wrapped_tensor(s):
            return None
        where = f"layer `{self.layers[layer]}`"
        if layer in self.seen:
            self._refuse(
                f"{where} is called more than once in one call of the model: its weights are shared, and their block "
                "has no Kronecker form; name it in `exclude`, so that Adam trains it"
            )
        a = args[0].detach().to(layer.weight.dtype).reshape(-1, layer.in_features)
        if layer in self.home:
            if s.ndim != 2:
                self._refuse(
                    f"{where} returned shape {tuple(s.shape)}, expected (batch, {layer.out_features}): a metric can "
                    "be pulled back to a layer that sees each datum once; name it in `exclude`, so that Adam trains it"
                )
            self.seen[layer] = Seen(a)
            self.nudges[layer] = torch.zeros_like(s, requires_grad=True)  # s itself may be overwritten later on
            return s + self.nudges[layer]
        metric = self.on_layers.get(layer)
        if metric is not None:
            with torch.no_grad():
                s = s.detach().to(layer.weight.dtype).reshape(-1, layer.out_features)
                self.seen[layer] = Seen(a, g=metric_at(metric, s, where))
        else:
            self.seen[layer] = Seen(a)
        return None

    def _module(self, module: torch.nn.Module, args: tuple[Any, ...], z: Any) -> None:
        layers = [layer for layer in self.nudges if self.home[layer] is module]
        if self.seen is None or not layers:
            return
        z = z[0] if isinstance(z, tuple) else z
        batch = self.seen[layers[0]].a.shape[0]
        if not isinstance(z, Tensor) or z.ndim != 2 or z.shape[0] != batch:
            got = f"shape {tuple(z.shape)}" if isinstance(z, Tensor) else f"a {type(z).__name__}"
            self._refuse(
                f"`{self.names[module]}` returned {got}, expected a tensor ({batch}, n), or a tuple that begins with "
                "one: a metric is pulled back from one vector a datum"
            )
        # meanwhile nothing counts: the metric may raise, and a checkpointed module is called again by `backward`
        seen, self.seen = self.seen, None
        with torch.no_grad():
            S = self.on_modules[module](z.detach().to(layers[0].weight.dtype)).to(z.dtype)
        nudges = [self.nudges.pop(layer) for layer in layers]
        columns: list[list[Tensor]] = []
        for column in S.unbind(-1):
            z.backward(column, retain_graph=True, inputs=nudges)
            columns.append([torch.zeros_like(e) if e.grad is None else e.grad for e in nudges])
            for e in nudges:
                e.grad = None
        for layer, V in zip(layers, zip(*columns, strict=True), strict=True):
            seen[layer] = Seen(seen[layer].a, V=torch.stack(V, -1).to(layer.weight.dtype))
        self.seen = seen

    def _end(self, module: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
        seen, self.seen = self.seen, None
        complete = not self.nudges
        self.nudges = {}
        if seen and output is not None:
            if not complete:
                raise ValueError(
                    "a layer ran, but the module whose metric it gets did not return; call the module itself"
                )
            self.receive(seen)


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
