"""Fine-tuning: a low-rank adapter learns new people; which of their photos made a picture?"""
