"""One quantity as one graph."""
