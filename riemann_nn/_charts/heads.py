"""Heads that read the metrics: predictions by distances in the learned geometry, in the units of what is predicted."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from riemann_nn._charts.chart import Chart, without_autocast
from riemann_nn._fields.factored import squared_distances

TASKS = {
    "classes": "logits of exclusive classes, one temperature for all",
    "labels": "logits of independent labels, each with a scale of its own",
    "values": "values, in the units of the targets",
    "counts": "logarithms of rates, of counts",
    None: "any real numbers: logits of classes or of labels, values, or logarithms of rates",
}
STARTED = ("values", "counts")  # tasks whose units are those of the targets

_LOSSES = {
    "values": "mse_loss l1_loss smooth_l1_loss huber_loss MSELoss L1Loss SmoothL1Loss HuberLoss",
    "counts": "poisson_nll_loss PoissonNLLLoss",
    "classes": "cross_entropy nll_loss multi_margin_loss CrossEntropyLoss NLLLoss MultiMarginLoss",
    "labels": (
        "binary_cross_entropy_with_logits multilabel_soft_margin_loss BCEWithLogitsLoss MultiLabelSoftMarginLoss"
    ),
}

_OF_PROBABILITIES = "takes probabilities, and heads give logits; use binary_cross_entropy_with_logits"
_OF_LOGARITHMS = (
    "takes logarithms of probabilities, and heads give logits; use cross_entropy, of classes or probabilities"
)
_OF_VARIANCES = (
    "takes means and variances, two outputs a target: for k targets give the model 2 k outputs and task=None, and use "
    "lambda output, y: gaussian_nll_loss(output[..., :k], y, output[..., k:].exp()), of targets of about deviation 1"
)
_OF_RATES = "with log_input=False takes rates, and heads give their logarithms; use log_input=True"
_MISFITS = {  # losses that what a head predicts is wrong for, and what to write
    "nll_loss": _OF_LOGARITHMS, "NLLLoss": _OF_LOGARITHMS, "kl_div": _OF_LOGARITHMS, "KLDivLoss": _OF_LOGARITHMS,
    "binary_cross_entropy": _OF_PROBABILITIES, "BCELoss": _OF_PROBABILITIES,
    "gaussian_nll_loss": _OF_VARIANCES, "GaussianNLLLoss": _OF_VARIANCES,
}  # fmt: skip


def _name(loss: Any) -> str:
    loss = loss.func if isinstance(loss, functools.partial) else loss
    return getattr(loss, "__name__", type(loss).__name__)


def check_fits(loss: Any) -> None:
    """Raises ValueError where a loss of torch does not take what heads give: it would go down without end, or fail."""
    name = _name(loss)
    misfit = _MISFITS.get(name)
    given = loss.keywords if isinstance(loss, functools.partial) else vars(loss) if hasattr(loss, "__dict__") else {}
    if name in _LOSSES["counts"].split() and not given.get("log_input", True):
        misfit = _OF_RATES
    if misfit is not None:
        raise ValueError(f"{name} {misfit}")


def task_of(loss: Any) -> str | None:
    """What a loss of torch needs predicted: `"values"`, `"classes"`, `"labels"`, `"counts"`; None for other losses."""
    name = _name(loss)
    return next((task for task, names in _LOSSES.items() if name in names.split()), None)


def check_task(task: str | Callable[..., Any] | None) -> str | None:
    """A task by its name, or by the loss that it is trained with.

    Raises:
        ValueError: an unknown task, or a loss of which it is not known what it needs.
    """
    named = task_of(task) if callable(task) else task
    if callable(task) and named is None:
        check_fits(task)
    if named not in TASKS or (named is None and task is not None):
        said = getattr(task, "__name__", type(task).__name__) if callable(task) else repr(task)
        raise ValueError(
            f"`task` is {said}, expected 'values', 'counts', 'classes', 'labels', None, or a loss of torch"
        )
    return named


class Units(torch.nn.Module):
    r"""From raw outputs r to predictions: $y = \mathrm{offset} + \mathrm{unit} \cdot e^{s} (r + b)$, s and b learned.

    Offset and unit are those of the targets, once `start_at` has seen some; 0 and 1 until then. Of counts the offset is
    the logarithm of their mean, and the unit stays 1.

    Args:
        output_dim: number of outputs.
        task: what they are; of classes s is one number, an inverse temperature.

    Attributes:
        started: whether `start_at` has been called.
    """

    offset: Tensor
    unit: Tensor

    def __init__(self, output_dim: int, task: str | None):
        super().__init__()
        self.task: str = task
        self.started: bool = False
        self.log_scale: torch.nn.Parameter = torch.nn.Parameter(torch.zeros(1 if task == "classes" else output_dim))
        self.bias: torch.nn.Parameter = torch.nn.Parameter(torch.zeros(output_dim))
        self.register_buffer("offset", torch.zeros(output_dim))
        self.register_buffer("unit", torch.ones(output_dim))

    def forward(self, raw: Tensor) -> Tensor:
        """`(*batch, output_dim)`."""
        return self.offset + self.unit * torch.exp(self.log_scale) * (raw + self.bias)

    @torch.no_grad()
    def start_at(self, targets: Tensor, total: Callable[[Tensor], Tensor] = lambda sums: sums) -> None:
        """Takes the mean and the deviation of targets `(*batch, output_dim)` as offset and unit; raw outputs stay.

        Args:
            targets: of this process.
            total: from sums of this process to those of all.

        Raises:
            ValueError: targets of another number, or that are not finite, or negative counts.
        """
        k = self.offset.shape[0]
        y = targets.detach().to(self.offset)
        y = y.reshape(-1, k) if y.shape[-1:] == (k,) or k == 1 else None
        if y is None or y.shape[0] == 0:
            raise ValueError(f"`targets` has shape {tuple(targets.shape)}, expected (*batch, {k}), as the output")
        count = total(torch.ones_like(y[:, :1]).sum(0))
        mean = total(y.sum(0)) / count
        deviation = (total((y - mean).square().sum(0)) / count).sqrt()
        if not torch.compiler.is_compiling() and not bool(deviation.isfinite().all()):
            raise ValueError("`targets` are not all finite")
        self.started = True
        if self.task == "counts":
            if not torch.compiler.is_compiling() and not bool((mean >= 0).all()):
                raise ValueError("`targets` have a negative mean, and are no counts; use task='values' and mse_loss")
            self.offset.copy_(torch.where(mean > 0, mean, torch.ones_like(mean)).log())
            return
        self.offset.copy_(mean)
        self.unit.copy_(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    def get_extra_state(self) -> dict[str, bool]:
        """Whether it has started."""
        return {"started": self.started}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        """Whether it has started."""
        self.started = state["started"]


class _Distances(torch.nn.Module):
    r"""Squared distances to k prototypes, $\sum_l (z_l - c_{lk})^T g_l(z_l) (z_l - c_{lk})$, over charts l.

    That of the product of the charts, in the tangent space at the data. Charts before the last `len(charts)` are left
    out: they add constants to what the later ones say.
    """

    prototypes: torch.nn.ParameterList

    def __init__(self, dims: Sequence[int], prototypes: int):
        super().__init__()
        self.prototypes = torch.nn.ParameterList(torch.randn(prototypes, n) / n**0.5 for n in dims)
        self.dim = sum(dims)

    def forward(self, charts: Sequence[Chart]) -> Tensor:
        """`(*batch, k)`."""
        first = len(self.prototypes) - len(charts)
        pairs = zip(charts[max(0, -first) :], list(self.prototypes)[max(0, first) :], strict=True)
        with without_autocast(charts[-1].coordinates):
            squares = [squared_distances(z.metric, z.coordinates, c) for z, c in pairs]
            return torch.stack(squares).sum(0)

    def log_kernel(self, charts: Sequence[Chart]) -> Tensor:
        r"""$-\tfrac{n}{2} \log(1 + d^2 / n)$: Student's kernel. Near a prototype it is the normal one, $-d^2 / 2$.

        Far away it falls slowly: the normal one would be certain of every point that is far from all prototypes.
        """
        return -0.5 * self.dim * torch.log1p(self(charts) / self.dim)


class MahalanobisHead(torch.nn.Module):
    r"""Predictions from distances to learned prototypes: $r_k = \ell(z, c_k) - \ell(z, c_0)$, in the task's units.

    $\ell = -\tfrac{n}{2} \log(1 + d_g^2 / n)$ is the logarithm of Student's kernel in the product of the charts, n its
    dimension. Against the common reference $c_0$ outputs are of either sign: logits of classes (whose softmax does not
    see $c_0$) and of independent labels, and values.

    Args:
        dims: dimensions of the charts whose distances are added.
        output_dim: number of outputs.
        task: what they are: `"classes"`, `"labels"`, `"values"`, `"counts"` (logarithms of rates), None for any of
            them; or a loss of torch.
    """

    distances: torch.nn.Module
    if TYPE_CHECKING:

        def __call__(self, charts: Sequence[Chart]) -> Tensor: ...

    def __init__(self, dims: Sequence[int], output_dim: int, task: str | Callable[..., Any] | None = None):
        super().__init__()
        self.distances = _Distances(dims, 1 + output_dim)
        self.units: Units = Units(output_dim, check_task(task))

    def forward(self, charts: Sequence[Chart]) -> Tensor:
        """`(*batch, output_dim)`."""
        kernel = self.distances.log_kernel(charts)
        return self.units(kernel[..., 1:] - kernel[..., :1])


class KernelHead(torch.nn.Module):
    r"""Attention in g: $r = \sum_k w_k v_k$ with $w = \mathrm{softmax}(\ell(z, c_k))$, c and v learned.

    $\ell$ and the units of r are those of `MahalanobisHead`.

    Args:
        dims: dimensions of the charts whose distances are added.
        output_dim: dimension of the values.
        prototypes: their number.
        task: as for `MahalanobisHead`.
    """

    distances: torch.nn.Module
    values: torch.nn.Linear
    if TYPE_CHECKING:

        def __call__(self, charts: Sequence[Chart]) -> Tensor: ...

    def __init__(
        self,
        dims: Sequence[int],
        output_dim: int,
        prototypes: int = 16,
        task: str | Callable[..., Any] | None = None,
    ):
        super().__init__()
        self.distances = _Distances(dims, prototypes)
        self.values = torch.nn.Linear(prototypes, output_dim, bias=False)
        torch.nn.init.normal_(self.values.weight)  # weights add up to 1: outputs are as large as values
        self.units: Units = Units(output_dim, check_task(task))

    def forward(self, charts: Sequence[Chart]) -> Tensor:
        """`(*batch, output_dim)`."""
        return self.units(self.values(torch.softmax(self.distances.log_kernel(charts), -1)))


class LinearHead(torch.nn.Module):
    """A linear map of the last chart's coordinates, which no metric enters.

    Args:
        dim: dimension of the last chart.
        output_dim: dimension of the output.
        task: as for `MahalanobisHead`.
    """

    linear: torch.nn.Linear
    if TYPE_CHECKING:

        def __call__(self, charts: Sequence[Chart]) -> Tensor: ...

    def __init__(self, dim: int, output_dim: int, task: str | Callable[..., Any] | None = None):
        super().__init__()
        task = check_task(task)
        self.linear = torch.nn.Linear(dim, output_dim)
        self.units: Units | None = Units(output_dim, task) if task in STARTED else None

    def forward(self, charts: Sequence[Chart]) -> Tensor:
        """`(*batch, output_dim)`."""
        raw = self.linear(charts[-1].coordinates)
        return raw if self.units is None else self.units(raw)
