"""The simulated shop with histories: clicks that depend on what was bought before, and when.

    visits = shop_histories.draw(ShopConfig(products=300), Needs(again=3.0, follow=3.0))
    visits.test["history"], visits.test["item"], visits.test["click"]

Each shopper buys `events` products, one after the other, by P(i | u) of `rezoo.datasets.shop`. A visit
comes after some of them; its history h_1 … h_L are the latest, h_L being the last purchase. The product i
that is shown is any one, one of the history, or one of the category that follows that of h_L, each with
probability ⅓. With c_i the category of i, c + 1 the one that follows c, and the first following the last:

    logit P(click) = ½ + ⟨t_u, v_i⟩ + F[age, c_i] + H[hour, c_i] + ½ ln w_i + again · r + follow · s
    r = 0 if i is not in h; -1 if i lasts or is among h_{L-rest+1} … h_L; else 1
    s = 1 if c_i = c + 1 for a category c of h_{L-reach+1} … h_L, else 0

`again` is a recurring need: what is used up is wanted again, once some other purchases have passed, and
what lasts, the products of half of the categories (`LASTING`), is not: nobody who has a kettle wants it
again. Which of the events counts depends on the product shown; where `rest` is 0, their order does not.
`follow` is an effect of the sequence: a purchase asks for what goes with it, but not for long. With both 0,
a history says no more than the shopper's taste does. The oracle is the logit itself, a column of the rows.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.datasets import shop
from rezoo.datasets.shop import ShopConfig, World
from rezoo.datasets.shop_rows import TEST_SHARE, Columns
from rezoo.errors import DataError

LASTING = ("scarf", "lamp", "kettle", "backpack", "headphones", "knife")
"""Categories whose products last."""
_LASTS = np.isin(("", *shop.NOUNS), LASTING)


@dataclass(frozen=True)
class Needs:
    """How clicks depend on histories."""

    again: float = 3.0
    """Logit of a recurring need."""
    rest: int = 5
    """Purchases for which a need rests after it was met."""
    follow: float = 3.0
    """Logit of what goes with the latest purchases."""
    reach: int = 2
    """Purchases that ask for what goes with them."""
    events: int = 60
    """Purchases of each shopper."""
    length: int = 20
    """L, purchases in a history."""


class Visits(NamedTuple):
    """Visits of a shop with histories."""

    world: World
    train: Columns
    """`user`, `item`, `hour`, `click`, `logit` (the truth): `[R]`, and `history` `[R L]`, oldest first."""
    test: Columns
    """The last fifth of the visits drawn."""


def draw(config: ShopConfig, needs: Needs, seed: int = 0) -> Visits:
    """The visits of a shop: `config.impressions` of them; the same seed gives the same ones.

    Raises:
      DataError: if a number of `needs` cannot be.
    """
    if not 1 <= needs.length <= needs.events:
        raise DataError(
            f"length={needs.length} with events={needs.events}: give a length from 1 to the number of events"
        )
    for name in ("rest", "reach"):
        if not 0 <= (value := getattr(needs, name)) <= needs.length:
            raise DataError(f"{name}={value}: give 0 to {needs.length}, the length of a history")
    world = shop.world(jax.random.key(seed), config)
    drawn = _visits(jax.random.fold_in(jax.random.key(seed), 9), world, config, needs)
    rows = {name: np.asarray(column) for name, column in drawn.items()}
    cut = round(config.impressions * (1 - TEST_SHARE))
    return Visits(
        world, *({name: column[part] for name, column in rows.items()} for part in (np.s_[:cut], np.s_[cut:]))
    )


def effect(
    world: World, needs: Needs, history: Int[Array, " B L"], item: Int[Array, " B"]
) -> Float[Array, " B"]:
    """Again · r + follow · s, what the history adds to the logit of a click."""
    back = jnp.arange(history.shape[1], 0, -1, dtype=jnp.int32)[None]  # 1 for the last purchase
    same = history == item[:, None]
    met = (same & (back <= needs.rest)).any(1) | jnp.asarray(_LASTS)[world.category[item]]
    need = jnp.where(same.any(1), jnp.where(met, -1.0, 1.0), 0.0)
    follows = following(world.category[history]) == world.category[item][:, None]
    return needs.again * need + needs.follow * (follows & (back <= needs.reach)).any(1)


def following(category: Int[Array, " *S"]) -> Int[Array, " *S"]:
    """The category of what goes with products of a category.

    >>> following(jnp.array([1, 2, 12])).tolist()
    [2, 3, 1]
    """
    return category % len(shop.NOUNS) + 1


@partial(jax.jit, static_argnames=("config", "needs"))
def _visits(key: jax.Array, world: World, config: ShopConfig, needs: Needs) -> dict[str, Array]:
    keys = jax.random.split(key, 8)
    rows, users = config.impressions, jnp.arange(config.shoppers + 1, dtype=jnp.int32)
    cumulative = jnp.cumsum(jax.nn.softmax(shop.preference(world, config.affinity, users), axis=1), axis=1)
    place = jax.random.uniform(keys[0], (len(users), needs.events)) * cumulative[:, -1:]
    bought = jax.vmap(partial(jnp.searchsorted, side="right"))(cumulative, place)
    bought = jnp.clip(bought, 1, config.products).astype(jnp.int32)
    user = jax.random.randint(keys[1], (rows,), 1, config.shoppers + 1)
    start = jax.random.randint(keys[2], (rows, 1), 0, needs.events - needs.length + 1)
    history = bought[user[:, None], start + jnp.arange(needs.length, dtype=jnp.int32)[None]]
    anything = jax.random.randint(keys[3], (rows,), 1, config.products + 1)
    which = jax.random.randint(keys[4], (rows, 1), 0, needs.length)
    before = jnp.take_along_axis(history, which, axis=1)[:, 0]
    goes = following(world.category[history[:, -1]])
    fits = (world.category[None] == goes[:, None]) & (jnp.arange(config.products + 1) > 0)[None]
    with_it = jax.random.categorical(keys[5], jnp.where(fits, 0.0, -1e9)).astype(jnp.int32)
    kind = jax.random.randint(keys[6], (rows,), 0, 3)
    item = jnp.where(kind == 0, anything, jnp.where(kind == 1, before, with_it))
    hour_key, click_key = jax.random.split(keys[7])
    hour = jax.random.randint(hour_key, (rows,), 1, len(shop.DAYPARTS))
    logit = shop.click_logit(world, user, item, hour) + effect(world, needs, history, item)
    click = (jax.random.uniform(click_key, (rows,)) < jax.nn.sigmoid(logit)).astype(jnp.int32)
    return {"user": user, "item": item, "hour": hour, "click": click, "logit": logit, "history": history}
