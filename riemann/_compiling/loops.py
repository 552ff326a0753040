"""A compiled quantity that a solver calls again and again."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from riemann._compiling.replayed import Replay
from riemann._points import checks

if TYPE_CHECKING:
    from riemann._compiling.compiled import Compiled

CERTAIN = 0.25  # the doubt up to which values are those of the quantity


class Loop:
    """A compiled quantity at as many points again and again: they are written where the code reads them.

    Values are there until the next call.
    """

    def __init__(self, quantity: "Compiled"):
        self.quantity, self.kind = quantity, ()
        self.own: list[Tensor] = []
        self.arguments: list[Tensor] = []
        self.replay: Replay | None = None
        self.results: tuple[Tensor, Tensor] | None = None  # of the replay, with points first

    def __call__(self, x: Tensor, *vectors: Tensor) -> Any:
        of, kind = self.quantity, (x.shape, x.dtype, x.device, len(vectors))
        if kind != self.kind or checks.carry_derivatives(x, *vectors):
            self.kind, self.replay = (), None
            kept = of._runner.kernel.kept(x, *vectors) if of._may_loop(x, vectors) else None
            if kept is None:
                return of(x, *vectors)
            (self.own, self.arguments), self.kind = kept, kind
        for own, a in zip(self.own, (x, *vectors), strict=True):
            own.copy_(a)
        values, doubt = self._values(x, *vectors)
        if doubt.amax().item() <= CERTAIN:
            return values
        return of._mended(x, vectors, values, (~(doubt <= CERTAIN)).nonzero()[:, 0], x.shape[:1])

    def _values(self, x: Tensor, *vectors: Tensor) -> tuple[Tensor, Tensor]:
        runner = self.quantity._runner
        if self.replay is None and (replay := runner.replay(self.arguments, x)) is not None:
            self.replay, self.results = replay, runner.kernel.shaped(*replay.results)
        if self.replay is None:
            return runner.of(self.arguments, x, *vectors)
        self.replay.run()
        return self.results
