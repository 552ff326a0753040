"""Fields in, fields out: derivatives, forms, integrals and symmetries."""
