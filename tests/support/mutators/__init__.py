"""Hostile files. Each module has mutators: `mutations(rng, folder) -> Iterator[tuple[name, path of a checkpoint]]`."""
