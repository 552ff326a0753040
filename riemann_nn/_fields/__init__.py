"""Learned metrics: networks whose values are metrics, with their closed forms."""
