"""What several test files share: the harness, the reference in NumPy, small checkpoints, stand-ins, processes."""
