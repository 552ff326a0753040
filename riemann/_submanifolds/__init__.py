"""How an image lies in its space."""
