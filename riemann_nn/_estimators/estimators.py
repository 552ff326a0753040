"""A neural differential manifold as a classifier and a regressor of scikit-learn."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from riemann._shared import check_count
from riemann_nn._model.evolution import EvolutionLoss, TrainingStep
from riemann_nn._model.manifold import NeuralDifferentialManifold

if TYPE_CHECKING:  # scikit-learn's own have no types

    class BaseEstimator:
        """What scikit-learn's estimators have in common."""

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """The arguments of `__init__`."""
            ...

    class ClassifierMixin:
        """A classifier."""

        def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
            """The accuracy."""
            ...

    class RegressorMixin:
        """A regressor."""

        def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
            """The coefficient of determination."""
            ...
else:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

_LEAST = 20  # samples, below which none are held out


class _NDM(BaseEstimator):
    """What both have in common: scales, batches, early stopping."""

    def __init__(
        self,
        hidden_dims: Sequence[int] = (16, 8),
        *,
        head: str = "mahalanobis",
        family: str | None = None,
        curvature: float = 0.0,
        volume: float = 0.0,
        lr: float = 3e-3,
        weight_decay: float = 3.0,
        batch_size: int = 64,
        max_epochs: int = 200,
        patience: int = 15,
        validation_fraction: float = 0.15,
        random_state: Any = None,
    ):
        self.hidden_dims = hidden_dims
        self.head = head
        self.family = family
        self.curvature = curvature
        self.volume = volume
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _train(
        self,
        X: np.ndarray,
        targets: Tensor,
        task: str,
        losses: Any,
        outputs: int,
        sample_weight: Any,
        strata: Any = None,
    ) -> None:
        """`losses(output, target, reduction="none")` are those of single outputs."""
        self._check_options()
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if weight.min() < 0 or not weight.sum() > 0:
            raise ValueError("`sample_weight` has negative numbers, or none above 0")
        counts = weight > 0  # the others are as if they were not there
        X, targets, weight = X[counts], targets[torch.as_tensor(counts)], weight[counts]
        strata = None if strata is None else strata[counts]
        self._center, self._deviation = _mean_and_deviation(X, weight)
        self._deviation[self._deviation == 0] = 1.0
        w = torch.as_tensor(weight / weight.mean())
        if task == "values":
            self._offset, self._unit = _mean_and_deviation(targets.numpy(), weight)
            targets = torch.as_tensor((targets.numpy() - self._offset) / np.where(self._unit > 0, self._unit, 1.0))

        def loss(output: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
            y, weight = target
            of_samples = losses(output, y, reduction="none").reshape(len(y), -1).mean(1)
            return (of_samples * weight).sum() / weight.sum()

        seed = check_random_state(self.random_state).randint(2**31 - 1)
        train, held = self._split(len(X), strata, seed)
        x = self._points(X)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = NeuralDifferentialManifold(
                X.shape[1], list(self.hidden_dims), outputs, task=task, head=self.head, family=self.family
            ).double()
            evolution = EvolutionLoss(curvature=self.curvature, volume=self.volume, monitor=None, seed=seed)
            step = TrainingStep(model, loss, evolution)
            step.starts = False  # targets have deviation 1
            optimizer = torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
            best, state, waited = float("inf"), None, 0
            self.n_iter_: int = 0
            while self.n_iter_ < self.max_epochs and waited < self.patience:
                for batch in train[torch.randperm(len(train))].split(self.batch_size):
                    optimizer.zero_grad()
                    step(x[batch], (targets[batch], w[batch]))[0].backward()
                    optimizer.step()
                self.n_iter_ += 1
                with torch.no_grad():
                    now = float(loss(model(x[held])[0], (targets[held], w[held])))
                waited = 0 if now < best else waited + 1
                if now < best:
                    best, state = now, copy.deepcopy(model.state_dict())
        if state is None:
            raise ValueError(
                f"the loss was not finite after any of {self.n_iter_} epochs; a smaller `lr`, or data without outliers"
            )
        model.load_state_dict(state)
        self.model_: NeuralDifferentialManifold = model.eval()
        self.log_temperature_: float = 0.0
        self.validation_loss_ = best
        if task != "values" and len(held) < len(X):
            self._calibrate(x[held], (targets[held], w[held]), loss)

    def _check_options(self) -> None:
        for name in ("batch_size", "max_epochs", "patience"):
            check_count(name, getattr(self, name), 1)
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(
                f"`validation_fraction` is {self.validation_fraction}, expected a number from 0 to below 1"
            )
        if np.ndim(self.hidden_dims) != 1:
            raise TypeError(
                f"`hidden_dims` is {self.hidden_dims!r}, expected a sequence, the dimensions of the charts: (16, 8)"
            )

    def _split(self, count: int, strata: Any, seed: int) -> tuple[Tensor, Tensor]:
        """Numbers of samples to train on, and to stop by: all of them where there are few."""
        everything = torch.arange(count)
        if count < _LEAST or not self.validation_fraction:
            return everything, everything
        held = max(2, round(self.validation_fraction * count))
        try:
            split = train_test_split(np.arange(count), test_size=held, random_state=seed, stratify=strata)
        except ValueError:  # a class of one sample
            split = train_test_split(np.arange(count), test_size=held, random_state=seed)
        return torch.as_tensor(split[0]), torch.as_tensor(split[1])

    @torch.no_grad()
    def _calibrate(self, x: Tensor, targets: tuple[Tensor, Tensor], loss: Any) -> None:
        """One temperature for all logits, 1 or more: few samples held out, all of them right, prove no certainty."""
        logits = self.model_(x)[0]
        candidates = torch.linspace(-2, 0, 41, dtype=torch.float64)
        losses = torch.stack([loss(logits * torch.exp(t), targets) for t in candidates])
        self.log_temperature_ = -float(candidates[losses.argmin()])

    def _points(self, X: np.ndarray) -> Tensor:
        return torch.as_tensor((X - self._center) / self._deviation, dtype=torch.float64)

    @torch.no_grad()
    def _outputs(self, X: Any) -> Tensor:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return self.model_(self._points(X))[0] * np.exp(-self.log_temperature_)


def _mean_and_deviation(values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted, of each column; of a constant one exactly its value and 0, which rounding would not make them."""
    span = np.ptp(values, 0)  # in whose units squares do not overflow
    units = np.where(span > 0, span, 1.0)
    mean = np.where(span > 0, np.average(values / units, 0, weight) * units, values[0])
    return mean, span * np.sqrt(np.average(((values - mean) / units) ** 2, 0, weight))


class NDMClassifier(ClassifierMixin, _NDM):
    r"""A neural differential manifold that classifies, with scikit-learn's protocol.

    Features are scaled to deviation 1; part of the samples is held out, to stop by and to set the temperature of the
    probabilities by. For y of shape `(n, labels)`, of 0 and 1, labels are independent.

    Args:
        hidden_dims: dimensions of the charts.
        head: as for `NeuralDifferentialManifold`.
        family: of the metrics, as there.
        curvature: weight of the curvature loss of `EvolutionLoss`.
        volume: weight of its volume loss.
        lr: of AdamW.
        weight_decay: of AdamW, a fraction `lr * weight_decay` a step: it draws metrics towards the identity and maps
            towards none, without which few samples are fitted too well.
        batch_size: samples a step.
        max_epochs: passes through the data, at most.
        patience: epochs without a smaller loss on what is held out, after which training stops.
        validation_fraction: of samples that are held out; of less than 20 none are.
        random_state: seed, or numpy's generator.

    Attributes:
        model_: the `NeuralDifferentialManifold`, on scaled features; of a regressor for scaled values.
        classes_: the classes; numbers of the columns for several labels.
        n_iter_: epochs made.
        validation_loss_: the least loss on what was held out; of values, mean squares over their variances.

    Example:
        >>> import numpy as np
        >>> from riemann_nn import NDMClassifier
        >>> X = np.random.default_rng(0).normal(size=(60, 2))
        >>> model = NDMClassifier(random_state=0, max_epochs=30).fit(X, X[:, 0] > 0)
        >>> model.predict_proba(X).shape, bool(model.score(X, X[:, 0] > 0) > 0.9)
        ((60, 2), True)
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "NDMClassifier":
        """Trains on samples `(n, features)` and their classes `(n,)`, or labels `(n, labels)`; weights are `(n,)`."""
        self._several = type_of_target(y, input_name="y", raise_unknown=False) == "multilabel-indicator"
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=self._several)
        y = y.toarray() if issparse(y) else y
        check_classification_targets(y)
        functional = torch.nn.functional
        if self._several:
            self.classes_ = np.arange(y.shape[1])
            targets = torch.as_tensor(np.asarray(y), dtype=torch.float64)
            self._train(X, targets, "labels", functional.binary_cross_entropy_with_logits, y.shape[1], sample_weight)
            return self
        classes, numbers = np.unique(y, return_inverse=True)
        self.classes_: np.ndarray[Any, Any] = classes
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class, {self.classes_[0]!r}: a classifier needs two classes or more")
        targets = torch.as_tensor(numbers)
        self._train(X, targets, "classes", functional.cross_entropy, len(self.classes_), sample_weight, numbers)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities `(n, classes)`; of several labels, of each label `(n, labels)`."""
        logits = self._outputs(X)
        return (torch.sigmoid(logits) if self._several else torch.softmax(logits, -1)).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """The most probable classes `(n,)`; of several labels, 1 for those of probability above a half."""
        probability = self.predict_proba(X)
        return (probability > 0.5).astype(int) if self._several else self.classes_[probability.argmax(-1)]


class NDMRegressor(RegressorMixin, _NDM):
    r"""A neural differential manifold that predicts values, with scikit-learn's protocol; targets as they are.

    Args and attributes are those of `NDMClassifier`; y is `(n,)` or `(n, values)`, all of the same importance.

    Example:
        >>> import numpy as np
        >>> from riemann_nn import NDMRegressor
        >>> X = np.random.default_rng(0).normal(size=(80, 2))
        >>> y = 1000 + 20 * X[:, 0]
        >>> bool(NDMRegressor(random_state=0, max_epochs=60).fit(X, y).score(X, y) > 0.9)
        True
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "NDMRegressor":
        """Trains on samples `(n, features)` and their values `(n,)` or `(n, values)`; weights are `(n,)`."""
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        self._flat = y.ndim == 1
        targets = torch.as_tensor(np.asarray(y, dtype=np.float64)).reshape(len(y), -1)
        self._train(X, targets, "values", torch.nn.functional.mse_loss, targets.shape[1], sample_weight)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Values, of the shape that y had."""
        values = self._outputs(X).numpy() * self._unit + self._offset
        return values[:, 0] if self._flat else values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags
