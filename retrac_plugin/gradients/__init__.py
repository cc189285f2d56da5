"""Per-sample gradients behind one narrow interface."""
