"""Distillation without any framework: the texts that a student learns from, and what its teacher said about them."""
