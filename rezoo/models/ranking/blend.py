"""Blend: several models' scores as one, each with its weight.

    score(i) = Σ_m w_m s_m(i),    s_m(i) = the score of model m, or ln(ε_m + it) where that is a count

The softmax of a weighted sum of logits is the normalised product of the models' own probabilities, each to
the power of its weight: a logarithmic opinion pool, or a product of experts (Hinton 2002,
https://doi.org/10.1162/089976602760128018). Its constants belong to the query alone, so that slates, sampled
items and a second stage need no sum over the catalogue. Of scores that count, such as those of neighbours,
the logarithm is taken.

Weights and ε are those under which held-back targets are most likely (`fit`): stacking, Wolpert 1992,
https://doi.org/10.1016/S0893-6080(05)80023-1. Where there are no targets like those that will be asked for,
each part may have the same say (`even`). A session network beside session neighbours is the pair of Jannach,
Ludewig 2017, https://doi.org/10.1145/3109859.3109872, who add up scores that are scaled by session, with a
weight that is set by hand.

Made of networks, neighbours and counts it is ahead of each of them on six public sets
(`experiments/sequences.py`, `experiments/session_next_click.py`), made of two item graphs on Gowalla
(`experiments/gowalla.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY
from functools import partial
from typing import Annotated, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from rezoo.arrays import at_least_1, best_places, same_rows
from rezoo.devices.meshes import along, in_blocks
from rezoo.nn.bag import inner_with, scores_of
from rezoo.nn.embedding import or_unknown
from rezoo.nn.model import Model
from rezoo.types import Query, Variables

Part = Annotated[Callable[[], nn.Module], "rezoo.models"]
"""Makes a model, such as `functools.partial(GRU4Rec, num_items, 32)`; a blend is saved with any of
`rezoo.models`."""
LOG_FLOOR = -3.0
"""ln ε to begin with."""


class Blend(Model):
    """Score = Σ of the parts' scores, or of their logarithms, each times its weight.

    Each part reads what it does elsewhere, of the same query and catalogue.

    >>> from functools import partial
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import GRU4Rec, Popularity
    >>> model = Blend(9, {"gru": partial(GRU4Rec, 9, 4), "often": partial(Popularity, 9)}, counts=["often"])
    >>> query, item = queries(history=[[5, 6, 5]]), jnp.array([[5, 6, 7]])
    >>> jax.jit(model.init_with_output)(jax.random.key(0), query, item)[0].shape
    (1, 3)
    """

    num_items: int
    parts: Mapping[str, Part]
    """Functions that make the models, by a name for each."""
    _: KW_ONLY
    counts: Sequence[str] = ()
    """The parts whose scores are counts, 0 or more."""

    def setup(self) -> None:
        if not self.parts:
            raise ValueError("there are no parts: give at least one model")
        if unknown := sorted(set(self.counts) - set(self.parts)):
            raise ValueError(
                f"counts has {unknown[0]!r}, which is none of the parts: {', '.join(self.parts)}"
            )
        self.models = {name: make() for name, make in self.parts.items()}
        even = 1 / len(self.parts)
        self.weight = {name: self._number(f"weight_{name}", even) for name in self.parts}
        self.log_floor = {name: self._number(f"log_floor_{name}", LOG_FLOOR) for name in self.counts}

    def _number(self, name: str, value: float) -> Float[Array, ""]:
        return jnp.asarray(self.param(name, nn.initializers.constant(value), (), jnp.float32))

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        """The logit of each item."""
        return mixed(self.each(query, item), self.weight, self.log_floor)

    def each(self, query: Query, item: Int[Array, " B *C"]) -> dict[str, Float[Array, " B *C"]]:
        """The scores of the parts themselves."""
        return {name: self._of(model, query, item) for name, model in self.models.items()}

    def _of(self, model: Any, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        if not (hasattr(model, "encode") and hasattr(model, "vectors")):
            return model(query, item)
        return inner_with(model.encode(query), model.vectors, model.table, self.num_items, item)


def mixed(
    scores: Mapping[str, Float[Array, " B *C"]],
    weight: Mapping[str, Float[Array, ""]],
    log_floor: Mapping[str, Float[Array, ""]],
) -> Float[Array, " B *C"]:
    """Σ_m w_m s_m, with ln(ε_m + s_m) for those that have an ε."""
    each = logits(scores, log_floor)
    return sum((weight[name] * logit for name, logit in each.items()), jnp.float32(0))


def logits(
    scores: Mapping[str, Float[Array, " B *C"]], log_floor: Mapping[str, Float[Array, ""]]
) -> dict[str, Float[Array, " B *C"]]:
    """The scores, or ln(ε_m + s_m) of those that have an ε."""

    def logit(name: str, score: Array) -> Array:
        return jnp.log(jnp.exp(log_floor[name]) + jnp.maximum(score, 0.0)) if name in log_floor else score

    return {name: logit(name, score) for name, score in scores.items()}


def joined(fitted: Mapping[str, Variables], **values: Any) -> dict[str, Any]:
    """The variables of a `Blend` from those of its parts, which have one `catalogue`.

    Args:
      fitted: of each part, by its name.
      **values: `weight_NAME` of each part, and `log_floor_NAME` of those that count.

    Raises:
      ValueError: if a weight is missing, or a value belongs to no part.

    >>> import numpy as np
    >>> from rezoo.models.baselines import popularity
    >>> fitted = popularity.fit(np.array([1, 2]), 3)
    >>> sorted(joined({"often": fitted}, weight_often=1.0, log_floor_often=0.0)["params"])
    ['log_floor_often', 'models_often', 'weight_often']
    """
    if missing := [name for name in fitted if f"weight_{name}" not in values]:
        raise ValueError(f"weight_{missing[0]} is missing: give a weight for each part")
    known = {f"{kind}_{name}" for name in fitted for kind in ("weight", "log_floor")}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{unknown[0]} is of none of the parts: {', '.join(fitted)}")
    of_parts: dict[str, dict[str, Any]] = {"params": {}}
    for name, variables in fitted.items():
        for collection, value in variables.items():
            shared = collection == "catalogue"
            of_parts.setdefault(collection, {}).update(value if shared else {f"models_{name}": value})
    own = {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}
    return of_parts | {"params": of_parts["params"] | own}


def fit(
    model: Blend,
    fitted: Mapping[str, Variables],
    query: Query,
    target: Int[Array, " B"],
    *,
    exclude: Int[Array, " B E"] | None = None,
    candidates: int = 100,
    num_steps: int = 40,
    block: int = 64,
) -> dict[str, Any]:
    """The variables of the blend under which held-back targets are most likely; the parts stay as they are.

    Steps of L-BFGS (Liu, Nocedal 1989, https://doi.org/10.1007/BF01589116) on the mean of
    -ln softmax(score)_target over the row's shortlist: the best items of every part. A target that is in none
    of them counts for nothing. Over the whole catalogue most would be lost on targets that no list has, and
    the weights would be those that suit them.

    Args:
      model: its parts, and which of them count.
      fitted: the variables of each part, by its name.
      query: of rows that the parts were not trained on.
      target: what each of them took; rows with 0 count for nothing.
      exclude: items that are not in question for a row, as in `evaluation.recommend`; 0 = none.
      candidates: items of each part in the shortlist.
      num_steps: of L-BFGS.
      block: rows whose scores are computed at once, `4 N` bytes a row and part.

    Raises:
      ValueError: if `fitted` has not the model's parts, if query and target have other numbers of rows, if no
        target is in a shortlist, or if a part's scores are not finite.

    >>> from functools import partial
    >>> import numpy as np
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import CoOccurrence, Popularity
    >>> from rezoo.models.baselines import cooccurrence, popularity
    >>> log = np.array([[1, 2, 1, 2, 3], [2, 3, 1, 2, 2]])
    >>> fitted = {"often": popularity.fit(log, 4), "after": cooccurrence.fit(log, 4)}
    >>> pairs = len(fitted["after"]["params"]["follower"])
    >>> parts = {"often": partial(Popularity, 4), "after": partial(CoOccurrence, 4, pairs)}
    >>> model = Blend(4, parts, counts=list(parts))
    >>> variables = fit(model, fitted, queries(history=[[1], [1], [2]]), jnp.array([2, 2, 3]))
    >>> float(variables["params"]["weight_after"]) > float(variables["params"]["weight_often"])
    True
    """
    same_rows(query=query, target=target)
    at_least_1(candidates=candidates, num_steps=num_steps, block=block)
    start = _start(model)
    lists = _listed(model, fitted, query, target, exclude, candidates, block)
    if not bool(lists.found.any()):
        raise ValueError("no target is in a shortlist: give rows that the parts were not trained on")
    return joined(fitted, **_most_likely(start, lists, num_steps))


def even(
    model: Blend,
    fitted: Mapping[str, Variables],
    query: Query,
    *,
    exclude: Int[Array, " B E"] | None = None,
    candidates: int = 100,
    block: int = 64,
) -> dict[str, Any]:
    """The variables of the blend in which each part has the same say: its weight is 1 / (M σ_m).

    σ_m² is the mean over the rows of its score's variance in the row's shortlist, as in `fit`; counts have
    ε = e^-3. It is the sum of standardised scores (CombSUM, Fox, Shaw 1994), where there are no targets like
    those that will be asked for.

    Args:
      model, fitted, query, exclude, candidates, block: as of `fit`; the rows may be of any users.

    Raises:
      ValueError: as `fit`; if a part's scores are the same for all items of the shortlists.

    >>> from functools import partial
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> model = Blend(4, {"small": partial(Popularity, 4), "large": partial(Popularity, 4)})
    >>> counts = jnp.array([0.0, 1.0, 2.0, 3.0])
    >>> fitted = {"small": {"params": {"count": counts}}, "large": {"params": {"count": 8 * counts}}}
    >>> own = even(model, fitted, queries([1, 2]))["params"]
    >>> (own["weight_small"] / own["weight_large"]).round(3).item()
    8.0
    """
    same_rows(query=query)
    at_least_1(candidates=candidates, block=block)
    nobody = jnp.zeros(query.user.shape[0], jnp.int32)
    lists = _listed(model, fitted, query, nobody, exclude, candidates, block)
    floors = {name: jnp.float32(LOG_FLOOR) for name in model.counts}
    each, listed = logits(lists.scores, floors), lists.real.any(axis=1)
    if flat := [name for name, score in each.items() if not _differ(score, lists.real).any()]:
        raise ValueError(f"scores of {', '.join(flat)} are the same for all items: such a part has no say")
    spread = {
        name: float(jnp.sqrt(score.var(axis=1, where=lists.real).mean(where=listed)))
        for name, score in each.items()
    }
    weights = {f"weight_{name}": 1 / (len(spread) * one) for name, one in spread.items()}
    return joined(fitted, **weights, **{f"log_floor_{name}": floor for name, floor in floors.items()})


def _differ(score: Float[Array, " B C"], real: Bool[Array, " B C"]) -> Bool[Array, " B"]:
    """Whether a row has scores that differ."""
    low = jnp.where(real, score, jnp.inf).min(axis=1)
    return jnp.where(real, score, -jnp.inf).max(axis=1) > low


def _start(model: Blend) -> dict[str, Array]:
    """The blend's own parameters to begin with."""
    weights = {f"weight_{name}": 1 / len(model.parts) for name in model.parts}
    return jax.tree.map(jnp.float32, weights | {f"log_floor_{name}": LOG_FLOOR for name in model.counts})


class Shortlists(NamedTuple):
    """What is in question for each row."""

    scores: dict[str, Float[Array, " B C"]]
    """Of each part."""
    real: Bool[Array, " B C"]
    """False = in the list already, or excluded."""
    found: Bool[Array, " B C"]
    """The target."""


def _listed(
    model: Blend,
    fitted: Mapping[str, Variables],
    query: Query,
    target: Array,
    exclude: Array | None,
    candidates: int,
    block: int,
) -> Shortlists:
    """The shortlists of all rows.

    Raises:
      ValueError: if `fitted` has not the model's parts, or if a part's scores are not finite.
    """
    if set(fitted) != set(model.parts):
        raise ValueError(f"the parts are {', '.join(model.parts)}, but fitted has {', '.join(fitted)}")
    exclude = jnp.zeros((len(target), 1), jnp.int32) if exclude is None else exclude
    shortlists = partial(_shortlists, model, size=min(candidates, model.num_items), block=block)
    lists = jax.jit(shortlists)(joined(fitted, **_start(model)), (query, target, exclude))
    if broken := [name for name, score in lists.scores.items() if not bool(jnp.isfinite(score).all())]:
        raise ValueError(f"scores of {', '.join(broken)} are not finite: such a part cannot be weighed")
    return lists


def _shortlists(
    model: Blend, variables: Variables, rows: tuple[Query, Array, Array], size: int, block: int
) -> Shortlists:
    """The `size` best items of every part for each row of `(query, target, exclude)`."""

    def of_block(rows: tuple[Query, Array, Array]) -> Shortlists:
        query, target, exclude = rows
        count = len(target)
        item = jnp.broadcast_to(jnp.arange(model.num_items, dtype=jnp.int32)[None], (count, model.num_items))
        each: Any = model.apply(variables, query, along(item, target), method="each")
        scores = {name: score.astype(jnp.float32) for name, score in each.items()}
        place = jnp.arange(count)[:, None], or_unknown(exclude, model.num_items)
        hidden = jnp.zeros(item.shape, bool).at[place].set(True).at[:, 0].set(True)
        best = [best_places(jnp.where(hidden, -jnp.inf, score), size)[0] for score in scores.values()]
        ids = jnp.sort(jnp.concatenate(best, axis=1), axis=1)
        again = jnp.pad(ids[:, 1:] == ids[:, :-1], ((0, 0), (1, 0)))
        real = ~again & ~jnp.take_along_axis(hidden, ids, axis=1)
        picked = {name: scores_of(score, ids) for name, score in scores.items()}
        return Shortlists(picked, real, real & (ids == target[:, None]))

    return in_blocks(of_block, rows, block)


@partial(jax.jit, static_argnames="num_steps")
def _most_likely(start: dict[str, Array], lists: Shortlists, num_steps: int) -> dict[str, Array]:
    """The weights and floors after so many steps."""
    known = lists.found.any(axis=1)
    real = lists.real | ~known[:, None]  # a row with nothing in question has a finite gradient, too

    def surprise(own: dict[str, Array]) -> Array:
        weight, floor = (
            {name.removeprefix(kind): value for name, value in own.items() if name.startswith(kind)}
            for kind in ("weight_", "log_floor_")
        )
        logit = mixed(lists.scores, weight, floor)
        lost = jax.nn.logsumexp(logit, axis=1, where=real) - (logit * lists.found).sum(axis=1)
        return jnp.where(known, lost, 0.0).sum() / known.sum()

    optimizer = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(surprise)

    def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        own, state = carry
        value, gradient = value_and_grad(own, state=state)
        updates, state = optimizer.update(gradient, state, own, value=value, grad=gradient, value_fn=surprise)
        return (optax.apply_updates(own, updates), state), None

    return jax.lax.scan(step, (start, optimizer.init(start)), length=num_steps)[0][0]
