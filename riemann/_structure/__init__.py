"""What a metric is made of, found in the graph of its operations: which named metric it equals, and why."""
