"""A trained model with all that it needs to be asked by raw ids."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float

from rezoo.data.features import FeatureSet
from rezoo.data.ids import Ids
from rezoo.data.scale import Scale
from rezoo.types import Variables

SETS = ("user_features", "item_features", "context_features", "event_features")
"""The features of a question."""
PAST = {"history": np.int32, "history_rating": np.float32}
"""Arrays of the users' past, and their types."""
NONE = FeatureSet({})


def identity(score: Float[Array, " *S"]) -> Float[Array, " *S"]:
    """Scores as they are: stars.

    >>> import jax.numpy as jnp
    >>> identity(jnp.array([4.5])).tolist()
    [4.5]
    """
    return score


def probability(score: Float[Array, " *S"]) -> Float[Array, " *S"]:
    """σ(score), for models whose scores are logits.

    >>> import jax.numpy as jnp
    >>> probability(jnp.array([0.0])).tolist()
    [0.5]
    """
    return jax.nn.sigmoid(score)


Link = Annotated[Callable[[Any], Any], identity, probability]


class Saved(NamedTuple):
    """What is saved and loaded."""

    model: nn.Module
    variables: Variables
    """`catalogue`, if there is one, has a row for each id of `items`."""
    users: Ids
    """May be more than the model's table has: those are known by their features alone."""
    items: Ids
    user_columns: Mapping[str, np.ndarray] = {}
    """Features of users, fitted, a row for each dense id; row 0 is the unknown's."""
    user_features: FeatureSet = NONE
    """Make `user_columns` of raw columns; likewise `item_features` the catalogue."""
    item_features: FeatureSet = NONE
    context_features: FeatureSet = NONE
    """Of each question, such as the hour."""
    link: Link = identity
    """From scores to predictions: `identity` or `probability`."""
    scale: Scale = Scale(0.0, 1.0)
    """Brings predictions back to the original scale."""
    clip: tuple[float, float] | None = None
    """Lowest and highest prediction, on the original scale; not clipped if None."""
    history: np.ndarray | None = None
    """What each user did, `[U L]`: dense item ids, oldest first, padded with 0; row 0 is the unknown's."""
    history_rating: np.ndarray | None = None
    """The rating of each event of `history`, as in training (centred, if it was); for models that read it."""
    event_features: FeatureSet = NONE
    """Make columns of events, such as their type, for models that read them: `serving.event_columns`."""
    history_columns: Mapping[str, np.ndarray] = {}
    """Those of the events of `history`, fitted, `[U L …]`."""
