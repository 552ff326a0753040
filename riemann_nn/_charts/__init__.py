"""Coordinates that are learned, and the heads that read them."""
