"""A simulated shop whose parameters are known, and with them the best possible result of every task.

World. A shopper u has an age band, a gender and a taste t_u = A[age] + G[gender] + ε; a product i
a category, a price, a popularity w_i ∝ rank^-`popularity_bias` (Zipf) and a vector
v_i = C[category] + ε. All vectors are Gaussian with `dim` entries; a share of each is explained by
the features, so that new shoppers and new products can be predicted, too.

- preference   P(i | u) ∝ w_i exp(`affinity` ⟨t_u, v_i⟩): what a shopper buys and rates.
- stars        round(3.0 + b_u + b_i + ⟨t_u, v_i⟩ + `noise` ε), cut to 1 … 5.
- clicks       σ(½ + ⟨t_u, v_i⟩ + F[age, category] + H[hour, category] + ½ ln w_i), on products
               shown at random; a purchase follows a click with σ(2 + ⟨t_u, v_i⟩ - ln price).
- sessions     a hidden intent z is drawn by the shopper's taste and moves on with probability
               `drift` per click; a click is drawn from E[z] ∝ √w_i exp(1.5 ⟨intent_z, v_i⟩).

Oracles: the mean star rating, the probabilities of a click and of a purchase after it, P(i | u),
and the probability of the next click given the clicks so far, by the forward algorithm (Rabiner
1989, https://doi.org/10.1109/5.18626) with every parameter known. `rezoo.datasets.shop_rows`
draws the rows, `rezoo.datasets.shop_builder` prepares a shop as a TFDS data set.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Int

AGES = ("unknown", "under 25", "25-34", "35-44", "45-54", "55-64", "65 and over")
GENDERS = ("unknown", "female", "male")
DAYPARTS = ("unknown", "night", "morning", "afternoon", "evening")
NOUNS = (
    "scarf", "lamp", "kettle", "notebook", "backpack", "headphones",
    "novel", "puzzle", "running shoe", "tea", "plant pot", "knife",
)  # fmt: skip
STYLES = ("Nordic", "Rustic", "Urban", "Classic", "Bright", "Quiet", "Travel", "Festive")


@dataclass(frozen=True)
class ShopConfig:
    """Sizes and switches of a shop."""

    shoppers: int = 2_000
    products: int = 600
    ratings_per_shopper: int = 40
    """Products that each shopper buys and rates; lower is sparser."""
    impressions: int = 150_000
    sessions: int = 20_000
    session_length: int = 10
    """Longest session; lengths are uniform from 3 to this."""
    dim: int = 6
    intents: int = 24
    popularity_bias: float = 0.7
    affinity: float = 1.5
    noise: float = 0.6
    """Standard deviation of a star rating around the shopper's opinion."""
    drift: float = 0.15
    """Probability that a session's intent moves on between two clicks."""
    cold_shoppers: float = 0.05
    """Share of shoppers whom only the test part knows."""
    cold_products: float = 0.0
    """Share of products that only the test part sells."""


class World(NamedTuple):
    """The truth. Row 0 of every table belongs to the unknown and is never drawn."""

    age: Int[Array, " U"]
    gender: Int[Array, " U"]
    taste: Float[Array, " U D"]
    shopper_bias: Float[Array, " U"]
    category: Int[Array, " N"]
    log_price: Float[Array, " N"]
    vector: Float[Array, " N D"]
    product_bias: Float[Array, " N"]
    log_popularity: Float[Array, " N"]
    age_category: Float[Array, " A K"]
    hour_category: Float[Array, " H K"]
    intent: Float[Array, " Z D"]
    """What a session is after."""
    start: Float[Array, " U Z"]
    """Log-probability of a session's first intent."""
    move: Float[Array, " Z Z"]
    """Log-probability of the next intent."""
    emit: Float[Array, " Z N"]
    """Log-probability of a click, given the intent."""


@partial(jax.jit, static_argnames="config")
def world(key: jax.Array, config: ShopConfig) -> World:
    """Draw the shop's truth."""
    keys = iter(jax.random.split(key, 20))
    users, items, d = config.shoppers + 1, config.products + 1, config.dim
    kinds = len(NOUNS)

    def normal(*shape: int, scale: float = 1.0) -> Array:
        return scale * jax.random.normal(next(keys), shape)

    age = jax.random.randint(next(keys), (users,), 1, len(AGES)).at[0].set(0)
    gender = jax.random.randint(next(keys), (users,), 1, len(GENDERS)).at[0].set(0)
    category = jax.random.randint(next(keys), (items,), 1, kinds + 1).at[0].set(0)
    share = d**-0.25
    taste = normal(len(AGES), d, scale=0.6)[age] + normal(len(GENDERS), d, scale=0.4)[gender]
    taste = share * (taste + normal(users, d, scale=0.7))
    vector = share * (normal(kinds + 1, d, scale=0.7)[category] + normal(items, d, scale=0.7))
    rank = jax.random.permutation(next(keys), items) + 1.0
    log_popularity = (-config.popularity_bias * jnp.log(rank)).at[0].set(-jnp.inf)
    intent = share * 1.6 * normal(config.intents, d)
    start, move, emit = clicking(config, taste, vector, log_popularity, intent)
    return World(
        age=age,
        gender=gender,
        taste=taste,
        shopper_bias=normal(users, scale=0.35),
        category=category,
        log_price=2.5 + 0.5 * normal(kinds + 1)[category] + normal(items, scale=0.4),
        vector=vector,
        product_bias=normal(items, scale=0.35),
        log_popularity=log_popularity,
        age_category=normal(len(AGES), kinds + 1, scale=0.8),
        hour_category=normal(len(DAYPARTS), kinds + 1, scale=0.8),
        intent=intent,
        start=start,
        move=move,
        emit=emit,
    )


