"""Which of several weight files of a checkpoint to read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Selection:
    """Which of several weight files of a checkpoint to read.

    Attributes:
        variant: Read model.VARIANT.safetensors in place of model.safetensors; other names change in the same way.
        use_safetensors: Read safetensors only (True), or other formats only (False).
        framework: Prefer the own format of the framework ('tf' or 'flax') that saved the checkpoint.
    """

    variant: str | None = None
    use_safetensors: bool | None = None
    framework: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether model.safetensors has precedence over other formats."""
        return self.use_safetensors is not False and self.framework is None

    def file(self, name: str) -> str:
        """Return the name of a file in this variant.

        Example:
            >>> from distilbert_core.files.selection import Selection
            >>> Selection(variant="fp16").file("model.safetensors")
            'model.fp16.safetensors'
        """
        stem, dot, suffix = name.rpartition(".")
        return name if self.variant is None or not dot else f"{stem}.{self.variant}.{suffix}"
