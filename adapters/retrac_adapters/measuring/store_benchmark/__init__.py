"""What a store costs: filling it, and asking it, at sizes that no test has."""
