"""Neural differential manifolds, built from `riemann`'s public names."""
