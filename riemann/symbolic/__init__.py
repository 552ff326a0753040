"""Exact curvature with SymPy; imports neither torch nor the numeric core."""
