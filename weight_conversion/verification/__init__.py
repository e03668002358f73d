"""Comparing checkpoints: their tensors, and the numbers that they compute on every backend."""
