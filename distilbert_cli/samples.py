"""Texts for `distilbert bench`, with the lengths of reviews: most are one or two sentences, a few are paragraphs."""

from __future__ import annotations

SENTENCES = (
    "A lovely film.",
    "I would not watch it again.",
    "The food was cold, and nobody came to take our order for half an hour.",
    "Great sound, weak battery.",
    "The second half is much better than the first, mostly because the story finally leaves the house.",
    "Arrived two days late.",
    "My daughter has read the book three times since her birthday, and she is asking for the next one already.",
    "It works.",
    "The staff were friendly, the room was clean, and the view over the harbour was worth every step of the climb.",
    "Not bad, but far too long.",
    "The update removed the one button that I used every day, and the support page sends me back to where I started.",
    "She sings like nobody else.",
    "We paid for a table at the window and got one beside the kitchen door.",
    "Simple, quiet and honest; I left the cinema with a smile.",
    "After a month of daily use the handle broke, and the shop refused to replace it without the original box.",
    "Five stars for the cook, one star for the music.",
    "I expected a comedy and got a slow drama about two brothers who have not spoken for twenty years.",
    "Would buy again.",
    "The actors do their best with a script that explains every joke twice.",
    "Delivery was quick, the parcel was packed with care, and the lamp looks even better than in the pictures.",
    "Utterly dull.",
    "Nothing new here, but it is done so well that I did not mind.",
    "The guide knew every stone of the old town and still found time for the questions of the children.",
    "Too expensive for what you get.",
    "Somebody should have told the director that a loud scene is not the same as an exciting one.",
    "Perfect for a rainy afternoon.",
    "The seat is hard, the screen is small, and the trip takes nine hours, so bring a pillow and a good book.",
    "I have recommended it to all my friends.",
    "Its heart is in the right place, even when its plot is not.",
    "No manual, no answer to my letters, and no refund.",
    "What begins as a simple theft turns into a clever portrait of a family, with an end that I did not see coming.",
)
COUNTS = (1, 2, 1, 3, 2, 1, 2, 5, 1, 2, 3, 1, 4)  # sentences of a text, in turn
NUMBER = 78


def sample_texts() -> list[str]:
    """Return texts of 1 to 5 sentences.

    Example:
        >>> from distilbert_cli.samples import sample_texts
        >>> texts = sample_texts()
        >>> len(texts), min(len(text.split()) for text in texts), max(len(text.split()) for text in texts)
        (78, 2, 75)
    """
    texts = []
    for number in range(NUMBER):
        indices = range(7 * number, 7 * number + COUNTS[number % len(COUNTS)])
        texts.append(" ".join(SENTENCES[index % len(SENTENCES)] for index in indices))
    return texts
