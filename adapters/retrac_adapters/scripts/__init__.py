"""What a training script of diffusers was told, and what it leaves where."""
