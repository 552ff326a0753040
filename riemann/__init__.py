"""Curvature of any metric you can write in PyTorch."""