def clicking(
    config: ShopConfig, taste: Array, vector: Array, log_popularity: Array, intent: Array
) -> tuple[Array, Array, Array]:
    """`start`, `move` and `emit` of a world: how sessions begin, go on, and what is clicked."""
    near = -2.0 * jnp.square(intent[:, None] - intent[None]).sum(-1) - 1e9 * jnp.eye(config.intents)
    stay = jnp.eye(config.intents)
    move = (1 - config.drift) * stay + config.drift * jax.nn.softmax(near, axis=1)
    emit = log_popularity[None] * 0.5 + 1.5 * intent @ vector.T
    start = jax.nn.log_softmax(2.0 * taste @ intent.T, axis=1)
    return start, jnp.log(move), jax.nn.log_softmax(emit, axis=1)


def opinion(world: World, user: Array, item: Array) -> Array:
    """3.0 + b_u + b_i + ⟨t_u, v_i⟩, before noise and rounding."""
    match = (world.taste[user] * world.vector[item]).sum(-1)
    return 3.0 + world.shopper_bias[user] + world.product_bias[item] + match


def mean_stars(world: World, noise: float, user: Array, item: Array) -> Array:
    """The oracle of star ratings: their mean, Σ_s P(rating > s), after noise, rounding and cutting."""
    value = opinion(world, user, item)
    cuts = jnp.arange(1.5, 5.0).reshape(-1, *(1,) * value.ndim)
    return 1.0 + norm.cdf((value[None] - cuts) / noise).sum(0)


def click_logit(world: World, user: Array, item: Array, hour: Array) -> Array:
    """The oracle of clicks: the logit of their probability."""
    match = (world.taste[user] * world.vector[item]).sum(-1)
    return 0.5 + match + _fits(world, user, item, hour) + 0.5 * world.log_popularity[item]


def session_click_logits(world: World, user: Array, item: Array, hour: Array) -> Float[Array, " B Z"]:
    """The logit of a click on a product that is shown within a session, for each intent of the session.

    ½ + 1.5 ⟨intent_z, v_i⟩ + F[age, category] + H[hour, category] + ½ ln w_i: the intent is in the place that
    the shopper's taste has in `click_logit`.
    """
    shown = 0.5 + _fits(world, user, item, hour) + 0.5 * world.log_popularity[item]
    return shown[:, None] + 1.5 * world.vector[item] @ world.intent.T


def _fits(world: World, user: Array, item: Array, hour: Array) -> Array:
    """F[age, category] + H[hour, category]."""
    category = world.category[item]
    return world.age_category[world.age[user], category] + world.hour_category[hour, category]


def session_click(
    world: World, user: Int[Array, " B"], history: Int[Array, " B L"], item: Array, hour: Array
) -> Float[Array, " B"]:
    """The oracle of clicks within a session: their probability given the shopper and the clicks so far.

    Σ_z P(z | shopper, clicks so far) σ(`session_click_logits`), by the forward algorithm.
    """
    intent = jax.nn.softmax(_belief(world, user, history), axis=1)
    return (intent * jax.nn.sigmoid(session_click_logits(world, user, item, hour))).sum(1)


def purchase_logit(world: World, user: Array, item: Array) -> Array:
    """The oracle of purchases: the logit of buying what was clicked, for any product, clicked or not."""
    match = (world.taste[user] * world.vector[item]).sum(-1)
    return 2.0 + match - world.log_price[item]


def preference(world: World, affinity: float, user: Int[Array, " B"]) -> Float[Array, " B N"]:
    """The oracle of what a shopper buys: log P(i | u) up to a constant; -inf for id 0."""
    return world.log_popularity[None] + affinity * world.taste[user] @ world.vector.T


def next_click(world: World, user: Int[Array, " B"], history: Int[Array, " B L"]) -> Float[Array, " B N"]:
    """The oracle of sessions: log P(next click | shopper, clicks so far), by the forward algorithm.

    Padding (0) at the end of a history is ignored; an empty one gives the first click.
    """
    return jax.nn.logsumexp(_belief(world, user, history)[:, :, None] + world.emit[None], axis=1)


def _belief(world: World, user: Array, history: Array) -> Array:
    """Log-probability of the intent behind the next click, `[B Z]`."""

    def click(belief: Array, item: Array) -> tuple[Array, None]:
        seen = jax.nn.log_softmax(belief + world.emit[:, item].T, axis=1)
        moved = jax.nn.logsumexp(seen[:, :, None] + world.move[None], axis=1)
        return jnp.where((item > 0)[:, None], moved, belief), None

    return jax.lax.scan(click, world.start[user], history.T)[0]


def product_names(category: np.ndarray, seed: int = 0) -> list[str]:
    """A readable name for each product: "Nordic scarf 17"; row 0 is "(unknown)"."""
    style = np.random.default_rng(seed).integers(0, len(STYLES), len(category))
    names = [f"{STYLES[s]} {NOUNS[c - 1]} {i}" for i, (s, c) in enumerate(zip(style, category, strict=True))]
    return ["(unknown)", *names[1:]]
