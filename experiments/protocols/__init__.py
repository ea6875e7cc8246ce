"""What several experiments share: their data, divisions, measures and training."""
