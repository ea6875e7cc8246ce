"""rezoo: a zoo of recommender models as pure functions in JAX."""
