"""Tables of robust accuracies, ours or a paper's: what contradicts what, and what is missing."""

from purespike.review.read import read_table
from purespike.review.review import Review, review
from purespike.review.row import Entry, Row

__all__ = ["Entry", "Review", "Row", "read_table", "review"]
