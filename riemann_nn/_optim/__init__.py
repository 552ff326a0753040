"""The natural gradient."""
