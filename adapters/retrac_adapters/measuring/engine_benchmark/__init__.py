"""What the engine costs, against a plain forward and backward pass and against other ways.

Run as ``python -m retrac_adapters.measuring.engine_benchmark``.
"""
