"""Models of a session's next event."""

from rezoo.models.session.gru4rec import GRU4Rec

__all__ = ["GRU4Rec"]
