"""What the training scripts of diffusers leave on disk."""
