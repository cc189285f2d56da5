"""Per-sample gradients behind one narrow interface, see ``engine``."""
