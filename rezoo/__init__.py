"""rezoo: a zoo of recommender models as pure functions in JAX.

`models`, `losses`, `objectives`, `sampling` and `training` make and train a model; `data` and `datasets` read
what it is trained on; `metrics`, `evaluation` and `studies` measure it; `serving` saves it and answers
questions in raw ids. `types` names what is passed between them.
"""

__version__ = "0.1.0"
