"""The evolution layer: the task and the geometry in one loss, on a schedule, capped, and watched."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import riemann
from riemann_nn._charts.chart import Chart, without_autocast
from riemann_nn._charts.heads import STARTED, check_fits, task_of
from riemann_nn._losses import reduce
from riemann_nn._losses.compatibility import compatibility_loss
from riemann_nn._losses.curvature import check_names, curvature_loss
from riemann_nn._losses.fisher import fisher_loss
from riemann_nn._losses.likelihoods import Metric, fisher_factor
from riemann_nn._losses.monitor import CollapseMonitor
from riemann_nn._losses.volume import volume_or_zero

_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"kind": "scalar", "estimator": "exact", "points": None, "every": 1},
    "scale_free": {"kind": "sectional", "estimator": "sampled", "points": 16, "every": 4},
}


class EvolutionLoss(torch.nn.Module):
    r"""$L = L_{task} + w(t) (\lambda_c L_{curv} + \lambda_v L_{vol} + \lambda_k L_{comp} + \lambda_f L_{fisher})$.

    | | `"paper"` | `"scale_free"` |
    | --- | --- | --- |
    | $L_{curv}$ | $E[S^2]$, exact | $E[K^2 (\det g)^{2/n}]$ over planes, sampled |
    | $L_{vol}$ | $\mathrm{Var}(\sqrt{\det g})$ | $\mathrm{Var}(\log \sqrt{\det g})$ |
    | points | all, each step | 16 of each batch, each fourth step |

    The first is what the paper writes; the volume term alone has its optimum at a metric that shrinks to 0. Terms are
    summed over charts; all but the volume are evaluated at `points` random points at each `every`-th step, times
    `every`: unbiased over steps.

    Args:
        preset: `"paper"` or `"scale_free"`.
        curvature: $\lambda_c$.
        volume: $\lambda_v$.
        compatibility: $\lambda_k$.
        fisher: $\lambda_f$; then call with `model=`.
        likelihood: for `fisher_loss`.
        kind: of curvature, in place of the preset's.
        estimator: in place of the preset's.
        points: how many points of a batch, None for all, in place of the preset's.
        every: at how many steps once, in place of the preset's.
        num_samples: planes a point, for `"sampled"`.
        delay: steps before the geometry counts: w is 0.
        ramp: steps over which w then goes to 1.
        shape: of the ramp, `"linear"` or `"cosine"`.
        cap: largest ratio of the norms of the gradients of geometry and task in the parameters of the charts; the
            geometry is scaled down to it.
        monitor: watches the charts: at the first step and at each `monitor_every`-th. None for none.
        monitor_every: see there.
        accumulate: number of calls that make one step: of the batches whose gradients are added up.
        seed: of random points and planes; what is drawn depends on it, the call and the rank only.

    Raises:
        ValueError: unknown names, numbers out of range; in a call, a task that is not a scalar.

    Note:
        Step and monitor are in `state_dict`: training resumes exactly. In `eval()` all points are used and the step
        stays. Under DistributedDataParallel compute the loss inside the wrapped forward: `TrainingStep` does. Under
        autocast geometry keeps the precision of the metric. Of a batch of one point the volume loss is 0.

        Compiled, alone or in a `TrainingStep`, it is one graph for all steps: in place of `points` at each `every`-th
        step it takes that share of them at each, drawn by torch's own generator; the monitor is not called (call it
        with the charts when you like), and a `cap` is refused.

    Example:
        >>> import torch
        >>> from riemann_nn import EvolutionLoss, NeuralDifferentialManifold
        >>> model, evolution = NeuralDifferentialManifold(2, [3], 1), EvolutionLoss()
        >>> output, charts = model(torch.randn(20, 2))
        >>> total, parts = evolution(output.square().mean(), charts)
        >>> sorted(parts)
        ['curvature', 'task', 'volume']
    """

    preset: str
    likelihood: str | Metric
    shape: str
    seed: int
    weights: dict[str, float]
    every: int
    num_samples: int
    delay: int
    ramp: int
    cap: float | None
    monitor: Any
    made: Tensor

    def __init__(
        self,
        preset: str = "scale_free",
        *,
        curvature: float = 0.05,
        volume: float = 0.05,
        compatibility: float = 0.0,
        fisher: float = 0.0,
        likelihood: str | Metric = "categorical",
        kind: str | None = None,
        estimator: str | None = None,
        points: int | str | None = "preset",
        every: int | None = None,
        num_samples: int = 2,
        delay: int = 0,
        ramp: int = 0,
        shape: str = "linear",
        cap: float | None = None,
        monitor: CollapseMonitor | str | None = "default",
        monitor_every: int = 50,
        accumulate: int = 1,
        seed: int = 0,
    ):
        super().__init__()
        if preset not in _PRESETS:
            raise ValueError(f"`preset` is {preset!r}, expected 'paper' or 'scale_free'")
        if shape not in ("linear", "cosine"):
            raise ValueError(f"`shape` is {shape!r}, expected 'linear' or 'cosine'")
        chosen = _PRESETS[preset]
        self.preset, self.likelihood, self.shape, self.seed = preset, likelihood, shape, seed
        self.weights = {
            "curvature": curvature,
            "volume": volume,
            "compatibility": compatibility,
            "fisher": fisher,
        }
        self.kind: str = kind or chosen["kind"]
        self.estimator: str = estimator or chosen["estimator"]
        check_names(self.kind, self.estimator)
        fisher_factor(likelihood)
        if cap is not None and not cap > 0:
            raise ValueError(f"`cap` is {cap}, expected None or a positive number")
        self.points: int | None = chosen["points"] if points == "preset" else points
        self.every = chosen["every"] if every is None else every
        self.num_samples, self.delay, self.ramp, self.cap = num_samples, delay, ramp, cap
        if (
            min(self.every, monitor_every, accumulate, self.points or 1) < 1
            or min(delay, ramp, *self.weights.values()) < 0
        ):
            raise ValueError(
                f"`every` is {self.every}, `monitor_every` {monitor_every}, `points` {self.points}, "
                f"`accumulate` {accumulate}, `delay` {delay}, `ramp` {ramp}, weights {self.weights}, "
                "expected numbers that are not negative, the first four positive"
            )
        self.monitor = CollapseMonitor() if monitor == "default" else monitor
        self.monitor_every: int = monitor_every
        self.accumulate: int = accumulate
        self.register_buffer("made", torch.zeros((), dtype=torch.int64), persistent=False)
        self.latest: dict[str, Tensor] = {}

    @property
    def calls(self) -> int:
        """The number of calls in training."""
        return int(self.made)

    @property
    def step(self) -> int:
        """The number of steps that were made."""
        return self.calls // self.accumulate

    def factor(self, step: int) -> float:
        """The schedule w at a step: 0 before `delay`, 1 after `ramp` more, and what lies between."""
        return float(self._factor(torch.tensor(step)))

    def _factor(self, step: Tensor) -> Tensor:
        if not self.ramp:
            return (step >= self.delay).double()
        t = ((step - self.delay).double() / self.ramp).clamp(0, 1)
        return t if self.shape == "linear" else 0.5 - 0.5 * torch.cos(math.pi * t)

    def forward(self, task: Tensor, charts: Sequence[Chart], model: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, and its parts: each loss that has a weight, without it.

        Args:
            task: the task's loss, a scalar.
            charts: as a `NeuralDifferentialManifold` returns them.
            model: the model, where the Fisher loss has a weight.

        Returns:
            Total and parts, of the same keys at each step: those that are not evaluated at this one as they last were,
            NaN before that. The task is the mean over ranks.
        """
        if not isinstance(task, Tensor) or task.ndim:
            got = f"shape {tuple(task.shape)}" if isinstance(task, Tensor) else f"a {type(task).__name__}"
            raise ValueError(f"`task` is {got}, expected a scalar tensor: the mean of the task's loss over the batch")
        task = reduce.over_ranks(task) / reduce.world_size()
        if torch.compiler.is_compiling():
            return self._in_one_graph(task, charts, model)
        if self.training and self.monitor is not None and self.step % self.monitor_every == 0:
            self.monitor(charts)
        factor = self.factor(self.step)
        with without_autocast(task):
            losses = self._geometry(charts, model) if factor > 0 and any(self.weights.values()) else {}
            total = task
            if losses:
                geometry = factor * _weighted(losses)
                total = task + self._capped(task, geometry, charts) * geometry
        if self.training:
            self.made += 1
        self.latest = {**self.latest, **{name: loss.detach() for name, (loss, _) in losses.items()}}
        unknown = task.new_full((), math.nan)
        parts = {name: self.latest.get(name, unknown) for name, weight in self.weights.items() if weight}
        return total, {"task": task.detach(), **parts}

    def _in_one_graph(self, task: Tensor, charts: Sequence[Chart], model: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """`forward` for `torch.compile`: all steps alike, so that there is one graph, and no number in it changes."""
        if self.cap is not None:
            raise ValueError("a `cap` needs gradients of both losses and cannot be compiled: compile the model alone")
        with without_autocast(task):
            losses = self._losses(charts, self._share(charts), model, 1, None)
            total = task
            if losses:
                total = task + self._factor(self.made // self.accumulate).to(task.dtype) * _weighted(losses)
        if self.training:
            self.made += 1
        return total, {"task": task.detach(), **{name: loss.detach() for name, (loss, _) in losses.items()}}

    def _share(self, charts: Sequence[Chart]) -> list[Chart]:
        """The points that are one step's share."""
        if not self.training or self.points is None:
            return _flat(charts)
        return _chosen(charts, -(-self.points // self.every), None)

    def _geometry(self, charts: Sequence[Chart], model: Any) -> dict[str, tuple[Tensor, float]]:
        """Losses whose turn it is, and their weights."""
        if self.training and self.step % self.every:
            return self._losses(charts, None, model, 1, None)
        drawn = self.estimator == "sampled" or (self.training and self.points is not None)
        generator = self._generator(charts[0].coordinates.device) if drawn else None
        all_of_them = not self.training or self.points is None
        some = _flat(charts) if all_of_them else _chosen(charts, self.points, generator)
        return self._losses(charts, some, model, self.every if self.training else 1, generator)

    def _losses(
        self,
        charts: Sequence[Chart],
        some: Sequence[Chart] | None,
        model: Any,
        repeat: int,
        generator: torch.Generator | None,
    ) -> dict[str, tuple[Tensor, float]]:
        """Losses and weights: the volume's at all points, the others `repeat` times at some of them, if there are."""
        w, losses = self.weights, {}
        literal = self.preset == "paper"
        if w["volume"]:
            volumes = [volume_or_zero(c.metric, c.coordinates, not literal) for c in charts]
            losses["volume"] = torch.stack(volumes).sum(), w["volume"]
        if some is None:
            return losses
        if w["curvature"]:
            curvatures = [
                curvature_loss(
                    c.metric,
                    c.coordinates,
                    self.kind,
                    self.estimator,
                    scale_free=not literal,
                    num_samples=self.num_samples,
                    generator=generator,
                )
                for c in some
            ]
            losses["curvature"] = torch.stack(curvatures).sum(), repeat * w["curvature"]
        if w["compatibility"]:
            losses["compatibility"] = compatibility_loss(some), repeat * w["compatibility"]
        if w["fisher"]:
            if model is None:
                raise ValueError("the Fisher loss has a weight and needs the model: call with `model=`")
            losses["fisher"] = fisher_loss(model, some, self.likelihood), repeat * w["fisher"]
        return losses

    def _generator(self, device: torch.device) -> torch.Generator:
        seed = (self.seed * 1_000_003 + self.calls) * reduce.world_size() + reduce.rank()
        return torch.Generator(device).manual_seed(seed)

    def _capped(self, task: Tensor, geometry: Tensor, charts: Sequence[Chart]) -> float | Tensor:
        """What the geometry is multiplied with."""
        if self.cap is None:
            return 1.0
        modules = [m for c in charts for m in (c.map, c.metric)]
        parameters = list(dict.fromkeys(p for m in modules for p in m.parameters() if p.requires_grad))
        of_task, of_geometry = (_norm(riemann.recorded_gradients(loss, parameters)) for loss in (task, geometry))
        return (self.cap * of_task / of_geometry.clamp_min(torch.finfo(task.dtype).tiny)).clamp(max=1.0)

    def get_extra_state(self) -> dict[str, Any]:
        """The calls made, and the losses as they last were."""
        return {"calls": self.calls, "latest": {name: float(loss) for name, loss in self.latest.items()}}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """The calls made, and the losses as they last were."""
        self.made.fill_(state["calls"])
        self.latest = {name: torch.tensor(loss) for name, loss in state["latest"].items()}


def _flat(charts: Sequence[Chart]) -> list[Chart]:
    """Points in a row."""
    return [c._replace(coordinates=c.coordinates.reshape(-1, c.coordinates.shape[-1])) for c in charts]


def _chosen(charts: Sequence[Chart], count: int, generator: torch.Generator | None) -> list[Chart]:
    """The charts at random points of the batch, the same in each; at all where there are not more."""
    flat = _flat(charts)
    points, device = len(flat[0].coordinates), flat[0].coordinates.device
    if count >= points:
        return flat
    chosen = torch.randperm(points, generator=generator, device=device)[:count]
    return [c._replace(coordinates=c.coordinates[chosen]) for c in flat]


def _weighted(losses: dict[str, tuple[Tensor, float]]) -> Tensor:
    return torch.stack([weight * loss for loss, weight in losses.values()]).sum()


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    """The norm of the mean over ranks."""
    flat = torch.cat([g.detach().flatten() for g in gradients])
    return (reduce.over_ranks(flat) / reduce.world_size()).norm()


class TrainingStep(torch.nn.Module):
    """Model, task and evolution loss in one forward: the form that DistributedDataParallel and `functional_call` need.

    Args:
        model: a `NeuralDifferentialManifold`.
        task: `task(output, target)`, a scalar: the mean over the batch; targets are what it takes. A loss of torch says
            what is predicted, and the head of a model without a stated `task` is told. A head of values takes offset
            and unit from the first targets. Targets `(*batch,)` of torch's losses for values and labels are those of a
            single output, `(*batch, 1)`; those of its losses for classes have the axes `(*batch)` of sequences, too.
        evolution: an `EvolutionLoss`.

    Raises:
        ValueError: the model's head is for another task than this loss; a loss of torch that does not take what heads
            give, logits or values.

    Note:
        Under DistributedDataParallel ranks have equal batches; where geometry is not evaluated at each step and no head
        reads the metrics, say `find_unused_parameters=True`.

    Example:
        >>> import torch
        >>> from riemann_nn import EvolutionLoss, NeuralDifferentialManifold, TrainingStep
        >>> model = NeuralDifferentialManifold(2, [3], 1)
        >>> step = TrainingStep(model, torch.nn.functional.mse_loss, EvolutionLoss())
        >>> total, parts = step(torch.randn(20, 2), torch.randn(20, 1))
    """

    model: torch.nn.Module
    task: Callable[[Tensor, Any], Tensor]
    evolution: EvolutionLoss
    if TYPE_CHECKING:

        def __call__(self, x: Tensor, target: Any) -> tuple[Tensor, dict[str, Tensor]]: ...

    def __init__(self, model: torch.nn.Module, task: Callable[[Tensor, Any], Tensor], evolution: EvolutionLoss):
        super().__init__()
        self.model, self.task, self.evolution = model, task, evolution
        head, needed = getattr(model, "head", None), task_of(task)
        if head is not None:
            check_fits(task)
        units = getattr(head, "units", None)
        if units is not None and needed is not None and units.task is None:
            units.task = needed
        if units is not None and needed not in (None, units.task):
            name = getattr(task, "__name__", type(task).__name__)
            raise ValueError(
                f"{name} needs {needed} predicted, but the head is for {units.task}; make the model with "
                f"task={needed!r}"
            )
        untrained = units is not None and not any(bool(p.any()) for p in units.parameters())
        self.starts: bool = untrained and units.task in STARTED
        self.columns: bool = needed in (*STARTED, "labels")
        self.rows: bool = needed == "classes"

    def forward(self, x: Tensor, target: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and its parts, as `EvolutionLoss` returns them."""
        if self.starts and self.training:
            units = self.model.head.units
            if not units.started:
                units.start_at(target, reduce.over_ranks)
        output, charts = self.model(x)
        if self.columns and output.shape == (*target.shape, 1):
            target = target.unsqueeze(-1)  # torch would compare each target with each output
        if self.rows and output.ndim > 2:  # of which torch takes the second axis for that of the classes
            target = target.flatten(0, -2) if target.shape == output.shape else target.flatten()
            output = output.flatten(0, -2)
        return self.evolution(self.task(output, target), charts, self.model)
