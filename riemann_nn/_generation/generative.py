"""A generative manifold: a density of known likelihood on the data, and a geometry to draw and to interpolate in.

One class, with all that is asked of it: therefore long.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

import riemann
from riemann._shared import check_count, warn
from riemann.metrics import Conformal, Constant, Pullback
from riemann.metrics.configuration import check_same, name_of, of_weights_alone, plain
from riemann_nn._charts.chart import Chart, without_autocast
from riemann_nn._charts.coordinate import CoordinateLayer
from riemann_nn._fields.smooth import smooth
from riemann_nn._generation.flow import DensityMetric, Flow
from riemann_nn._generation.interpolation import geodesics, polygons, straight
from riemann_nn._generation.normalizer import log_mean_volume
from riemann_nn._generation.rejection import by_rejection

TRAINING, EVALUATION = 2**10, 2**14  # points of a normaliser
LEVEL = 2**13  # points from which the level of a region is read


class GenerativeManifold(torch.nn.Module):
    r"""A density on $\mathbb{R}^n$ whose likelihood is known, and a metric to measure and to interpolate with.

    A point x of the data has coordinates $z = \phi(x)$ in a chart (an affine map, a `CoordinateLayer`). There each
    class c has a normal density about a learned point, and the chart has a metric g. With `coupling="volume"` these are
    densities by the Riemannian measure, so that the metric is trained by the likelihood:

    $$
    p(x \mid c) = N(z; \mu_c, 1)\, |\det \partial_x z| \quad \text{or} \quad
    \tfrac{1}{Z_c}\, N(z; \mu_c, 1)\, \sqrt{\det g(z)}\, |\det \partial_x z|, \qquad
    p(x) = \sum_c \pi_c\, p(x \mid c).
    $$

    Called at points it returns their `Chart`: `model(x).scalar_curvature()`. It is trained by any optimiser on
    `-model.log_prob(x, labels).mean()`; without labels classes are the components of a mixture.

    Args:
        dim: n, the dimension of the data.
        metric: g, a metric of the chart: a `MetricNet(n)`, the `Pullback` of a decoder, any callable; flat by default.
        classes: number of classes, or of components.
        coupling: `"volume"`, as above, or None: g enters no likelihood.
        depth: couplings of the `CoordinateLayer`.
        hidden: its hidden widths.
        activation: its activation, smooth.
        log_scale: its bound of the logarithm of a scale.

    Attributes:
        map: $\phi$, with `.inverse(z)`.
        metric: g.
        data_metric: g in the coordinates of the data, a `Pullback`.
        config: the arguments: `from_config(model.config)` is such a model.

    Raises:
        ValueError: numbers that are not positive, an unknown coupling, `"volume"` without a metric; a state dict of
            another configuration.

    Note:
        Without coupling the likelihood is exact. With it $Z_c$ is estimated, see `log_normalizers`: in training by
        1024 random points at each call, in evaluation (`model.eval()`) by 16,384 that are always the same.

    Reference:
        Dinh, Sohl-Dickstein, Bengio, *Density estimation using Real NVP* (2017). A density that is learned as an
        acceptance: Bauer and Mnih, arXiv 1810.11428. That the acceptance is the volume of a metric is ours.

    Example:
        >>> import torch
        >>> from riemann_nn import GenerativeManifold
        >>> model, x = GenerativeManifold(2), torch.randn(500, 2) ** 3
        >>> model.start_at(x)
        >>> optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        >>> before = model.log_prob(x).mean()
        >>> for _ in range(20):
        ...     optimizer.zero_grad()
        ...     (-model.log_prob(x).mean()).backward()
        ...     optimizer.step()
        >>> bool(model.log_prob(x).mean() > before), model.sample(10).shape
        (True, torch.Size([10, 2]))
        >>> model.interpolate(x[0], x[1], [0.0, 0.5, 1.0]).shape
        torch.Size([3, 2])
    """

    map: Flow
    metric: Any
    dim: int
    classes: int
    coupling: str | None
    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Chart: ...

    def __init__(
        self,
        dim: int,
        metric: Any = None,
        *,
        classes: int = 1,
        coupling: str | None = None,
        depth: int = 8,
        hidden: Sequence[int] = (64,),
        activation: Any = torch.nn.Tanh,
        log_scale: float = 1.0,
    ):
        super().__init__()
        if not isinstance(classes, int) or classes < 1:
            raise ValueError(f"`classes` is {classes!r}, expected a whole number, 1 or more")
        if coupling not in ("volume", None):
            raise ValueError(f"`coupling` is {coupling!r}, expected 'volume' or None")
        if coupling and metric is None:
            raise ValueError("`coupling` is 'volume', but there is no metric whose volume it is; give a `metric`")
        activation = smooth(activation)
        self.config: dict[str, Any] = {
            "dim": dim,
            "metric": metric,
            "classes": classes,
            "coupling": coupling,
            "depth": depth,
            "hidden": list(hidden),
            "activation": name_of(activation),
            "log_scale": log_scale,
        }
        self.register_load_state_dict_pre_hook(of_weights_alone)
        layer = CoordinateLayer(dim, depth=depth, hidden=hidden, activation=activation, log_scale=log_scale)
        self.dim, self.classes, self.coupling = dim, classes, coupling
        self.map, self.metric = Flow(layer), Constant() if metric is None else metric
        self.means: torch.nn.Parameter = torch.nn.Parameter(torch.randn(classes, dim) * (classes > 1))
        self.log_weights: torch.nn.Parameter = torch.nn.Parameter(torch.zeros(classes))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "GenerativeManifold":
        """A new model from the `config` of another, with a copy of the metric that was given."""
        return cls(**{**config, "metric": copy.deepcopy(config["metric"])})

    def get_extra_state(self) -> dict[str, Any]:
        """The configuration, as far as it is made of names and numbers."""
        return plain({**self.config, "metric": self.config["metric"] is not None})

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Raises unless the state is of a model of this configuration."""
        check_same("generative manifold", self.get_extra_state(), state)

    @torch.no_grad()
    def start_at(self, x: Float[Tensor, "*batch n"], condition: Int[Tensor, "*batch"] | None = None) -> None:
        r"""Takes offset and unit of each coordinate from data: their mean and deviation. To be called before training.

        Args:
            x: data, `(*batch, n)`.
            condition: their classes; the weights $\pi_c$ are then how often they come, by Laplace's rule. A likelihood
                of points given their classes does not train the weights.

        Raises:
            ValueError: data that are not `(*batch, n)` with two points or more, or not finite; classes that there are
                not, or of another number.
        """
        if condition is not None:
            c = self._classes(condition)
            if c.shape != x.shape[:-1]:
                raise ValueError(f"`condition` has shape {tuple(c.shape)}, expected {tuple(x.shape[:-1])}")
            counts = torch.bincount(c.flatten(), minlength=self.classes).to(self.log_weights)
            self.log_weights.copy_(torch.log((counts + 1) / (counts + 1).sum()))
        x = self._checked(x).reshape(-1, self.dim)
        if len(x) < 2 or not bool(x.isfinite().all()):
            raise ValueError(f"`x` has {len(x)} points or is not finite; expected two points or more, all finite")
        deviation = x.std(0)
        self.map.offset.copy_(x.mean(0))
        self.map.unit.copy_(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    def forward(self, x: Float[Tensor, "*batch n"]) -> Chart:
        """The chart at points: their coordinates, and g there."""
        return Chart(self.map(self._checked(x)), self.metric, self.map)

    # ----------------------------------------------------------------------------------------------- the density

    def log_prob(
        self, x: Float[Tensor, "*batch n"], condition: Int[Tensor, "*#batch"] | int | None = None
    ) -> Float[Tensor, "*batch"]:
        r"""$\log p(x \mid c)$, `(*batch,)`, by Lebesgue's measure of the data; $\log p(x)$ without a condition.

        Args:
            x: points, `(*batch, n)`.
            condition: classes, a number or `(*batch,)`.

        Raises:
            ValueError: points of another dimension, classes that there are not.
        """
        return self._log_prob(self._checked(x), self._classes(condition), self._log_z())

    def class_log_prob(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch classes"]:
        r"""$\log p(c \mid x)$ by Bayes' rule, `(*batch, classes)`: a classifier."""
        return self._joint(self._checked(x), self._log_z()).log_softmax(-1)

    def log_normalizers(
        self, num_samples: int = EVALUATION, generator: torch.Generator | None = None
    ) -> riemann.Integral:
        r"""$\log Z_c = \log E_{z \sim N(\mu_c, 1)} \sqrt{\det g(z)}$, the normaliser of each class.

        The mean over 16 random shifts of one set of Sobol points, which is unbiased for $Z_c$.

        Args:
            num_samples: points, 16 or more.
            generator: source of randomness, on the device of the model; the same points at each call by default.

        Returns:
            `.value` and `.error`, `(classes,)`; the error is the standard error. 0 both without coupling.

        Warns:
            UserWarning: the error is more than 0.05: the volume element is not bounded.
        """
        mu = self.means
        if self.coupling is None:
            return riemann.Integral(mu.new_zeros(len(mu)), mu.new_zeros(len(mu)))
        generator = generator or torch.Generator(mu.device).manual_seed(0)
        found = log_mean_volume(self.metric, mu, num_samples, generator)
        if num_samples >= EVALUATION and not bool((found.error < 0.05).all()):
            warn(
                f"log Z is known to {float(found.error.max()):.2g} only: the volume element has a mean that is "
                "infinite, or nearly so; couple by a metric of bounded volume, such as a `MetricNet`"
            )
        return found

    def _log_z(self) -> Tensor:
        """Of the moment: random in training, fixed in evaluation."""
        if not self.training or self.coupling is None:
            return self.log_normalizers().value
        seed = int(torch.randint(2**31, ()))
        return self.log_normalizers(TRAINING, torch.Generator(self.means.device).manual_seed(seed)).value

    def _log_normal(self, z: Tensor) -> Tensor:
        """Of each class, without its volume, `(*batch, classes)`."""
        squares = (z.unsqueeze(-2) - self.means).square().sum(-1)
        return -0.5 * (squares + self.dim * math.log(2 * math.pi))

    def _joint(self, x: Tensor, log_z: Tensor) -> Tensor:
        r"""$\log \pi_c\, p(x \mid c)$, `(*batch, classes)`."""
        with without_autocast(x):
            z, log_det = self.map.with_log_det(x)
            if self.coupling:
                log_det = log_det + riemann.log_volume_element(self.metric, z)
        return self._log_normal(z) + self.log_weights.log_softmax(-1) - log_z + log_det.unsqueeze(-1)

    def _log_prob(self, x: Tensor, condition: Tensor | None, log_z: Tensor) -> Tensor:
        joint = self._joint(x, log_z)
        if condition is None:
            return joint.logsumexp(-1) if self.classes > 1 else joint.squeeze(-1)
        of_class = joint - self.log_weights.log_softmax(-1)
        if condition.ndim == 0:
            return of_class[..., int(condition)]
        try:
            condition = condition.expand(of_class.shape[:-1])
        except RuntimeError:
            said = tuple(condition.shape)
            raise ValueError(f"`condition` has shape {said}, expected {tuple(of_class.shape[:-1])}") from None
        return of_class.gather(-1, condition.unsqueeze(-1)).squeeze(-1)

    # ------------------------------------------------------------------------------------------------- sampling

    @torch.no_grad()
    def sample(
        self,
        num_samples: int,
        condition: Int[Tensor, "num"] | int | None = None,
        *,
        log_weight: Callable[[Tensor], Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "num n"]:
        r"""Points of density $p(x \mid c)$, or $\propto p(x \mid c)\, e^{w(x)}$, independent.

        Without coupling and weight they are images of normal ones; otherwise by rejection from these under an empirical
        supremum, as `riemann.random_uniform`.

        Args:
            num_samples: points to draw.
            condition: classes, a number or `(num_samples,)`; drawn from the mixture by default.
            log_weight: w, points `(k, n)` to `(k,)`, bounded above: minus a curvature to keep to flat regions, a
                log density ratio. It may be minus infinity.
            generator: source of randomness, on the device of the model.

        Returns:
            `(num_samples, n)`.

        Raises:
            ValueError: classes that there are not, weights that are NaN or infinite, fewer than one proposal in 10,000
                is kept.

        Example:
            >>> from riemann_nn import GenerativeManifold
            >>> weight = lambda x: torch.where(x[:, 0] > 0, 0.0, -torch.inf)
            >>> right = GenerativeManifold(2).sample(100, log_weight=weight)
            >>> bool((right[:, 0] > 0).all())
            True
        """
        check_count("num_samples", num_samples, 0)
        c = self._classes(condition)
        if c is not None and c.shape not in ((), (num_samples,)):
            raise ValueError(f"`condition` has shape {tuple(c.shape)}, expected () or ({num_samples},)")
        log_z = self.log_normalizers().value

        def propose(lanes: Tensor) -> tuple[Tensor, Tensor]:
            z, of = self._draw(lanes, c, generator)
            x, score = self.map.inverse(z), z.new_zeros(len(z))
            if self.coupling:
                score = riemann.log_volume_element(self.metric, z) - log_z[of]
            return x, score if log_weight is None else score + log_weight(x)

        if self.coupling is None and log_weight is None:
            return propose(torch.arange(num_samples))[0]
        return by_rejection(propose, num_samples, generator)

    @torch.no_grad()
    def sample_uniform(
        self,
        num_samples: int,
        condition: int | None = None,
        *,
        metric: Any = None,
        mass: float = 0.95,
        log_weight: Callable[[Tensor], Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "num n"]:
        r"""Points uniform in the Riemannian volume, of density $\propto \sqrt{\det g}$, where the data are.

        The region is where $p(x \mid c)$ is above a level, and holds the part `mass` of the probability. What is rare
        in the data comes as often as what is common. By rejection, as `sample`.

        Args:
            num_samples: points to draw.
            condition: a class; the mixture by default.
            metric: g, in the coordinates of the data; that of the model by default.
            mass: part of the probability in the region; its level is read off 8192 samples.
            log_weight: as for `sample`.
            generator: source of randomness, on the device of the model.

        Returns:
            `(num_samples, n)`.

        Raises:
            ValueError: as `sample`; `mass` is not between 0 and 1.
        """
        check_count("num_samples", num_samples, 0)
        c, log_z, level = self._one_class(condition), self.log_normalizers().value, self._level(condition, mass)

        def propose(lanes: Tensor) -> tuple[Tensor, Tensor]:
            z, _ = self._draw(lanes, c, generator)
            x = self.map.inverse(z)
            log_det = self.map.with_log_det(x)[1]
            normal = self._log_normal(z)
            drawn = normal[:, int(c)] if c is not None else (normal + self.log_weights.log_softmax(-1)).logsumexp(-1)
            volume = (
                riemann.log_volume_element(self.metric, z)
                if metric is None
                else riemann.log_volume_element(metric, x) - log_det
            )
            score = volume - drawn
            score = score if log_weight is None else score + log_weight(x)
            return x, torch.where(self._log_prob(x, c, log_z) >= level, score, -math.inf)

        return by_rejection(propose, num_samples, generator)

    def _draw(self, lanes: Tensor, c: Tensor | None, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Points of the chart, one a lane, of the normal densities, and their classes."""
        lanes = lanes.to(self.means.device)
        if c is None:
            of = self.log_weights.softmax(-1).multinomial(max(1, len(lanes)), True, generator=generator)[: len(lanes)]
        else:
            of = c.expand(len(lanes)) if c.ndim == 0 else c[lanes]
        mu = self.means[of]
        return mu + torch.randn(mu.shape, generator=generator, dtype=mu.dtype, device=mu.device), of

    # ------------------------------------------------------------------------------------------------- geometry

    @property
    def data_metric(self) -> Pullback:
        """The metric of the chart in the coordinates of the data."""
        return Pullback(self.map, self.metric)

    def density_metric(self, strength: float = 1.0, condition: int | None = None, *, mass: float = 0.95) -> Conformal:
        r"""$(1 + p(x \mid c) / p_0)^{-2s/n}\, 1$, a metric of the data: short where they are dense, flat far from them.

        Its geodesics keep to the data, and the more so the larger s is. Make it when the model is trained: $p_0$ is
        that of now.

        Args:
            strength: s; 0 is the flat metric of the data.
            condition: a class; the mixture by default.
            mass: part of the probability where the density is above $p_0$, which is read off 8192 samples.

        Raises:
            ValueError: `mass` is not between 0 and 1.
        """
        c, log_z, level = self._one_class(condition), self.log_normalizers().value, self._level(condition, mass)

        def log_factor(x: Tensor) -> Tensor:
            return (-strength / self.dim) * torch.nn.functional.softplus(self._log_prob(x, c, log_z) - level)

        return DensityMetric(None, log_factor)

    @torch.no_grad()
    def _level(self, condition: int | None, mass: float) -> Tensor:
        """The logarithm of a density: what is above it holds the part `mass` of the probability."""
        if not 0 < mass < 1:
            raise ValueError(f"`mass` is {mass}, expected a number between 0 and 1")
        x = self.sample(LEVEL, condition, generator=torch.Generator(self.means.device).manual_seed(0))
        return self._log_prob(x, self._one_class(condition), self.log_normalizers().value).quantile(1 - mass)

    def _one_class(self, condition: Tensor | int | None) -> Tensor | None:
        c = self._classes(condition)
        if c is not None and c.ndim:
            raise ValueError(f"`condition` has shape {tuple(c.shape)}, expected one class, or None")
        return c

    def interpolate(
        self,
        a: Float[Tensor, "*#batch n"],
        b: Float[Tensor, "*#batch n"],
        t: Float[Tensor, "t"] | float | Sequence[float],
        *,
        metric: Any = None,
        sides: int | None = None,
        throw: bool = True,
        **options: Any,
    ) -> Float[Tensor, "t *batch n"]:
        """Points on the geodesic from a (t = 0) to b (t = 1), `(t, *batch, n)`, in the coordinates of the data.

        Args:
            a: points of the data, `(*batch, n)`.
            b: points of the data, broadcast against `a`.
            t: parameters, `(t,)`; beyond 0 and 1 the geodesic goes on.
            metric: in the coordinates of the data, such as `density_metric()`; that of the model by default.
            sides: instead of the geodesic the polygon of least energy with so many sides, near the straight line of the
                data or of the chart, whichever is better: in metrics that wind at the scale of noise, as those of
                densities do, exact geodesics are not found, nor wanted. Without derivatives.
            throw: whether to raise where no geodesic is found; otherwise points are NaN there.
            **options: as for `riemann.log_map`.

        Raises:
            ValueError: `sides` is less than 2, or parameters of a polygon are not between 0 and 1.
            RuntimeError: no geodesic was found for some pair (with `throw`).

        Note:
            In a constant metric of the chart geodesics are straight there, and nothing is solved.
        """
        a, b = torch.broadcast_tensors(self._checked(a), self._checked(b))
        t = torch.as_tensor(t, dtype=a.dtype, device=a.device).reshape(-1)
        if metric is not None:
            if sides is None:
                return geodesics(metric, a, b, t, throw, options)
            return polygons(metric, (a, b), (self.map(a), self.map(b)), self.map.inverse, sides, t)
        start, end = self.map(a), self.map(b)
        if isinstance(self.metric, Constant):
            curve = straight(start, end, t)
        elif sides is None:
            curve = geodesics(self.metric, start, end, t, throw, options)
        else:
            curve = polygons(self.metric, (start, end), (a, b), self.map, sides, t)
        return self.map.inverse(curve)

    # --------------------------------------------------------------------------------------------------- checks

    def _checked(self, x: Tensor) -> Tensor:
        if x.shape[-1:] != (self.dim,):
            raise ValueError(f"got points of shape {tuple(x.shape)}, expected (*batch, {self.dim})")
        if x.dtype != self.means.dtype:
            raise TypeError(
                f"got points of {x.dtype}, but the model is of {self.means.dtype}; use `model.to({x.dtype})`, or "
                f"`x.to({self.means.dtype})`"
            )
        return x

    def _classes(self, condition: Tensor | int | None) -> Tensor | None:
        """Classes as a tensor; raises unless there are such."""
        if condition is None:
            return None
        c = torch.as_tensor(condition, device=self.means.device)
        if c.is_floating_point() or c.is_complex() or c.dtype == torch.bool:
            raise TypeError(f"`condition` is of {c.dtype}, expected whole numbers, the classes")
        if c.numel() and not 0 <= int(c.min()) <= int(c.max()) < self.classes:
            raise ValueError(
                f"`condition` has {int(c.min())} to {int(c.max())}, expected classes 0 to {self.classes - 1}"
            )
        return c.long()

    def extra_repr(self) -> str:
        """What print shows."""
        return f"dim={self.dim}, classes={self.classes}, coupling={self.coupling!r}"
