"""The whole: a manifold whose metric evolves from layer to layer."""
