"""The digits task: a benchmark that anyone repeats in minutes, with its ground truth shipped."""
