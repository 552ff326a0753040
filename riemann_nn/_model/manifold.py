"""The neural differential manifold: charts one after the other, a metric on each, and a head that reads them."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from riemann._shared import warn
from riemann.metrics import MLPCholesky
from riemann.metrics.configuration import check_same, name_of, of_weights_alone, plain
from riemann.metrics.elementwise import Softplus
from riemann_nn._charts.chart import Chart
from riemann_nn._charts.coordinate import CoordinateLayer, kind_of, rough_parts
from riemann_nn._charts.heads import KernelHead, LinearHead, MahalanobisHead, check_task
from riemann_nn._charts.induced import InducedMetric, induced_metrics
from riemann_nn._fields.metric_net import MetricNet, default_family
from riemann_nn._fields.smooth import smooth
from riemann_nn._model.card import card


class ManifoldLayer(torch.nn.Module):
    r"""A map into new coordinates and a metric there: $x \mapsto$ the chart $(z, g)$ with $z = f(x)$.

    Args:
        map: f, a module on points `(*batch, n)`: a `CoordinateLayer`, a linear layer and an activation, a
            `torch.nn.Sequential` of such.
        metric: g, a module on points of the new coordinates, such as a `MetricNet`.

    Attributes:
        kind: what the map is: `"transition"`, `"embedding"`, `"submersion"`, or `"map"` for a mixture.

    Warns:
        UserWarning: the map has activations through which curvature cannot be pulled back (ReLU, ELU).

    Example:
        >>> import torch
        >>> from riemann_nn import CoordinateLayer, ManifoldLayer, MetricNet
        >>> layer = ManifoldLayer(CoordinateLayer(3), MetricNet(3))
        >>> layer(torch.randn(5, 3)).volume_element()
        tensor([1., 1., 1., 1., 1.], grad_fn=<ExpBackward0>)
    """

    map: torch.nn.Module
    metric: torch.nn.Module
    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Chart: ...

    def __init__(self, map: torch.nn.Module, metric: torch.nn.Module):
        super().__init__()
        self.map, self.metric = map, metric
        if rough := rough_parts(map):
            warn(
                f"the map of this layer has {', '.join(rough)}: curvature pulled back through it is not defined at the "
                "kinks. Curvature of the layer's own metric, in its own coordinates, is."
            )

    @property
    def kind(self) -> str:
        """See the class."""
        return kind_of(self.map)

    def forward(self, x: Float[Tensor, "*batch m"]) -> Chart:
        """The chart at points `(*batch, m)`; under autocast its coordinates have the precision of the metric."""
        z = self.map(x)
        if torch.is_autocast_enabled(z.device.type) and (p := next(self.metric.parameters(), None)) is not None:
            z = z.to(p.dtype)
        return Chart(z, self.metric, self.map)

    def induced_metrics(self) -> dict[torch.nn.Linear, InducedMetric]:
        r"""For each linear layer on the path of the map, the metric $J^T g J$ on its output, `(*batch, m, m)`.

        Linear layers inside a `CoordinateLayer` are not on the path: the metric on their outputs depends on more than
        these outputs.
        """
        return induced_metrics(self.map, self.metric)


class NeuralDifferentialManifold(torch.nn.Module):
    r"""Charts one after the other, a learned metric on each, and a head.

    `output, charts = model(x)`; `charts[i].coordinates`, `charts[i].metric`, `charts[i].scalar_curvature()`, ….

    Args:
        input_dim: dimension of the data.
        hidden_dims: dimensions of the charts.
        output_dim: number of logits, or of values.
        task: what is predicted: `"classes"`, `"labels"` (several at once), `"values"`, `"counts"` (logarithms of
            Poisson's rates); or the loss of torch that the model is trained with. None: outputs are any real numbers,
            which serve all of them.
        coordinates: `"flow"`, the paper's: a `CoordinateLayer` between charts of one dimension, after a linear layer
            where the dimension changes; or `"linear"`: a linear layer and the activation.
        head: `"mahalanobis"`, from distances to learned prototypes, or `"kernel"`, attention with such distances, in
            the product of all charts: the metrics enter the prediction. `"linear"` reads the last coordinates only.
        coupling: how the metrics meet the task: `"forward"`, what the first two heads do; `"fisher"`, a promise to
            train with `fisher_loss`; None, no way. By default `"forward"`, and None for the linear head.
        family: of each `MetricNet`; by default `"cholesky"`, and `"low_rank"` (of rank 2) for charts of 64 dimensions
            and more.
        metric_hidden: its hidden widths.
        activation: smooth elementwise map of all networks.
        depth: couplings of each `CoordinateLayer`.
        metric: a function from a dimension to the module that is the metric there, instead of a `MetricNet`.

    Raises:
        ValueError: unknown names, an activation that is not smooth, `"forward"` with a head that reads no metric;
            a state dict of another configuration.

    Attributes:
        config: these arguments: `from_config(model.config)` is such a model. A state dict holds them, too.

    Warns:
        UserWarning: the metrics are decorative: nothing couples them to the task.

    Note:
        `torch.export` wants tensors for results: export a module that returns `model(x)[0]`.

    Reference:
        Di Zhang, *The Neural Differential Manifold*, arXiv:2510.25113. `card()` says what is from there.

    Example:
        >>> import torch
        >>> from riemann_nn import NeuralDifferentialManifold
        >>> model = NeuralDifferentialManifold(2, [4, 4], 3)
        >>> output, charts = model(torch.randn(10, 2))
        >>> output.shape, charts[1].scalar_curvature().shape
        (torch.Size([10, 3]), torch.Size([10]))
    """

    layers: torch.nn.ModuleList
    dims: list[int]
    head: torch.nn.Module
    coupling: str | None
    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> tuple[Tensor, list[Chart]]: ...

    def __init__(
        self,
        input_dim: int,
        hidden_dims: Sequence[int],
        output_dim: int,
        *,
        task: str | Callable[..., Any] | None = None,
        coordinates: str = "flow",
        head: str = "mahalanobis",
        coupling: str | None = "default",
        family: str | None = None,
        metric_hidden: Sequence[int] = (64, 64),
        activation: Any = torch.nn.Tanh,
        depth: int = 4,
        metric: Callable[[int], torch.nn.Module] | None = None,
    ):
        super().__init__()
        dims = [input_dim, *hidden_dims]
        if len(dims) < 2 or min(*dims, output_dim) < 1:
            raise ValueError(
                f"dimensions are {dims} and {output_dim}, expected positive numbers and at least one chart"
            )
        if coordinates not in ("flow", "linear"):
            raise ValueError(f"`coordinates` is {coordinates!r}, expected 'flow' or 'linear'")
        activation = smooth(activation)
        task = check_task(task)
        self.config: dict[str, Any] = {
            "input_dim": input_dim,
            "hidden_dims": list(hidden_dims),
            "output_dim": output_dim,
            "task": task,
            "coordinates": coordinates,
            "head": head,
            "coupling": coupling,
            "family": family,
            "metric_hidden": list(metric_hidden),
            "activation": name_of(activation),
            "depth": depth,
            "metric": metric,
        }
        make = metric or (lambda n: MetricNet(n, metric_hidden, family or default_family(n), activation))

        def map_between(m: int, n: int) -> torch.nn.Module:
            if coordinates == "linear":
                return torch.nn.Sequential(torch.nn.Linear(m, n), activation)
            flow = CoordinateLayer(n, depth=depth, activation=activation)
            return flow if m == n else torch.nn.Sequential(torch.nn.Linear(m, n), flow)

        layers = [ManifoldLayer(map_between(m, n), make(n)) for m, n in zip(dims, dims[1:], strict=False)]
        self._assemble(layers, dims[1:], output_dim, head, coupling, task)

    def _assemble(
        self,
        layers: list[ManifoldLayer],
        dims: list[int],
        output_dim: int,
        head: str,
        coupling: str | None,
        task: str | None,
    ) -> None:
        self.register_load_state_dict_pre_hook(of_weights_alone)
        self.layers, self.dims = torch.nn.ModuleList(layers), dims
        if head not in _HEADS:
            raise ValueError(f"`head` is {head!r}, expected one of {', '.join(map(repr, _HEADS))}")
        reads = head != "linear"
        coupling = ("forward" if reads else None) if coupling == "default" else coupling
        if coupling not in ("forward", "fisher", None) or coupling == "forward" and not reads:
            raise ValueError(
                f"`coupling` is {coupling!r} with the head {head!r}, expected 'forward' (a head that reads the "
                "metrics), 'fisher' or None"
            )
        self.head, self.coupling = _HEADS[head](dims, output_dim, task), "forward" if reads else coupling
        if self.coupling is None:
            warn(
                "the metrics of this model are decorative: the head does not read them, so the task has no gradient in "
                "them and they change no prediction. Use head='mahalanobis' or 'kernel', or train them with "
                "`fisher_loss` and say coupling='fisher'"
            )

    @classmethod
    def article(
        cls, input_dim: int, hidden_dims: Sequence[int], output_dim: int, *, head: str = "linear"
    ) -> "NeuralDifferentialManifold":
        r"""The architecture of an article on the paper: $z = \mathrm{elu}(Wx + b)$, $g = L L^T$, a linear head.

        Each metric is a network of one hidden layer of 32 tanh units with a softplus on the diagonal of L, bounded on
        no side, as written there, but for $10^{-6}\, 1$, which the article adds to g and leaves out of its volume.

        Args:
            input_dim: dimension of the data.
            hidden_dims: dimensions of the charts.
            output_dim: number of logits.
            head: `"linear"`, the article's, or one that couples the metrics.

        Returns:
            The model.

        Warns:
            UserWarning: its metrics are decorative.
        """
        self = cls.__new__(cls)
        torch.nn.Module.__init__(self)
        layers = []
        for m, n in zip([input_dim, *hidden_dims], hidden_dims, strict=False):
            map = torch.nn.Sequential(torch.nn.Linear(m, n), torch.nn.ELU())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # the card says it
                layers.append(ManifoldLayer(map, MLPCholesky(n, (32,), diagonal=Softplus(0.0))))
        self.config = {
            "article": True,
            "input_dim": input_dim,
            "hidden_dims": list(hidden_dims),
            "output_dim": output_dim,
            "head": head,
        }
        self._assemble(layers, list(hidden_dims), output_dim, head, "default", None)
        return self

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "NeuralDifferentialManifold":
        """A new model from the `config` of another.

        Example:
            >>> from riemann_nn import NeuralDifferentialManifold
            >>> model = NeuralDifferentialManifold(2, [4], 3, task="classes")
            >>> copy = NeuralDifferentialManifold.from_config(model.config)
            >>> copy.load_state_dict(model.state_dict())
            <All keys matched successfully>
        """
        options = dict(config)
        return cls.article(**options) if options.pop("article", False) else cls(**options)

    def get_extra_state(self) -> dict[str, Any]:
        """The configuration, as far as it is made of names and numbers."""
        return plain({**self.config, "metric": self.config.get("metric") is not None})

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Raises unless the state is of a model of this configuration."""
        check_same("model", self.get_extra_state(), state)

    def start_at(self, targets: Tensor) -> None:
        """Tells the head what values it predicts: their mean and deviation. A `TrainingStep` does, at its first call.

        Args:
            targets: `(*batch, output_dim)`, raw, of the training data.

        Raises:
            ValueError: the head has no units, or targets have another shape.
        """
        if (units := getattr(self.head, "units", None)) is None:
            raise ValueError("the linear head has units with task='values' or 'counts' only: make the model so")
        units.start_at(targets)

    def forward(self, x: Float[Tensor, "*batch m"]) -> tuple[Float[Tensor, "*batch k"], list[Chart]]:
        """Output `(*batch, output_dim)` and one chart a layer."""
        charts = self.charts(x)
        return self.head(charts), charts

    def charts(self, x: Tensor) -> list[Chart]:
        """The charts at the data, `(*batch, input_dim)`."""
        if (config := getattr(self, "config", None)) is not None:  # version 0.1.0 pickled models without
            m = config["input_dim"]
            if x.shape[-1:] != (m,) or not x.is_floating_point():
                raise ValueError(
                    f"`x` has shape {tuple(x.shape)} and dtype {x.dtype}, expected (*batch, {m}), floating-point "
                    "numbers"
                )
        charts: list[Chart] = []
        for layer in self.layers:
            charts.append(layer(charts[-1].coordinates if charts else x))
        return charts

    def output_from(self, i: int, z: Tensor) -> Tensor:
        """The output as a function of chart i's coordinates: what comes after it, but for a constant of the head."""
        charts = [Chart(z, self.layers[i].metric, self.layers[i].map)]
        for layer in list(self.layers)[i + 1 :]:
            charts.append(layer(charts[-1].coordinates))
        return self.head(charts)

    def induced_metrics(self) -> dict[torch.nn.Linear, InducedMetric]:
        """For each linear layer of the coordinate path, the metric on its output; see `ManifoldLayer`."""
        return {linear: g for layer in self.layers for linear, g in layer.induced_metrics().items()}

    def map_metrics(self) -> dict[torch.nn.Module, torch.nn.Module]:
        """For each chart whose map has linear layers beside the path, as flows do: the map, and the metric there."""
        return {
            layer.map: layer.metric
            for layer in self.layers
            if {m for m in layer.map.modules() if isinstance(m, torch.nn.Linear)} - layer.induced_metrics().keys()
        }

    def card(self, x: Float[Tensor, "z m"] | None = None) -> str:
        """What this model is: its charts, how its metrics are coupled, and whose equations these are.

        Args:
            x: data, `(z, input_dim)`; with it, what the geometry is like there, with standard errors, how far
                neighbouring metrics are from one another, and what geometry costs.

        Returns:
            A text.
        """
        return card(self, x)

    def __repr__(self) -> str:
        return self.card()


_HEADS = {
    "mahalanobis": MahalanobisHead,
    "kernel": lambda dims, output_dim, task: KernelHead(dims, output_dim, task=task),
    "linear": lambda dims, output_dim, task: LinearHead(dims[-1], output_dim, task),
}
