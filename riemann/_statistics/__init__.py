"""Statistics of points on a curved space: means, regression, principal directions, clusters."""
