"""What a search leaves of the settings that it tried."""

from typing import Any, NamedTuple


class Tried(NamedTuple):
    """Settings, and what they are worth on the validation part."""

    settings: dict[str, Any]
    score: float
    """Of the validation part; more is better."""
    points: int = 1
    """How many were tried for it."""
    epochs: int = 0
    """After which they were best; 0: they are fitted without epochs."""
    trained: int = 0
    """Epochs of all points that were tried for it."""
