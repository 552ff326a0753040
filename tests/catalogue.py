"""Writes docs/spaces.md from the catalogue: `python -m tests.catalogue`; a test checks that the page is as written."""

import inspect
import re
from pathlib import Path

import sympy as sp

from riemann import spaces

PAGE = Path(__file__).parent.parent / "docs" / "spaces.md"
ROOMS = {
    "_forms": "Spaces of constant curvature",
    "_surfaces": "Surfaces",
    "_homogeneous": "Complex and homogeneous spaces, instantons",
    "_distributions": "Families of distributions",
    "_black_holes": "Black holes",
    "_bodies": "More black holes, and stars",
    "_universes": "Universes",
    "_waves": "Waves, strings, wormholes",
}
SYMBOLS = {
    "sectional_curvature": "K",
    "einstein_constant": r"\lambda",
    "scalar_curvature": "S",
    "kretschmann_scalar": r"R_{abcd} R^{abcd}",
    "energy_density": r"\varepsilon",
    "volume": r"\mathrm{vol}",
    "volume_element": r"\sqrt{|g|}",
}
TENSORS = {"riemann_tensor": "flat", "ricci_tensor": "Ricci-flat", "weyl_tensor": "conformally flat"}
HEAD = """# The catalogue

Each space is a metric that can be called on points, and knows its exact form, its coordinates and their bounds, and
facts that the tests prove. Values below are for default arguments; [the reference](api/spaces.md) has the charts and
the parameters.

```python
import torch
import riemann as rm
from riemann import spaces

hole = spaces.kerr(M=1, a=0.9)  # a metric: points (*batch, 4) to (*batch, 4, 4)
x = hole.sample(1000)  # points inside the domain
rm.kretschmann_scalar(hole, x)
hole.symbolic.christoffel()  # the same metric, exactly
hole.facts["kretschmann_scalar"]  # the closed form

family = spaces.kerr(M="M", a="a").symbolic  # parameters as symbols
mass = torch.tensor(1.0, requires_grad=True)
rm.bridge.to_torch(family, M=mass, a=0.9)  # differentiable to the mass
```

$K$ is the sectional curvature where it is constant, $\\lambda$ the number in $\\mathrm{Ric} = \\lambda g$, $S$ the
scalar curvature, $\\varepsilon$ the energy density for the normal of the first coordinate, *symmetries* the dimension
of the Killing fields near a point.
"""


def page() -> str:
    """The text of the page."""
    parts = [HEAD]
    for room, title in ROOMS.items():
        parts.append(
            f"\n## {title}\n\n| space | coordinates | line element | known | reference |\n|---|---|---|---|---|\n"
        )
        parts += [_row(name) for name in spaces.names() if _room(name) == room]
    return "".join(parts)


def _room(name: str) -> str:
    return inspect.unwrap(getattr(spaces, name)).__module__.rpartition(".")[2]


def _row(name: str) -> str:
    space = spaces.get(name)
    coordinates = ", ".join(f"${sp.latex(c)}$" for c in space.symbolic.coordinates)
    doc = inspect.getdoc(getattr(spaces, name)) or ""
    text = re.split(r"\n(?:Args|Example):", doc)[0].partition("\n")[2]
    line = _cell(re.sub(r"\$\$(.*?)\$\$", lambda m: f"${m[1]}$", text, flags=re.S))
    return f"| `{name}` | {coordinates} | {line} | {_cell('; '.join(_known(space)))} | {space.reference} |\n"


def _known(space: spaces.Space) -> list[str]:
    facts = space.facts
    known = [word for key, word in TENSORS.items() if _vanishes(facts.get(key))]
    if "flat" in known:
        known = ["flat"]
    elif space.dim < 4:
        known = [word for word in known if word != "conformally flat"]
    for key, symbol in SYMBOLS.items():
        implied = key == "kretschmann_scalar" and space.dim == 2 or known and facts.get(key) == 0
        if key in facts and not implied and len(value := sp.latex(facts[key])) < 120:
            known.append(f"${symbol} = {value}$")
    if "killing_dimension" in facts:
        known.append(f"symmetries: {facts['killing_dimension']}")
    return known


def _vanishes(fact: object) -> bool:
    return fact is not None and not any(sp.flatten(sp.Array(fact).tolist() if hasattr(fact, "shape") else [fact]))


def _cell(text: str) -> str:
    """Text that a table takes: bars of mathematics by name, one line."""
    return " ".join(text.replace(r"\left|", r"\left\vert ").replace(r"\right|", r"\right\vert ").replace(
        "|", r"\vert ").split())  # fmt: skip


if __name__ == "__main__":
    PAGE.write_text(page())
