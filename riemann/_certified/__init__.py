"""What is proved: enclosures of curvature over points and boxes, and bounds on whole boxes."""
