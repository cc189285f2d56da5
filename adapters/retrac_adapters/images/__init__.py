"""Images and captions as the training scripts of diffusers read them."""
