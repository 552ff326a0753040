"""Exact curvature with SymPy. Imports neither torch nor the numeric core, and shares no formula with it."""

from riemann.symbolic._metric import SymbolicMetric as SymbolicMetric
