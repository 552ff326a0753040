"""Metrics found in data: from trajectories, and with symmetries."""
