"""Where the modules of version 0.1.0 stand now: what was pickled then names them, as do files of `torch.save`."""

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "riemann._aten": "riemann.bridge._aten",
    "riemann._check": "riemann._verification.check",
    "riemann._chunks": "riemann._points.chunks",
    "riemann._comparison": "riemann._compiling.comparison",
    "riemann._compile": "riemann._compiling.compile",
    "riemann._conditions": "riemann.bridge._conditions",
    "riemann._connection": "riemann._calculus.connection",
    "riemann._coordinates": "riemann._calculus.coordinates",
    "riemann._derivatives": "riemann._nabla",
    "riemann._derive": "riemann._compiling.derive",
    "riemann._digits": "riemann.bridge._digits",
    "riemann._directional": "riemann._curvature.directional",
    "riemann._dop853": "riemann._curves.dop853",
    "riemann._embedding": "riemann._submanifolds.extrinsic",
    "riemann._emit": "riemann.bridge._emit",
    "riemann._estimate": "riemann._curvature.estimate",
    "riemann._faults": "riemann._points.faults",
    "riemann._fields": "riemann._calculus.fields",
    "riemann._forms": "riemann._calculus.forms",
    "riemann._frames": "riemann._messages.frames",
    "riemann._functions": "riemann.bridge._functions",
    "riemann._geodesic": "riemann._curves.geodesic",
    "riemann._geometry": "riemann._curvature.quantities",
    "riemann._integrate": "riemann._calculus.integrate",
    "riemann._jacobi": "riemann._curves.jacobi",
    "riemann._killing": "riemann._calculus.killing_rank",
    "riemann._killing_fields": "riemann._calculus.killing_fields",
    "riemann._laplacians": "riemann._calculus.laplacians",
    "riemann._lie": "riemann._calculus.lie",
    "riemann._linear": "riemann.bridge._linear_algebra",
    "riemann._log": "riemann._curves.logarithm",
    "riemann._memory": "riemann._points.memory",
    "riemann._names": "riemann._messages.names",
    "riemann._ode": "riemann._curves.ode",
    "riemann._one_point": "riemann._points.one_point",
    "riemann._operations": "riemann.bridge._arithmetic",
    "riemann._remedies": "riemann._messages.remedies",
    "riemann._ricci": "riemann._curvature.blocks",
    "riemann._sample": "riemann._verification.sample",
    "riemann._scale": "riemann._terms",
    "riemann._symbols": "riemann.bridge._symbols",
    "riemann._trace": "riemann.bridge._trace",
    "riemann._transport": "riemann._curves.transport",
    "riemann._truth": "riemann._verification.truth",
    "riemann._verify": "riemann._verification.verify",
    "riemann._weight": "riemann._points.weight",
    "riemann.spaces._forms": "riemann.spaces._constant_curvature",
    "riemann_nn._card": "riemann_nn._model.card",
    "riemann_nn._cartan": "riemann.metrics._moving_frame",
    "riemann_nn._chart": "riemann_nn._charts.chart",
    "riemann_nn._compatibility": "riemann_nn._losses.compatibility",
    "riemann_nn._coordinate": "riemann_nn._charts.coordinate",
    "riemann_nn._covered": "riemann_nn._optim.covered",
    "riemann_nn._curvature_loss": "riemann_nn._losses.curvature",
    "riemann_nn._elementwise": "riemann.metrics.elementwise",
    "riemann_nn._evolution": "riemann_nn._model.evolution",
    "riemann_nn._factor": "riemann_nn._losses.likelihoods",
    "riemann_nn._fisher": "riemann_nn._losses.fisher",
    "riemann_nn._heads": "riemann_nn._charts.heads",
    "riemann_nn._induced": "riemann_nn._charts.induced",
    "riemann_nn._kronecker": "riemann_nn._optim.kronecker",
    "riemann_nn._manifold": "riemann_nn._model.manifold",
    "riemann_nn._measure": "riemann_nn._losses.means",
    "riemann_nn._metric_net": "riemann_nn._fields.metric_net",
    "riemann_nn._mlp_cholesky": "riemann.metrics._mlp_cholesky",
    "riemann_nn._mlp_jets": "riemann.metrics._mlp_jets",
    "riemann_nn._monitor": "riemann_nn._losses.monitor",
    "riemann_nn._natural_gradient": "riemann_nn._optim.natural_gradient",
    "riemann_nn._plain": "riemann_nn._fields.compiled",
    "riemann_nn._points_last": "riemann.metrics._points_last",
    "riemann_nn._pulled_back": "riemann_nn._optim.observer",
    "riemann_nn._reduce": "riemann_nn._losses.reduce",
    "riemann_nn._representation": "riemann_nn._optim.representation",
    "riemann_nn._routes": "riemann.metrics._mlp_routes",
    "riemann_nn._smooth": "riemann_nn._fields.smooth",
    "riemann_nn._volume_loss": "riemann_nn._losses.volume",
}


_HEADS = "riemann_nn._charts.heads_of_0_1_0"
RENAMED = {
    "riemann_nn._heads._Distances": (_HEADS, "Distances"),
    **{f"riemann_nn._heads.{name}": (_HEADS, name) for name in ("MahalanobisHead", "KernelHead", "LinearHead")},
    "riemann_nn._metric_net._Scalar": ("riemann_nn._fields.metric_net", "Scalar"),
    "riemann_nn._smooth._Function": ("riemann_nn._fields.smooth", "Function"),
    "riemann._compile.Pattern": ("riemann._compiling.components", "Pattern"),
    "riemann._compile._OfColumns": ("riemann._compiling.kernels", "OfColumns"),
    "riemann._compile._OfPoints": ("riemann._compiling.kernels", "OfPoints"),
    "riemann._compile._OfJets": ("riemann._compiling.kernels", "OfDerivatives"),
}


class _Old(MetaPathFinder, Loader):
    """Makes an old module on demand: its names are those of the new one, or public ones of the package."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        """A spec for the modules of the table alone."""
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The usual one."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Gives the module the names."""
        places = [MOVED[module.__name__], module.__name__.partition(".")[0]]

        def named(name: str) -> Any:
            if (now := RENAMED.get(f"{module.__name__}.{name}")) is not None:
                return vars(import_module(now[0]))[now[1]]
            for place in map(import_module, places):
                if name in vars(place):
                    return vars(place)[name]
            raise AttributeError(f"`{name}` of {module.__name__}, of version 0.1.0, is no more")

        module.__getattr__ = named  # type: ignore[method-assign]


sys.meta_path.append(_Old())


def belong(package: str, names: Iterable[str], room: str = "") -> None:
    """Lets public classes say that they belong to a package, whatever room they stand in: pickles name the package.

    The names are taken from the package itself, or from a room that is opened later.
    """
    for name in names:
        value = vars(sys.modules[room or package]).get(name)
        if isinstance(value, type) and value.__module__.startswith(f"{package}."):
            value.__module__ = package
