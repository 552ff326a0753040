"""What was found in a metric: findings, and the record of all of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from riemann._types import Metric


@dataclass(frozen=True)
class Finding:
    """One structure that a metric has.

    Attributes:
        name: of the type in `riemann.metrics`, or `"ignorable"`.
        metric: the metric as one of that type; None where there is not such a type.
        why: what was seen.
        cost: what curvature costs by it.
    """

    name: str
    metric: Any
    why: str
    cost: str

    def __str__(self) -> str:
        return f"{self.name}: {self.why}; {self.cost}"


@dataclass(frozen=True)
class Structure:
    """What `structure` has found; printed, one line a finding.

    Attributes:
        metric: the first finding's, of the order that `structure` names; the metric itself where nothing was found.
        findings: all of them.
        reason: why there is none, or what was looked at in vain.
    """

    metric: Metric | Callable[..., Any]
    findings: list[Finding] = field(default_factory=list)
    reason: str = ""

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or f"no structure was found: {self.reason}"
