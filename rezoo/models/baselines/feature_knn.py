"""Feature-kNN: a new user is taken for the known users most like them, a new item for the items.

The content-based side of neighbourhood methods (Lops, de Gemmis, Semeraro 2011, "Content-based
recommender systems", https://doi.org/10.1007/978-0-387-85820-3_3, section 3.3): with R the known
pairs, S the cosine of two users' or items' features among the k nearest known ones, rows summing to 1,

    profile_u = R_u for a known user, Σ_v S_uv R_v for a new one,
    score(u, i) = profile_ui + weight Σ_j S_ij profile_uj.

With TF-IDF vectors of texts this is TF-IDF item-kNN. Profiles are kept as a dense [users × items].
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_0, at_least_1, in_table
from rezoo.devices.meshes import lookup
from rezoo.nn.embedding import or_unknown
from rezoo.nn.model import Model
from rezoo.types import Query


class FeatureKNN(Model):
    """Score = ⟨profile_u, e_i + weight S_i⟩; someone without features has the mean profile."""

    num_users: int
    num_items: int

    def setup(self) -> None:
        zeros = nn.initializers.zeros
        self.profile = jnp.asarray(
            self.param("profile", zeros, (self.num_users, self.num_items), jnp.float32)
        )
        self.neighbour = jnp.asarray(
            self.param("neighbour", zeros, (self.num_items, self.num_items), jnp.float32)
        )

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        row = or_unknown(item, self.num_items)
        return jnp.einsum("bn,b...n->b...", self.encode(query), lookup(self.neighbour, row))

    def encode(self, query: Query) -> Float[Array, " B N"]:
        return lookup(self.profile, or_unknown(query.user, self.num_users))

    def table(self) -> Float[Array, " N N"]:
        return self.neighbour


def fit(
    user: np.ndarray,
    item: np.ndarray,
    user_vectors: np.ndarray,
    item_vectors: np.ndarray,
    *,
    k: int = 50,
    weight: float = 1.0,
) -> dict[str, Any]:
    """The variables that score with the pairs `user [R]`, `item [R]`, which are all that is known.

    Args:
      user: dense ids of the known pairs.
      item: likewise.
      user_vectors: `[num_users F]`, row 0 the unknown; `one_hot` makes them.
      item_vectors: `[num_items F]`; `one_hot` or `tf_idf_vectors`.
      k: neighbours of each user and item.
      weight: of the neighbours beside the item itself.

    Raises:
      ValueError: if an id has no vector, a number is not finite, or `k` is below 1.
    """
    at_least_1(k=k)
    at_least_0(weight=weight)
    for name, ids, vectors in (("user", user, user_vectors), ("item", item, item_vectors)):
        if np.ndim(vectors) != 2:
            raise ValueError(
                f"{name}_vectors have the shape {list(np.shape(vectors))}: give a row for each id"
            )
        in_table(name, ids, len(vectors))
        if not np.isfinite(vectors).all():
            raise ValueError(f"{name}_vectors has a number that is not finite: fill in what is missing")
    user, item = np.asarray(user), np.asarray(item)
    known = (user > 0) & (item > 0)
    pairs = np.zeros((len(user_vectors), len(item_vectors)), np.float32)
    pairs[user[known], item[known]] = 1.0
    known_user, known_item = pairs.max(1) > 0, pairs.max(0) > 0
    profile = pairs.copy()
    if user_vectors.any():
        profile[~known_user] = nearest(user_vectors, known_user, k)[~known_user] @ pairs
    profile[~profile.any(1)] = pairs[known_user].mean(0) if known_user.any() else 0.0
    neighbour = np.eye(len(item_vectors), dtype=np.float32)
    neighbour += np.float32(weight) * nearest(item_vectors, known_item, k)
    neighbour[0] = 0.0
    return {"params": {"profile": jnp.asarray(profile), "neighbour": jnp.asarray(neighbour)}}


def nearest(vectors: np.ndarray, known: np.ndarray, k: int) -> np.ndarray:
    """Cosines `[n n]` with the k most similar known rows other than itself, each row's sum 1, or 0.

    Rows as similar as the k-th are all taken: features leave many alike.

    >>> vectors = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> nearest(vectors, np.array([False, True, True, True]), 1)[1].tolist()
    [0.0, 0.0, 1.0, 0.0]
    """
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(length > 0, length, 1.0)).astype(np.float32)
    cosine = np.where(known[None], unit @ unit.T, 0.0)
    np.fill_diagonal(cosine, 0.0)
    k = min(k, len(vectors))
    least = np.partition(cosine, -k, axis=1)[:, -k][:, None]
    cosine = np.where((cosine > 0) & (cosine >= least - 1e-6), cosine, 0.0)
    total = cosine.sum(1, keepdims=True)
    return (cosine / np.where(total > 0, total, 1.0)).astype(np.float32)


def one_hot(columns: Mapping[str, np.ndarray], sizes: Mapping[str, int | None]) -> np.ndarray:
    """Features as vectors `[n F]`: a place for each category, the values of one row scaled to length 1.

    Numbers (size None) stay as they are.

    >>> one_hot({"age": np.array([0, 2]), "price": np.array([0.5, -1.0])}, {"age": 3, "price": None}).tolist()
    [[0.0, 0.0, 0.5], [0.0, 1.0, -1.0]]
    """
    blocks = []
    for name, size in sizes.items():
        column = columns[name]
        if size is None:
            blocks.append(column.reshape(-1, 1))
            continue
        counts = _counts(column, size)[:, 1:] > 0
        blocks.append(counts / np.sqrt(np.maximum(counts.sum(1, keepdims=True), 1)))
    return np.concatenate(blocks, axis=1).astype(np.float32)


def tf_idf_vectors(terms: Int[np.ndarray, " n M"], size: int) -> np.ndarray:
    """Vectors `[n size]` of (1 + ln tf) ln(n / df) (Salton and Buckley 1988); term 0 is padding."""
    counts = _counts(terms, size)
    counts[:, 0] = 0
    idf = np.log(len(terms) / np.maximum((counts > 0).sum(0), 1)).astype(np.float32)
    return (np.log1p(np.maximum(counts - 1, 0)) + (counts > 0)) * idf[None]


def _counts(column: np.ndarray, size: int) -> np.ndarray:
    """How often each row has each value, `[n size]`."""
    values = column.reshape(len(column), -1)
    counts = np.zeros((len(column), size), np.float32)
    np.add.at(counts, (np.arange(len(column))[:, None], values), 1.0)
    return counts
