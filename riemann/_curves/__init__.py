"""Geodesics, and what is carried along them."""
