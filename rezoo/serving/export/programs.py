"""What is exported of a saved model: pure functions of arrays, and the shapes of what they take.

Every program but `table` takes first what the model is asked with, `{"variables": {path: array}, "table":
array or None}`; a question is `{"user": [rows], "history": [rows events], "features": {name: [rows …]}}`,
and sessions are `{path: [slots …]}`. Columns of events that the model reads (`nn.events`) are features
`[rows events …]`, as fitted, 0 where they are unknown; `observe` then takes those of each event last,
`{name: [rows …]}`. The numbers of rows, events, slots and excluded items are open, but not 0.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp

from rezoo import evaluation
from rezoo.nn.events import names
from rezoo.serving import live, npz, reads
from rezoo.serving.bundle import Saved
from rezoo.serving.session_buffer import Sessions
from rezoo.types import Query

Tree = dict[str, Any]
"""Arrays, or their shapes, by name."""
PLATFORMS = ("cpu", "cuda", "tpu")


class Program(NamedTuple):
    """A function of trees of arrays."""

    function: Callable[..., Any]
    takes: tuple[Any, ...]
    """The shapes of its arguments."""


class Parts(NamedTuple):
    """A saved model as an export sees it."""

    saved: Saved
    variables: Tree
    """By path."""
    features: Tree
    """Shapes of one row of what the model reads of a question, `history_rating` and `events` left out."""
    events: Tree
    """Shapes of one event of the columns of events that it reads."""
    reads_history: bool
    rates_history: bool

    @property
    def has_sessions(self) -> bool:
        """Whether live sessions are of use: those of a model that reads a history of known features."""
        context = self.saved.context_features.fitted
        return self.reads_history and not self.rates_history and not context


def parts(saved: Saved) -> Parts:
    """Look at a model once."""
    saved = saved._replace(variables=jax.tree.map(jnp.asarray, saved.variables))
    columns, of_events = reads.question(saved).features, names(saved.model)
    return Parts(
        saved,
        npz.flat(saved.variables, "variables"),
        {name: shape(x.shape[1:], x.dtype) for name, x in columns.items() if name not in of_events},
        {name: shape(columns[name].shape[2:], columns[name].dtype) for name in of_events},
        reads.reads_history(saved),
        reads.rates_history(saved),
    )


def shape(axes: tuple[Any, ...], kind: Any) -> jax.ShapeDtypeStruct:
    """Of an array."""
    return jax.ShapeDtypeStruct(axes, kind)


def programs(model: Parts, k: int, length: int) -> dict[str, Program]:
    """What is exported, by name.

    Args:
      model: by `parts`.
      k: length of the lists.
      length: newest events of a session that are kept.
    """
    rows, events, excluded, slots = jax.export.symbolic_shape("rows, events, excluded, slots")
    served, query = arguments(model, rows, events)
    of_rows, of_pairs = query["user"], shape((rows, excluded), jnp.int32)
    made = {
        "recommend": Program(lambda *given: _recommend(model, k, *given), (served, query, of_pairs)),
        "predict": Program(lambda *given: predicted(model, *given), (served, query, of_rows)),
    }
    if served["table"] is not None:
        made["table"] = Program(lambda given: table(model, given), (served["variables"],))
        made["encode"] = Program(lambda *given: _encode(model, *given), (served, query))
    if model.has_sessions:
        packed = Packed(model, length)
        sessions, told = of_each(packed.shapes, slots), of_each(model.events, rows)
        made |= {
            "begin": Program(packed.begin, (served, sessions, of_rows, query)),
            "observe": Program(
                packed.observe, (served, sessions, of_rows, of_rows, *([told] if told else []))
            ),
            "next_items": Program(
                lambda *given: packed.next_items(k, *given), (served, sessions, of_rows, of_pairs)
            ),
        }
    return made


def arguments(model: Parts, rows: Any, events: Any) -> tuple[Tree, Tree]:
    """The shapes of what the model is asked with, and of a question of so many rows and events."""
    variables = jax.tree.map(lambda x: shape(x.shape, x.dtype), model.variables)
    retriever = evaluation.is_retriever(model.saved.model)
    vectors = jax.eval_shape(partial(table, model), variables) if retriever else None
    features = of_each(model.features, rows) | of_each(model.events, rows, events)
    if model.rates_history:
        features["history_rating"] = shape((rows, events), jnp.float32)
    history = shape((rows, events), jnp.int32)
    query = {"user": shape((rows,), jnp.int32), "history": history, "features": features}
    return {"variables": variables, "table": vectors}, query


def of_each(shapes: Tree, *axes: Any) -> Tree:
    """The shapes of arrays that have these axes before the others."""
    return {name: shape((*axes, *x.shape), x.dtype) for name, x in shapes.items()}


def table(model: Parts, variables: Tree) -> Any:
    """A retriever's item vectors `[D N]`."""
    nested = npz.nested(variables, "variables", quoted=True)
    return live.serve(model.saved.model, nested).table


