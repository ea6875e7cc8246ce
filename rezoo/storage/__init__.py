"""What outlives a process: files written whole or not at all, checkpoints, and what a folder belongs to."""
