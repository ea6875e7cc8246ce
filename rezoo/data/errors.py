"""The one error for bad input."""


class DataError(ValueError):
    """Input that cannot be used. The message names file, row and column, and says what to do."""