def scores(model: Parts, served: Tree, query: Tree) -> jax.Array:
    """The score of every item, `[rows N]`."""
    if served["table"] is not None:
        return _encode(model, served, query) @ served["table"]
    saved, variables = model.saved, _served(served).variables
    return evaluation.score_all(saved.model, variables, Query(**query), num_items=saved.items.size)


def predicted(model: Parts, served: Tree, query: Tree, item: jax.Array) -> jax.Array:
    """The prediction for each row's item, on the original scale: `[rows]`."""
    saved = model.saved
    score = evaluation.apply(saved.model, _served(served).variables, Query(**query), item)
    stars = saved.link(score) * saved.scale.factor + saved.scale.shift
    return stars if saved.clip is None else jnp.clip(stars, *saved.clip)


def _served(served: Tree) -> live.Served:
    return live.Served(npz.nested(served["variables"], "variables", quoted=True), served["table"])


def _encode(model: Parts, served: Tree, query: Tree) -> jax.Array:
    return evaluation.apply(model.saved.model, _served(served).variables, Query(**query), method="encode")


def _recommend(
    model: Parts, k: int, served: Tree, query: Tree, exclude: jax.Array
) -> tuple[jax.Array, jax.Array]:
    if served["table"] is not None:
        return live.best(scores(model, served, query), k, exclude)
    return evaluation.recommend(
        model.saved.model,
        _served(served).variables,
        Query(**query),
        k,
        exclude=exclude,
        num_items=model.saved.items.size,
    )


def _start(saved: Saved, length: int, variables: Tree) -> Sessions:
    served = live.serve(saved.model, variables)
    return live.start(saved.model, served, 1, length=length, like=reads.question(saved))


class Packed:
    """The functions of `rezoo.serving.live`, of sessions that are arrays by name."""

    def __init__(self, model: Parts, length: int):
        self.model, saved = model, model.saved
        like = jax.eval_shape(partial(_start, saved, length), saved.variables)
        named, self.tree = jax.tree.flatten_with_path(like)
        self.names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in named]
        self.shapes = {
            name: shape(x.shape[1:], x.dtype) for name, (_, x) in zip(self.names, named, strict=True)
        }

    def begin(self, served: Tree, sessions: Tree, slot: jax.Array, query: Tree) -> Tree:
        return self._pack(live.begin(*self._of(served, sessions), slot, Query(**query)))

    def observe(
        self, served: Tree, sessions: Tree, slot: jax.Array, item: jax.Array, columns: Tree | None = None
    ) -> Tree:
        return self._pack(live.observe(*self._of(served, sessions), slot, item, columns))

    def next_items(
        self, k: int, served: Tree, sessions: Tree, slot: jax.Array, exclude: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        return live.recommend(*self._of(served, sessions), slot, k, exclude)

    def _of(self, served: Tree, sessions: Tree) -> tuple[Any, live.Served, Sessions]:
        unpacked = self.tree.unflatten([sessions[name] for name in self.names])
        return self.model.saved.model, _served(served), unpacked

    def _pack(self, sessions: Sessions) -> Tree:
        return dict(zip(self.names, jax.tree.leaves(sessions), strict=True))


def exported(all_of_them: dict[str, Program]) -> Iterator[tuple[str, bytes]]:
    """Each program's name and its bytes, for every platform, without the paths of the code that made it."""
    tracebacks = jax.config.values["jax_traceback_in_locations_limit"]
    jax.config.update("jax_traceback_in_locations_limit", 0)
    try:
        for name, one in all_of_them.items():
            made = jax.export.export(jax.jit(_named(name, one.function)), platforms=PLATFORMS)(*one.takes)
            yield name, bytes(made.serialize())
    finally:
        jax.config.update("jax_traceback_in_locations_limit", tracebacks)


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def named(*given: Any) -> Any:
        return function(*given)

    named.__name__ = name
    return named
