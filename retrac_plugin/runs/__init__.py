"""A training run on disk: what it holds, and what it does not say."""
