"""Students: smaller models that start as a part of a teacher."""

from __future__ import annotations

from weight_conversion.students.making import make_student
from weight_conversion.students.vocabulary import corpus_vocabulary

__all__ = ["corpus_vocabulary", "make_student"]
