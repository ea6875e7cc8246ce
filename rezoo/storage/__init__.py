"""Storage: atomic writes, checkpoints, and fingerprints that say which run a folder belongs to."""
