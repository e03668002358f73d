"""Sentences whose sentiment the embedded model must know."""

from __future__ import annotations

CLEAR_CASES = {
    "I love using DistilBERT!": "POSITIVE",
    "A moving, funny and wonderfully acted film.": "POSITIVE",
    "This is the worst movie I have ever seen.": "NEGATIVE",
    "A dull, lifeless mess that wastes everyone's time.": "NEGATIVE",
}
