"""Curvature of a metric at points."""
