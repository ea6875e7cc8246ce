"""RQ-VAE: an autoencoder of items' content whose middle is rounded level by level, for semantic ids.

Zeghidour et al.: SoundStream, 2021, https://arxiv.org/abs/2107.03312, section III.C, as Rajput et al. use it:
TIGER, NeurIPS 2023, https://arxiv.org/abs/2305.05065, section 3.1:

    z = E(x),  r_0 = z,  c_l = argmin_k |r_l - e_lk|,  r_{l+1} = r_l - e_{l,c_l},  x̂ = D(Σ_l e_{l,c_l})
    loss = |x - x̂|² + Σ_l |sg[r_l] - e_{l,c_l}|² + β |r_l - sg[e_{l,c_l}]|²

sg stops the gradient, and that of x̂ by the sum of the centres is handed to z as it is (straight through). The
centres begin as those of residual k-means of the first z, as the paper's do for its first batch.

    fitted = rq_vae.fit(vectors[seen], levels=3, size=64, key=key)
    catalogue = semantic_ids.catalogue(fitted.books, rq_vae.encode(fitted, vectors), room=256)

Differs from the paper: E and D have one hidden layer; a centre that no item is near is not moved.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from rezoo.arrays import above_0, at_least_0, at_least_1
from rezoo.data import semantic_ids
from rezoo.errors import DataError


class RQVAE(nn.Module):
    """The network; its centres are given with what it is to round."""

    hidden: int
    latent: int
    out: int

    def setup(self) -> None:
        self.encoder_in, self.encoder_out = nn.Dense(self.hidden), nn.Dense(self.latent)
        self.decoder_in, self.decoder_out = nn.Dense(self.hidden), nn.Dense(self.out)

    def encode(self, x: Float[Array, " n V"]) -> Float[Array, " n Z"]:
        """E(x)."""
        return self.encoder_out(nn.relu(self.encoder_in(x)))

    def __call__(
        self, x: Float[Array, " n V"], books: Float[Array, " levels size Z"], beta: float | Array
    ) -> Float[Array, " n"]:
        """The loss of each vector."""
        z = self.encode(x)
        digits = semantic_ids.nearest_digits(books, z)
        centres = jax.vmap(lambda book, digit: book[digit])(books, digits)
        left = z[None] - jnp.cumsum(jnp.concatenate([jnp.zeros_like(centres[:1]), centres[:-1]]), axis=0)
        still = jax.lax.stop_gradient
        moved = jnp.square(still(left) - centres) + beta * jnp.square(left - still(centres))
        rounded = z + still(centres.sum(0) - z)
        told = self.decoder_out(nn.relu(self.decoder_in(rounded)))
        return jnp.square(x - told).sum(-1) + moved.sum((0, 2))


class Fitted(NamedTuple):
    """What was learnt."""

    params: Any
    """Of `RQVAE`."""
    books: Float[Array, " levels size Z"]
    """Centres, as `semantic_ids.assign` takes them with `encode`'s vectors."""


def fit(
    vectors: semantic_ids.Vectors,
    levels: int,
    size: int,
    key: Key[Array, ""],
    *,
    latent: int = 32,
    hidden: int = 128,
    beta: float = 0.25,
    rate: float = 1e-3,
    steps: int = 3000,
    batch_size: int = 1024,
) -> Fitted:
    """The network and its centres, by Adam on random rows.

    Args:
      vectors: of items to learn from.
      levels: digits, without the one that tells equal items apart.
      size: centres of each level.
      key: of all that is random.
      latent: width of z.
      hidden: width of the hidden layers.
      beta: β, how much z is held to its centres.
      rate: of Adam.
      steps: of training.
      batch_size: rows of a step.

    Raises:
      DataError: as of `semantic_ids.fit`.
      ValueError: if a size is below 1, β below 0 or the rate not above it.

    >>> vectors = np.repeat(np.eye(4, dtype=np.float32), 3, axis=0)
    >>> fitted = fit(vectors, 2, 2, jax.random.key(0), latent=3, hidden=8, steps=5, batch_size=4)
    >>> fitted.books.shape, encode(fitted, vectors).shape
    ((2, 2, 3), (12, 3))
    """
    at_least_1(latent=latent, hidden=hidden, steps=steps, batch_size=batch_size)
    at_least_0(beta=beta)
    above_0(rate=rate)
    rows = jnp.asarray(semantic_ids.checked(vectors))
    model = RQVAE(hidden, latent, rows.shape[1])
    first_key, books_key, step_key = jax.random.split(key, 3)
    no_books = jnp.zeros((1, 1, latent))  # what the centres are does not matter yet
    params = jax.jit(lambda key: model.init(key, rows[:1], no_books, beta))(first_key)["params"]
    books = semantic_ids.fit(encode(Fitted(params, no_books), rows), levels, size, books_key)
    train = jax.jit(partial(_train, model, beta=beta, rate=rate, steps=steps, batch_size=batch_size))
    return Fitted(*train(params, books, rows, step_key))


def _train(
    model: RQVAE,
    params: Any,
    books: Array,
    rows: Array,
    key: Array,
    *,
    beta: float,
    rate: float,
    steps: int,
    batch_size: int,
) -> tuple[Any, Array]:
    optimizer = optax.adam(rate)

    def step(carry: Any, number: Array) -> tuple[Any, Array]:
        learnt, state = carry
        some = rows[jax.random.randint(jax.random.fold_in(key, number), (batch_size,), 0, len(rows))]

        def loss(learnt: Any) -> Array:
            return jnp.asarray(model.apply({"params": learnt[0]}, some, learnt[1], beta)).mean()

        value, gradient = jax.value_and_grad(loss)(learnt)
        update, state = optimizer.update(gradient, state, learnt)
        return (optax.apply_updates(learnt, update), state), value

    learnt = params, books
    return jax.lax.scan(step, (learnt, optimizer.init(learnt)), jnp.arange(steps))[0][0]


def encode(fitted: Fitted, vectors: semantic_ids.Vectors) -> Float[np.ndarray, " n Z"]:
    """Z of each vector, for `semantic_ids.assign` and `catalogue` with `fitted.books`.

    Raises:
      DataError: if they have another width than those of the fit.

    >>> vectors = np.eye(4, dtype=np.float32)
    >>> fitted = fit(vectors, 1, 2, jax.random.key(0), latent=2, hidden=4, steps=1, batch_size=4)
    >>> semantic_ids.assign(fitted.books, encode(fitted, vectors)).shape
    (4, 1)
    """
    width, hidden = fitted.params["encoder_in"]["kernel"].shape
    if vectors.shape[1:] != (width,):
        raise DataError(f"vectors of the shape {list(vectors.shape)}: the fit's are {width} wide")
    model = RQVAE(hidden, fitted.books.shape[2], width)
    return np.asarray(model.apply({"params": fitted.params}, jnp.asarray(vectors), method="encode"))
