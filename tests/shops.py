"""Small models that are served in the tests."""

import jax
import numpy as np

from rezoo import recipes
from rezoo.data.interactions import from_columns
from rezoo.serving import saved
from rezoo.serving.service.engine import Settings

ITEMS = 40
SETTINGS = Settings(sizes=(1, 4), slots=16, length=6, k=10, exclude=5, idle=100.0)


def log(seed=0):
    rng = np.random.default_rng(seed)
    return from_columns(
        {
            "user": [f"u{n}" for n in rng.integers(0, 20, 800)],
            "item": [f"p{n}" for n in np.r_[np.arange(ITEMS), rng.integers(0, ITEMS, 800 - ITEMS)]],
            "title": ["a product"] * 800,
        }
    )


def model(recipe="gru4rec", seed=0):
    few = {} if recipe in ("popularity", "buy_again", "co_occurrence") else dict(dim=8, num_epochs=1)
    return getattr(recipes, recipe)(log(seed), jax.random.key(seed), **few)


def folder(path, recipe="gru4rec", seed=0):
    saved.save(path, model(recipe, seed))
    return path
