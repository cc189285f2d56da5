"""What a data set holds: examples, image files, encoded images and captions."""
