"""A device without hardware, on which what would go wrong on a GPU goes wrong on any machine."""
