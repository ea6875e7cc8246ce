"""Why a model scores as it does: what it loses without a column, and which events it looks at.

Pictures are matplotlib figures (`pip install 'rezoo[notebooks]'`), to be kept by
`figure.savefig("attention.png")`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo import evaluation
from rezoo.errors import needed
from rezoo.nn import events
from rezoo.types import Batch, Query, Variables


def permutation_importance(
    model: nn.Module,
    variables: Variables,
    batch: Batch,
    metric: Callable[[Array, Array], Array],
    key: jax.Array,
    *,
    repeats: int = 5,
) -> dict[str, np.ndarray]:
    """The loss of the metric when a column's values are permuted among the rows, `[repeats]` by column.

    Breiman 2001, https://doi.org/10.1023/A:1010933404324, section 10. Columns with the same
    information can replace each other, so that each alone seems to matter little.

    Args:
      model: any `Scorer`.
      variables: its variables; item columns in `catalogue` are permuted among the items.
      batch: rows that were not trained on.
      metric: `(score, label) -> scalar`, higher is better, such as `metrics.auc`.
      key: of the permutations.
      repeats: permutations of each column.

    Returns:
      By `user`, `item`, `history`, and the names of all other columns; those without values left out.

    >>> import jax.numpy as jnp
    >>> from rezoo import metrics
    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import Popularity
    >>> batch = pairs([1, 2], [1, 2], [1.0, 0.0])
    >>> model, variables = Popularity(3), {"params": {"count": jnp.array([0.0, 2, 1])}}
    >>> lost = permutation_importance(model, variables, batch, metrics.auc, jax.random.key(0), repeats=2)
    >>> lost["user"].tolist()  # popularity does not ask who
    [0.0, 0.0]
    """

    def value(variables: Variables, batch: Batch) -> Array:
        return metric(evaluation.predict(model, variables, batch), batch.label)

    measure = jax.jit(value)
    before = float(measure(variables, batch))
    found = {}
    for number, (name, permuted) in enumerate(_permutations(variables, batch).items()):
        keys = jax.random.split(jax.random.fold_in(key, number), repeats)
        found[name] = np.array([before - float(measure(*permuted(one))) for one in keys])
    return found


def leave_one_out(
    model: nn.Module, variables: Variables, query: Query, item: Int[Array, " B C"]
) -> Float[Array, " B C L"]:
    """What the score of each item loses if one event of the history had not been, for each event.

    0 for padding. The simplest of the explanations by removal, Covert, Lundberg, Lee 2021,
    https://arxiv.org/abs/2011.14878: of two events that say the same each alone loses little.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import SessionPopularity
    >>> model, variables = SessionPopularity(4), {"params": {"count": jnp.zeros(4)}}
    >>> leave_one_out(model, variables, queries([0], [[3, 2, 0]]), jnp.array([[2, 1]])).tolist()
    [[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]
    """
    length = query.history.shape[1]
    column = jnp.arange(length - 1)[None]
    kept = column + (column >= jnp.arange(length)[:, None])
    of_events = *events.names(model), "history_rating"

    def without(row: Array) -> Array:
        """A row as it is, and without each of its columns."""
        shorter = row[kept]
        return jnp.concatenate(
            [row[None], jnp.pad(shorter, [(0, 0), (0, 1)] + [(0, 0)] * (shorter.ndim - 2))]
        )

    def one(row: tuple[Query, Array]) -> Array:
        (user, history, features), item = row
        many = {name: jnp.repeat(column[None], length + 1, axis=0) for name, column in features.items()}
        many |= {name: without(features[name]) for name in of_events if name in features}
        asked = Query(jnp.repeat(user, length + 1), without(history), many)
        slate = jnp.repeat(item[None], length + 1, axis=0)
        score = evaluation.apply(model, variables, asked, slate)
        return (score[:1] - score[1:]).T

    return jax.lax.map(one, (query, item))


def draw_importance(importance: Mapping[str, np.ndarray], *, metric: str = "metric") -> Any:
    """A bar for each column, the most important first, with the standard error over repeats.

    >>> figure = draw_importance({"user": np.array([0.2, 0.1]), "hour": np.array([0.0, 0.1])}, metric="AUC")
    >>> [bar.get_text() for bar in figure.axes[0].get_yticklabels()]  # from below
    ['hour', 'user']
    """
    names = sorted(importance, key=lambda name: float(np.mean(importance[name])))
    values = [np.asarray(importance[name]) for name in names]
    error = [v.std(ddof=1) / len(v) ** 0.5 if len(v) > 1 else 0.0 for v in values]
    figure = needed("matplotlib.figure").Figure(figsize=(7, 1 + 0.3 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(names, [float(v.mean()) for v in values], xerr=error, color="0.6")
    axes.set_xlabel(f"{metric} lost without the column ± s.e.")
    return figure


def draw_attention(
    weight: np.ndarray,
    events: Sequence[str],
    items: Sequence[str],
    *,
    xlabel: str = "history, oldest first",
    ylabel: str = "to be ranked",
) -> Any:
    """The weights `[C L]` of a history's events, for each of C items: darker is more.

    Args:
      weight: such as `model.apply(variables, query, item, method="attention")[row]` of DIN.
      events: the history's names, oldest first; padding may be left out.
      items: the candidates' names.
      xlabel: what `events` are.
      ylabel: what `items` are.

    Raises:
      ValueError: if there are more names than weights, or not one for each item.

    >>> figure = draw_attention(np.array([[0.9, 0.1]]), events=["kettle", "hat"], items=["tea"])
    >>> figure.axes[0].get_xlabel()
    'history, oldest first'
    """
    weight = np.atleast_2d(np.asarray(weight))
    if len(items) != len(weight) or not 0 < len(events) <= weight.shape[1]:
        raise ValueError(f"{len(items)} items and {len(events)} events, but weights of shape {weight.shape}")
    figure = needed("matplotlib.figure").Figure(
        figsize=(2 + 0.5 * len(events), 1.5 + 0.4 * len(items)), layout="constrained"
    )
    axes = figure.add_subplot()
    image = axes.imshow(weight[:, : len(events)], cmap="Greys", aspect="auto")
    axes.set_xticks(range(len(events)), events, rotation=60, ha="right")
    axes.set_yticks(range(len(items)), items)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    figure.colorbar(image, label="weight")
    return figure


def _permutations(
    variables: Variables, batch: Batch
) -> dict[str, Callable[[jax.Array], tuple[Variables, Batch]]]:
    """For each column, a function of a key that permutes it."""
    query = batch.query

    def in_batch(change: Callable[[jax.Array], Batch]) -> Callable[[jax.Array], tuple[Variables, Batch]]:
        return lambda key: (variables, change(key))

    def feature(name: str) -> Callable[[jax.Array], Batch]:
        def change(key: jax.Array) -> Batch:
            column = jax.random.permutation(key, query.features[name])
            return batch._replace(query=query._replace(features={**query.features, name: column}))

        return change

    def of_items(name: str) -> Callable[[jax.Array], tuple[Variables, Batch]]:
        def change(key: jax.Array) -> tuple[Variables, Batch]:
            column = variables["catalogue"][name]
            column = column.at[1:].set(jax.random.permutation(key, column[1:]))
            return {**variables, "catalogue": {**variables["catalogue"], name: column}}, batch

        return change

    permute = jax.random.permutation
    found = {"item": in_batch(lambda key: batch._replace(item=permute(key, batch.item)))}
    found["user"] = in_batch(lambda key: batch._replace(query=query._replace(user=permute(key, query.user))))
    if query.history.shape[1]:
        found["history"] = in_batch(
            lambda key: batch._replace(query=query._replace(history=permute(key, query.history)))
        )
    found |= {name: in_batch(feature(name)) for name in query.features}
    return found | {name: of_items(name) for name in variables.get("catalogue", {})}
