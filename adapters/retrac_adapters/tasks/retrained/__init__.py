"""Tasks whose ground truth is retraining: what they have in common."""
