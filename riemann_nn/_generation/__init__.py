"""Densities and geometry of data: to judge, to draw and to interpolate points."""
