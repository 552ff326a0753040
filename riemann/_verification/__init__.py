"""Can a metric be trusted, and is its curvature right."""
