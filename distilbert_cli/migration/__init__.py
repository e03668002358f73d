"""Rewriting of programs for Transformers: imports and calls of its DistilBERT become those of this package."""

from distilbert_cli.migration.programs import Left, Migration, migrate

__all__ = ["Left", "Migration", "migrate"]
