"""Benchmark tasks, with ground truth from retraining."""
