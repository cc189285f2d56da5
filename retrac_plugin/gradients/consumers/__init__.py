"""What is done with gradients while they pass by."""
