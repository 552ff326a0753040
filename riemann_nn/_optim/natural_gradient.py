r"""Natural gradient in the metric $G = E[J^T g J]$ that a metric g on representations induces on parameters."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from riemann_nn._losses.likelihoods import Metric, factor_of, fisher_factor
from riemann_nn._optim import kronecker as kronecker
from riemann_nn._optim.covered import Layer, bare, covered_layers, metrics_of, widths
from riemann_nn._optim.observer import Observer, Seen
from riemann_nn._optim.options import check_options, parameters_of, period

_LOGGER = logging.getLogger("riemann_nn")


class NaturalGradient(torch.optim.Optimizer):
    r"""Descent along $G^{-1} \nabla L$ with $G = E[J^T g J]$, one block for each linear layer.

    The output $s = W a + b$ of a linear layer has a metric $g(s)$; with $\bar a = (a, 1)$ the block of $(W, b)$ is
    $E[\bar a \bar a^T \otimes g]$. It is taken in Kronecker form $A \otimes B$ and damped,

    $$
    A = E[\bar a \bar a^T], \quad B = E[g], \quad
    (A + \pi \sqrt\lambda\, I) \otimes (B + \tfrac{1}{\pi} \sqrt\lambda\, I), \quad
    \pi^2 = \frac{\mathrm{tr} A / \dim A}{\mathrm{tr} B / \dim B}.
    $$

    Expectations are means over the batch, so the loss is to be a mean, too.

    Convolutions are linear layers on patches. Parameters that no metric is induced on (networks of metrics, norms,
    embeddings, tied weights, layers that are not called themselves) are trained by Adam; `repr` and one line in the log
    name them.

    Args:
        model: module, bare, in `DistributedDataParallel`, or compiled (and not called yet). Hooks on its linear layers
            gather statistics in calls of the whole model, in training mode and with gradients enabled; `close()` takes
            them off.
        lr: step length of natural gradient.
        metric: where g comes from. `"learned"`: from `metrics`, or `model.induced_metrics()` and `map_metrics()`, which
            of a neural manifold are all linear layers of its coordinates; `"identity"`: g = I
            (FOOF); `"fisher"`: the Fisher metric of the model's output, pulled back exactly (K-FAC's output side).
        metrics: for `"learned"`, a metric callable for each module: on the output of a linear layer, or of a module
            with linear layers in it, to which it is pulled back (one backward pass a dimension, see `probes`).
        likelihood: for `"fisher"`, what the output z is: `"categorical"` (logits, cross-entropy), `"bernoulli"`
            (independent logits), `"gaussian"` (means, $\tfrac12 |z - y|^2$), or a metric callable on z.
        damping: $\lambda$; with 0 the inverses are pseudo-inverses.
        decay: of the running averages of A and B; $\min(\text{decay}, 1 - 1/k)$ at the k-th, so that the first is the
            batch's own; 0 keeps no past.
        refresh: number of steps for which statistics and inverses are kept; or a share less than 1, such as 0.25: as
            few steps as keep refreshes within that share of the work. Operations are counted, once, on the first
            batch, those of the model's linear layers and of this optimiser; no clock is read.
        clip: the trust region: greatest natural length $\mathrm{lr} \sqrt{\nabla^T G^{-1} \nabla}$ of a step, in each
            parameter group and before momentum; None for steps of any length. In the Fisher metric half its square is
            how far, in nats, predictions move.
        momentum: of the natural steps.
        weight_decay: decoupled, $\theta \leftarrow (1 - \mathrm{lr} \cdot \text{weight decay})\, \theta$, also in Adam.
        inner_lr: Adam's.
        exclude: modules whose parameters Adam is to train.
        groups: parameter groups with options of their own, `{"params": …, "lr": …}`; the rest of the model is another.
        kronecker_error: whether to fill `kronecker_errors`.
        process_group: processes over which statistics are averaged; by default those of `DistributedDataParallel`.
        sharing: what counts as an input where a layer acts at several positions of a datum or several times (sequences,
            patches of a convolution, shared weights): `"expand"`, each; `"reduce"`, their mean.
        probes: the most backward passes for a pulled-back metric. Where it has more dimensions, so many random vectors
            take their place, which have its factors in the mean; None for all dimensions.

    Attributes:
        kronecker_errors: for each layer by name, the relative Frobenius error of $A \otimes B$ against
            $E[\bar a \bar a^T \otimes g]$ on the last batch whose statistics were taken.

    Raises:
        TypeError: `model` is not a module.
        ValueError: options out of range, no metric for any layer, batch norm under a pulled-back metric, weights of 16
            bits; in `step`, no statistics.

    Note:
        A refresh costs $O(n^3)$ for a layer of width n and, with `"fisher"`, a backward pass for each output. The order
        of `zero_grad`, call and `backward` does not matter: statistics are those of the calls since the last step.

    Reference:
        Luk and Grosse, arXiv 1808.10340, for metrics other than Fisher's; Martens and Grosse, arXiv 1503.05671, for
        damping and averages. That a metric on activations acts on parameters by $E[J^T g J]$ is our reading.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))
        >>> optimizer = NaturalGradient(model, lr=0.5, metric="fisher", damping=1e-2)
        >>> x, y = torch.randn(20, 3), torch.arange(20) % 2
        >>> loss = torch.nn.functional.cross_entropy(model(x), y)
        >>> loss.backward()
        >>> optimizer.step()
        >>> bool(torch.nn.functional.cross_entropy(model(x), y) < loss)
        True
    """

    def __init__(
        self,
        model: torch.nn.Module,
        lr: float = 0.1,
        *,
        metric: str = "learned",
        metrics: Mapping[torch.nn.Module, Metric] | None = None,
        likelihood: str | Metric = "categorical",
        damping: float = 1e-3,
        decay: float = 0.95,
        refresh: int | float = 1,
        clip: float | None = 0.5,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        inner_lr: float = 1e-3,
        exclude: Iterable[torch.nn.Module] = (),
        groups: Sequence[Mapping[str, Any]] = (),
        kronecker_error: bool = False,
        process_group: Any = None,
        sharing: str = "expand",
        probes: int | None = 16,
    ):
        if sharing not in ("expand", "reduce"):
            raise ValueError(f"`sharing` is {sharing!r}, expected 'expand' or 'reduce'")
        if probes is not None and (not isinstance(probes, int) or probes < 1):
            raise ValueError(f"`probes` is {probes!r}, expected None or a whole number, 1 or more")
        model, self._process_group = bare(model, process_group)
        self.metric = metric
        self._kronecker_error = kronecker_error
        self.kronecker_errors: dict[str, float] = {}
        on_modules = metrics_of(model, metric, metrics)
        self._layers = covered_layers(model, metric, on_modules, exclude)
        self._by_weight = {layer.weight: layer for layer in self._layers}
        if half := [name for layer, name in self._layers.items() if torch.finfo(layer.weight.dtype).bits < 32]:
            raise ValueError(
                f"`{half[0]}` has weights of 16 bits, in which statistics and inverses have no digits: use "
                "model.float(), and torch.autocast around the call"
            )
        self._pending: dict[Layer, kronecker.Factors] = {}
        self._columns: dict[Layer, int] = {}  # backward passes that the metric of a layer takes

        options = {"lr": lr, "damping": damping, "decay": decay, "refresh": refresh, "clip": clip, "momentum": momentum}
        defaults = {**options, "weight_decay": weight_decay, "inner_lr": inner_lr}
        self._adam = torch.optim.AdamW([torch.zeros(())], lr=inner_lr, weight_decay=weight_decay)
        self._inner_lr = inner_lr
        self._open = True
        super().__init__(self._split(model, groups, defaults), {**options, "weight_decay": weight_decay})
        self._open = False
        if inner := self._abridged("adam"):
            _LOGGER.warning("NaturalGradient: no metric is induced on %s; Adam trains them", ", ".join(inner))

        linear = {m: g for m, g in on_modules.items() if isinstance(m, torch.nn.Linear)}
        factors = {
            m: factor_of(g, f"the output of {type(m).__name__}") for m, g in on_modules.items() if m not in linear
        }
        if metric == "fisher":
            factors = {model: fisher_factor(likelihood)}
        self._observer = Observer(
            model,
            self._layers,
            linear,
            factors,
            lambda: model.training and self._is_due(),
            self._receive,
            sharing,
            probes,
        )

    # -------------------------------------------------------------------------------------------- parameter groups

    def _split(
        self, model: torch.nn.Module, groups: Sequence[Mapping[str, Any]], defaults: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The user's groups and the rest, each in two: what has an induced metric, and what goes to Adam."""
        names = {p: name for name, p in model.named_parameters()}
        stated = [{**group, "params": parameters_of(group["params"])} for group in groups]
        taken = [p for group in stated for p in group["params"]]
        if len(set(taken)) < len(taken) or not names.keys() >= set(taken):
            raise ValueError("`groups` holds a parameter twice, or one that is not the model's")
        stated.append({"params": [p for p in names if p not in set(taken)]})
        split = []
        for group in stated:
            if unknown := group.keys() - defaults.keys() - {"params"}:
                raise ValueError(f"`groups` has options {sorted(unknown)}, expected some of {sorted(defaults)}")
            options = {**defaults, **group}
            check_options(options)
            inner_lr, params = options.pop("inner_lr"), dict.fromkeys(options.pop("params"))
            natural = [p for layer in self._layers for p in (layer.weight, layer.bias) if p in params]
            for layer, name in self._layers.items():
                if layer.bias is not None and (layer.weight in params) != (layer.bias in params):
                    raise ValueError(f"weight and bias of `{name}` are in two groups; put both in one")
            adam = [p for p in params if p not in set(natural)]
            if natural:
                split.append({**options, "kind": "natural", "steps": 0, "params": [(names[p], p) for p in natural]})
            if adam:
                options = {**self._adam.defaults, **options, "lr": inner_lr}
                split.append({**options, "kind": "adam", "params": [(names[p], p) for p in adam]})
        return split

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused after the construction: parameters, and their metrics, are those of the model."""
        if not self._open:
            raise ValueError("parameters are those of the model; state groups as `NaturalGradient(model, groups=…)`")
        super().add_param_group(param_group)

    # ------------------------------------------------------------------------------------------------- statistics

    def _is_due(self) -> bool:
        """Whether the next step takes statistics: by its number, or for a layer that has none yet."""
        natural = [g for g in self.param_groups if g["kind"] == "natural"]
        late = (p.requires_grad and "A" not in self.state.get(p, {}) for p in self._by_weight)
        return any(g["steps"] % period(g) == 0 for g in natural) or any(late)

    @torch.no_grad()
    def _receive(self, seen: dict[Layer, Seen]) -> None:
        for layer, here in seen.items():
            a, g = _homogeneous(layer, here.a), here.metric()
            sums = kronecker.factors(a, g, widths(layer)[1])
            if self._kronecker_error:
                self.kronecker_errors[self._layers[layer]] = kronecker.relative_error(a, g)
            self._pending[layer] = sums + self._pending[layer] if layer in self._pending else sums
            self._columns[layer] = 0 if here.V is None else here.V.shape[-1]

    def _reduce(self) -> None:
        """Adds the sums of all processes: one message, of the same length on each of them."""
        if self._process_group is None:
            return
        nothing = (
            kronecker.factors(_homogeneous(l, l.weight[:0].flatten(1)), None, widths(l)[1]) for l in self._layers
        )
        sums = [self._pending.get(layer, empty) for layer, empty in zip(self._layers, nothing, strict=True)]
        flat = torch.cat([t.reshape(-1) for factors in sums for t in factors])
        torch.distributed.all_reduce(flat, group=self._process_group)
        pieces = iter(flat.split([t.numel() for factors in sums for t in factors]))
        for layer, factors in zip(self._layers, sums, strict=True):
            total = kronecker.Factors(*(next(pieces).reshape(t.shape) for t in factors))
            if total.count > 0:
                self._pending[layer] = total

    # ------------------------------------------------------------------------------------------------------- step

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; with a closure, which clears gradients, computes the loss and calls `backward`, at its gradients.

        Raises:
            ValueError: a layer has a gradient, but no statistics: the model was not called in training mode.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._is_due():
            self._reduce()
        self._adam.param_groups = [g for g in self.param_groups if g["kind"] == "adam"]
        for group in self.param_groups:
            if group["kind"] == "natural" and (strays := self._natural_step(group)):
                options = {"lr": self._inner_lr, "weight_decay": group["weight_decay"], "params": strays}
                self._adam.param_groups.append({**self._adam.defaults, **options})
        self._pending.clear()
        self._adam.state = self.state
        self._adam.step()
        return loss

    def _natural_step(self, group: dict[str, Any]) -> list[Tensor]:
        """Steps of the layers of a group; returns parameters that Adam is to train after all."""
        due = group["steps"] % period(group) == 0
        steps: list[tuple[Tensor, Tensor]] = []
        strays: list[Tensor] = []
        square: Any = 0.0  # of the natural norm of the gradient
        for layer in (self._by_weight[p] for p in group["params"] if p in self._by_weight):
            params = [p for p in (layer.weight, layer.bias) if p is not None and p.grad is not None]
            if not params:
                continue
            if self._is_stray(layer):
                strays += params
                continue
            A_inverse, B_inverse = self._inverses(layer, params, due, group)
            gradient = torch.cat([p.grad.reshape(widths(layer)[1], -1) for p in params], -1)
            natural = B_inverse @ gradient @ A_inverse
            square = square + (gradient * natural).sum()
            pieces = natural.split([p.numel() // widths(layer)[1] for p in params], -1)
            steps += [(p, piece.reshape(p.shape)) for p, piece in zip(params, pieces, strict=True)]
        group["steps"] += 1
        if due and self._pending and group["refresh"] < 1 and "period" not in group:
            group["period"] = self._affordable(group)

        lr, clip = group["lr"], group["clip"]
        shrink = 1.0
        if clip is not None and steps:
            shrink = (clip / (lr * square.clamp_min(0).sqrt())).clamp_max(1)  # infinite where the gradient is 0
        for p, step in steps:
            step = shrink * step
            if group["momentum"]:
                step = step + group["momentum"] * self.state[p].get("velocity", 0.0)
                self.state[p]["velocity"] = step
            p.mul_(1 - lr * group["weight_decay"]).sub_(lr * step)
        return strays

    def _affordable(self, group: dict[str, Any]) -> int:
        """Steps between refreshes that keep them within a share of the work, by operations on the last batch."""
        processes = 1 if self._process_group is None else torch.distributed.get_world_size(self._process_group)
        seen = [layer for layer in self._pending if any(layer.weight is p for p in group["params"])]
        refresh = step = 0.0
        for layer in seen:
            inputs, m = widths(layer)
            count, n = float(self._pending[layer].count) / processes, inputs + (layer.bias is not None)
            refresh += kronecker.refresh_operations(count, n, m, self._columns[layer])
            step += kronecker.step_operations(count, n, m)
        share = group["refresh"]
        return max(1, math.ceil(refresh * (1 - share) / (share * step))) if step else 1

    def _is_stray(self, layer: Layer) -> bool:
        """Whether a layer has a gradient and never statistics: something takes its weights and does not call it."""
        state = self.state[layer.weight]
        if "A" in state or layer in self._pending or not (self._pending or "exp_avg" in state):
            return False  # without any statistics the model itself was not called: `_average` says so
        if "exp_avg" not in state:
            _LOGGER.warning("NaturalGradient: `%s` is never called as a layer; Adam trains it", self._layers[layer])
        return True

    def _inverses(self, layer: Layer, params: list[Tensor], due: bool, group: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """The damped inverses of A, in the columns of what has a gradient, and of B; new where they are due."""
        state = self.state[layer.weight]
        if due or "A" not in state:
            self._average(layer, state, group["decay"])
        trained = [any(p is q for q in params) for p in (layer.weight, layer.bias)]
        if due or state.get("trained") != trained:
            columns = [trained[0]] * widths(layer)[0] + [trained[1]] * (layer.bias is not None)
            keep = torch.tensor(columns, device=layer.weight.device).nonzero().squeeze(-1)
            A = state["A"].index_select(0, keep).index_select(1, keep)
            state["A_inverse"], state["B_inverse"] = kronecker.damped_inverses(A, state["B"], group["damping"])
            state["trained"] = trained
        return state["A_inverse"], state["B_inverse"]

    def _average(self, layer: Layer, state: dict[str, Any], decay: float) -> None:
        """Takes the statistics since the last step into the running averages."""
        sums = self._pending.get(layer)
        if sums is None:
            raise ValueError(
                f"layer `{self._layers[layer]}` has a gradient, but no statistics since the last step: call the model "
                "itself, in training mode and with gradients enabled (if it is compiled, for the first time after the "
                "optimiser is made); what is trained otherwise, name in `exclude`"
            )
        A, B = sums.A / sums.count, sums.B / sums.count
        if not bool(A.isfinite().all() & B.isfinite().all()):
            raise ValueError(
                f"the statistics of layer `{self._layers[layer]}` are not finite: its inputs or metric are not"
            )
        state["averages"] = state.get("averages", 0) + 1
        past = min(decay, 1 - 1 / state["averages"])
        state["A"] = past * state["A"] + (1 - past) * A if past else A
        state["B"] = past * state["B"] + (1 - past) * B if past else B

    # -------------------------------------------------------------------------------------------------- belongings

    def close(self) -> None:
        """Takes the hooks off the model; the optimiser is of no use then."""
        self._observer.close()

    def _abridged(self, kind: str) -> list[str]:
        """The names of what is trained in one of the two ways: of whole modules where all of one is."""
        names = [(n, g["kind"] == kind) for g in self.param_groups for n in g["param_names"]]
        others = [n for n, is_kind in names if not is_kind]

        def shortest(name: str) -> str:
            parts = name.split(".")
            prefixes = [".".join(parts[:k]) for k in range(1, len(parts))]
            return next((p for p in prefixes if not any(n.startswith(f"{p}.") for n in others)), name)

        return list(dict.fromkeys(shortest(n) for n, is_kind in names if is_kind))

    def __repr__(self) -> str:
        lines = [f"    {words}: {', '.join(self._abridged(kind)) or 'nothing'}" for kind, words in _STEPS.items()]
        return "\n".join((f"{type(self).__name__} (metric={self.metric!r},", *lines, ")"))

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(
            "NaturalGradient has hooks on its model and cannot be copied or pickled; make one for the copy of the "
            "model, and `load_state_dict(optimizer.state_dict())`"
        )


_STEPS = {"natural": "natural gradient", "adam": "Adam"}


def _homogeneous(layer: Layer, a: Tensor) -> Tensor:
    """Inputs with a last coordinate 1 for the bias, if there is one."""
    return a if layer.bias is None else torch.cat((a, a.new_ones(len(a), 1)), -1)
