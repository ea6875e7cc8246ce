"""How a saved model learns fresh events: counted, solved for, or trained from where it was.

`learner(saved)` gives the function for its kind of model: `(saved, events, key, settings) -> saved`, where
the id maps have the new ids already. Counts are added to, so that they are those of everything; the vectors
of iALS are solved for in closed form; MF and session models are trained by Adam from the saved variables,
on the fresh events and a sample of those before.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from rezoo import losses, objectives, sampling, training
from rezoo.arrays import above_0, at_least_0, at_least_1, below_1, distinct_pairs
from rezoo.data import batches
from rezoo.data.packing import at_events
from rezoo.errors import DataError
from rezoo.evaluation.scoring import ByIdentity
from rezoo.models import IALS, MF, CoOccurrence, Popularity, SessionPopularity, TopFreq
from rezoo.models.baselines import cooccurrence, popularity, top_freq
from rezoo.models.factorization import ials
from rezoo.nn.inner import with_columns
from rezoo.objectives import forward, mean
from rezoo.serving.bundle import Saved
from rezoo.serving.refresh.events import Events, rows
from rezoo.serving.refresh.grow import ROWS, as_before, capacity, constants_of, sized, with_rows
from rezoo.training import loop, row_sparse
from rezoo.types import Aux, Batch, Objective, TrainState, Variables

__all__ = ["Learner", "Settings", "learner"]

LARGE = 20_000
"""Rows of tables above which only those of a batch are trained, and a softmax is over a sample."""
SAMPLE = 2048
"""Items of a sampled softmax."""
SPARE = -1e9
"""Score of a row that belongs to no item yet."""


class Settings(NamedTuple):
    """How a model is refreshed."""

    held: float = 0.1
    """Share of the fresh events, the newest, on which the refreshed model is measured beside the old one."""
    k: int = 20
    """Places of the lists that are measured: recall@k."""
    worst: float = 2.0
    """Standard errors by which the refreshed model may be behind the old one."""
    at_least: int = 100
    """Held-out events that are needed to measure anything."""
    least: int = 3
    """Events that a new user or item must have to get a row."""
    past: float = 1.0
    """Sequences (of MF: events) of the past that are learnt beside each fresh one, drawn at random."""
    num_epochs: int = 2
    rate: float = 1e-3
    """Of Adam, which begins without momentum."""
    batch_size: int = 64
    """Sequences of a batch; of MF, which learns single events, 64 times as many."""
    length: int = 50
    """Events of a sequence that a session model learns, the newest."""
    l2: float = 2e-3
    """Of MF."""
    weights: ials.Weights = ials.Weights()
    """Of iALS, as in its training."""


def check_settings(settings: Settings) -> None:
    """Check that every number is one that can be meant.

    Raises:
      ValueError: that names the first which is none.

    >>> check_settings(Settings(k=0))
    Traceback (most recent call last):
    ValueError: k = 0: give 1 or more, a whole number
    """
    counts = "k", "at_least", "least", "num_epochs", "batch_size", "length"
    at_least_1(**{name: getattr(settings, name) for name in counts})
    above_0(held=settings.held)
    below_1(held=settings.held)
    at_least_0(past=settings.past, rate=settings.rate, l2=settings.l2)
    if not settings.worst >= 0:  # infinite where any model is taken
        raise ValueError(f"worst = {settings.worst}: give standard errors, 0 or more")


Learner = Callable[[Saved, Events, jax.Array, Settings], Saved]


def learner(saved: Saved) -> Learner:
    """The function that refreshes this kind of model.

    Raises:
      DataError: if there is none.

    >>> from rezoo.data.ids import Ids
    >>> learner(Saved(Popularity(3), {}, Ids(np.array([1])), Ids(np.array([7, 8])))).__name__
    'counted'
    """
    model = saved.model
    found = OF_CLASS.get(type(model)) or (trained if hasattr(model, "prefixes") else None)
    columns = saved.context_features.fitted
    if found is None or columns:
        reason = f"reads {', '.join(columns)} of each question" if found else "is of none of these kinds"
        kinds = ", ".join(one.__name__ for one in OF_CLASS)
        raise DataError(
            f"{type(model).__name__} cannot be refreshed: it {reason}. {kinds} and session models that are "
            "trained can be; train this one again, by its recipe"
        )
    return found


def counted(saved: Saved, events: Events, key: jax.Array, at: Settings) -> Saved:
    """Popularity: fresh events are added to the counts."""
    size = saved.items.size
    old = np.asarray(saved.variables["params"]["count"])
    new = popularity.fit(events.item[events.fresh], size)["params"]["count"]
    count = new + jnp.asarray(np.pad(old, (0, size - len(old))))
    return saved._replace(model=saved.model.clone(num_items=size), variables={"params": {"count": count}})


def taken(saved: Saved, events: Events, key: jax.Array, at: Settings) -> Saved:
    """TopFreq: fresh events are added to the counts of users and items.

    Raises:
      DataError: if the counts decay with time, as their half-life is not known.
    """
    params = jax.tree.map(np.asarray, saved.variables["params"])
    count = np.round(params["count"]).astype(np.int64)
    if not np.array_equal(count, params["count"]):
        raise DataError("the counts of this TopFreq decay with time: count again with recipes.buy_again")
    user = np.repeat(np.arange(len(params["offset"]) - 1), np.diff(params["offset"]))
    user, item = (
        np.concatenate([np.repeat(old, count), new[events.fresh]])
        for old, new in ((user, events.user), (params["item"], events.item))
    )
    sizes = saved.users.size, saved.items.size
    variables = top_freq.fit(user, item, *sizes)
    model = TopFreq(*sizes, len(variables["params"]["item"]))
    return saved._replace(model=model, variables=variables)


def followed(saved: Saved, events: Events, key: jax.Array, at: Settings) -> Saved:
    """CoOccurrence: counted again in the histories, which have the fresh events.

    Raises:
      DataError: if it was saved without histories.
    """
    if saved.history is None:
        raise DataError("this CoOccurrence was saved without histories to count in: save them (history=…)")
    model, size = saved.model, saved.items.size
    assert isinstance(model, CoOccurrence)
    variables = cooccurrence.fit(saved.history[1:], size, window=model.memory)
    model = CoOccurrence(size, len(variables["params"]["follower"]), memory=model.memory)
    return saved._replace(model=model, variables=variables)


def solved(saved: Saved, events: Events, key: jax.Array, at: Settings) -> Saved:
    """iALS: users and items of fresh events are solved for in closed form, users, items, and users again.

    Raises:
      DataError: if there are no events of the past, of which most of these vectors are made.
    """
    if events.fresh.all():
        raise DataError("the vectors of iALS are of all events of their users and items: give the past, too")
    saved = with_rows(saved, events)
    params = saved.variables["params"]
    p, q = params["user"]["embedding"], params["item"]["embedding"]
    known = (events.user > 0) & (events.item > 0)
    user, item = distinct_pairs(events.user[known], events.item[known])
    users, items = np.unique(events.user[events.fresh & known]), np.unique(events.item[events.fresh & known])
    p = ials.solved(q, p, user, item, users, weights=at.weights)
    q = ials.solved(p, q, item, user, items, weights=at.weights)
    p = ials.solved(q, p, user, item, users, weights=at.weights)
    variables = {"params": {"user": {"embedding": p}, "item": {"embedding": q}}}
    return saved._replace(variables=variables)


def ranked(saved: Saved, events: Events, key: jax.Array, at: Settings) -> Saved:
    """MF: BPR from where it was, on fresh events and as many of the past as the settings say."""
    saved = with_rows(saved, events)
    sizes = saved.users.size, saved.items.size
    known = (events.user > 0) & (events.item > 0)
    fresh, old = np.flatnonzero(known & events.fresh), np.flatnonzero(known & ~events.fresh)
    at_once = np.concatenate([fresh, _drawn(key, old, at.past * len(fresh))])
    if not len(at_once):
        return saved
    positives = sampling.positives_by_user(events.user[known], events.item[known], sizes[0])
    negatives = sampling.reject_positives(sampling.uniform(sizes[1]), positives, sizes[1])
    objective = objectives.l2(objectives.sampled(saved.model, losses.bpr, negatives, 2), at.l2)
    data = batches.pairs(events.user[at_once], events.item[at_once])
    size = min(64 * at.batch_size, max(len(at_once) // 20, 16))
    dense, lazy = optax.adam(at.rate), row_sparse.lazy_adam(at.rate)
    if sum(sizes) > LARGE:
        start = row_sparse.init_state(key, saved.model, dense, lazy, data)
        step = row_sparse.make_step(objective, dense, lazy)
    else:
        start = training.init_state(key, saved.model, dense, data)
        step = training.make_step(objective, dense)
    epoch = jax.jit(functools.partial(training.epoch, step, batch_size=size))
    state = start._replace(params=jax.tree.map(jnp.asarray, saved.variables["params"]))
    run = loop.run(lambda state: epoch(state, data), state, at.num_epochs)
    return saved._replace(variables=run.state.variables)


def trained(saved: Saved, events: Events, key: jax.Array, at: Settings) -> Saved:
    """A session model: the next item, from where it was, on fresh events and on sequences of the past.

    Tables and data are filled up to a `capacity`, so that the program of one refresh serves the next.
    """
    saved = with_rows(saved, events)
    data = next_items(saved, events, key, at)
    if data is None:
        return saved
    spacious, size = sized(saved, capacity), saved.items.size
    model, batch_size = as_before(spacious.model), min(at.batch_size, len(data.item))
    if size > LARGE:
        bought = jnp.asarray(np.bincount(events.item, minlength=capacity(size)), jnp.float32)
        loss = losses.softmax_cross_entropy
        epoch = _epoch(objectives.next_item_sampled(model, loss, bought, SAMPLE), at.rate, batch_size)
    else:
        epoch = _program(ByIdentity(model), at.rate, batch_size)
    params, constants = spacious.variables["params"], constants_of(spacious.variables)
    constants |= {"spare": {"first": jnp.int32(size)}}
    opt_state = optax.adam(at.rate).init(params)
    state = TrainState(params, constants, opt_state, key, jnp.int32(0), jnp.bool_(False))
    state = loop.run(lambda state: epoch(state, data), state, at.num_epochs).state
    variables = {name: one for name, one in state.variables.items() if name != "spare"}
    model: Any = saved.model
    lengths = {name: getattr(model, name, 0) for name in ROWS}
    return sized(spacious._replace(variables=variables), lengths)


OF_CLASS: dict[type[nn.Module], Learner] = {
    Popularity: counted,
    SessionPopularity: counted,
    TopFreq: taken,
    CoOccurrence: followed,
    IALS: solved,
    MF: ranked,
}


def next_items(saved: Saved, events: Events, key: jax.Array, at: Settings) -> Batch | None:
    """Fresh events and those before them, and a sample of earlier sequences; None if nothing follows
    anything.

    In sequences with fresh events only these are targets.
    """
    counts = np.bincount(events.sequence[events.item > 0], minlength=1)
    width = int(min(at.length + 1, counts.max()))
    fresh = np.unique(events.sequence[events.fresh])
    now = rows(events, np.isin(events.sequence, fresh), width)
    target = np.append(False, events.fresh)[now[:, 1:]]
    now, target = now[target.any(axis=1)], target[target.any(axis=1)]
    earlier = np.unique(events.sequence[~events.fresh])
    drawn = _drawn(key, earlier, at.past * len(now))
    past = rows(events, np.isin(events.sequence, drawn) & ~events.fresh, width)
    past = past[past[:, 1:].any(axis=1)]
    place = np.concatenate([now, past])
    if not len(place):
        return None
    where = np.concatenate([target, past[:, 1:] > 0])
    place, where = (np.pad(x, [(0, capacity(len(x)) - len(x)), (0, 0)]) for x in (place, where))
    users = at_events(events.user, place[:, 0])
    known = np.where(place[:, 1:] > 0, place[:, :-1], 0)
    features = {name: np.asarray(column)[users] for name, column in saved.user_columns.items()}
    features |= {name: at_events(column, known) for name, column in events.columns.items()}
    query = batches.queries(users, at_events(events.item, known), features)
    where, target = jnp.asarray(where), at_events(events.item, place[:, 1:])
    return Batch(query, jnp.asarray(target, jnp.int32), where.astype(jnp.float32), where)


@functools.cache
def _program(one: ByIdentity, rate: float, batch_size: int) -> Any:
    return _epoch(next_item(one.model), rate, batch_size)


def _epoch(objective: Objective, rate: float, batch_size: int) -> Any:
    """`(state, data) -> (state, metrics)`."""
    step = training.make_step(objective, optax.adam(rate))
    return jax.jit(functools.partial(training.epoch, step, batch_size=batch_size))


def next_item(model: nn.Module) -> Objective:
    """`objectives.next_item_softmax` over the items that there are: rows from `spare/first` on belong to
    none.

    The number is in the collection `spare`, so that it may change without another program.
    """

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[jax.Array, Aux]:
        def states(module: Any, query: Any) -> tuple[jax.Array, jax.Array]:
            table = module.table()
            spare = jnp.arange(len(table)) >= variables["spare"]["first"]
            table = with_columns(table, jnp.where(spare, SPARE, 0.0)[:, None])
            return with_columns(module.prefixes(query), 1.0), table

        (state, table), sown = forward(model, variables, key, batch.query, method=states)
        state = jnp.where(batch.where[..., None], state, 0.0)
        value = mean(losses.catalogue_softmax(state, table, batch.item), batch.where)
        return value, Aux({"loss": value}, sown)

    return objective


def _drawn(key: jax.Array, of: np.ndarray, count: float) -> np.ndarray:
    """So many of them at random, all if there are not as many, in their order."""
    seed = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    return np.sort(seed.choice(of, min(round(count), len(of)), replace=False))
