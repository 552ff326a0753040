"""Many points: what they must be, pieces, memory, faults."""
