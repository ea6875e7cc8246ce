"""The nouns that everything else is written in.

Shape letters, said once for the whole library: B batch, C candidates, T targets, L history,
N items, D width. `*C` is nothing for (user, item) pairs, C for a slate of candidates, L for
"the next item at each step of the history".

Ids are dense int32. Id 0 is padding and "unknown" everywhere, real ids start at 1, so a table
for n known users has n + 1 rows; `num_users` and `num_items` count the rows, id 0 included.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Protocol

import jax
import jax.export
from jaxtyping import Array, Bool, Float, Int, Key

Scalars = dict[str, jax.Array]
"""Named scalars that a step or an evaluation reports, for example `{"loss": …}`."""

Variables = Mapping[str, Any]
"""Linen variables by collection: `{"params": …}` and what is not trained, such as `"catalogue"`."""


Parts = Annotated[int, range(257)]
"""How many layers or other parts a loop of Python makes of a model; a saved model of more is refused."""

SomeParts = Annotated[int, range(1, 257)]
"""Likewise, of which there is one at least."""

Count = Annotated[int, range(2**31)]
"""A number of things of which there may be none; a model's other whole numbers are 1 or more."""


Sizes = Annotated[Sequence[int], "one or more"]
"""Widths of layers, or sizes of other parts, of which there is one at least."""

Names = Annotated[Sequence[str], "one or more"]
"""Different names, one at least."""


class Query(NamedTuple):
    """Who asks; a model reads the fields that it needs."""

    user: Int[Array, " B"]
    """Dense user ids, 0 = unknown user."""
    history: Int[Array, " B L"]
    """Item ids of the past, oldest first, 0 = padding."""
    features: dict[str, Array]
    """Columns of the user, the context and the events by name, each with leading axis B, those of events with
    `[B L]`; `{}` if none."""


class Target(NamedTuple):
    """What one of several tasks is to learn of each element of a batch."""

    label: Float[Array, " B *C"]
    where: Bool[Array, " B *C"]
    """False = the label is missing, whatever stands in its place."""


class Batch(NamedTuple):
    """Rows to learn from; a data set is just a long batch."""

    query: Query
    item: Int[Array, " B *C"]
    label: Float[Array, " B *C"]
    """Rating, relevance grade, or 1.0 for implicit feedback."""
    where: Bool[Array, " B *C"]
    """False = padding: counts for nothing."""
    tasks: dict[str, Target] = {}  # noqa: RUF012 (nobody writes to it)
    """What each task of a multi-task model learns; `{}` for all others, which learn `label`."""


for _noun in (Query, Target, Batch):  # so that they can be inputs of an export that is kept in a file
    jax.export.register_namedtuple_serialization(_noun, serialized_name=f"rezoo.types.{_noun.__name__}")


class TrainState(NamedTuple):
    """Everything a run is, as arrays: can be vmapped, donated, sharded and saved."""

    params: Any
    """What is trained."""
    constants: dict[str, Any]
    """The model's other variable collections, such as `catalogue` (item features)."""
    opt_state: Any
    key: Key[Array, ""]
    """Never advanced: each step draws from `fold_in(key, step)`."""
    step: Int[Array, ""]
    halted: Bool[Array, ""]
    """True once a loss or a parameter was not finite; the state is then left as it was found."""

    @property
    def variables(self) -> Variables:
        """What `model.apply` takes."""
        return {"params": self.params, **self.constants}


class Aux(NamedTuple):
    """What an objective tells besides its value."""

    metrics: Scalars
    sown: dict[str, Any]
    """Collections that the model wrote: looked-up rows, batch statistics."""


Loss = Callable[..., jax.Array]
"""`(score, label, *, where) -> values`: one value per element (pointwise) or per list (listwise)."""

Objective = Callable[[Variables, jax.Array, Batch], tuple[jax.Array, Aux]]
"""`(variables, key, batch) -> (scalar to minimise, Aux)`."""

Weighting = Callable[[Scalars, Batch, Variables, Callable[[], dict[str, Any]]], jax.Array]
"""`(loss by task, batch, variables, gradients) -> scalar`: several tasks' losses as one; `gradients()`
gives each task's gradient by all parameters, for weightings that look at them."""

Step = Callable[[TrainState, Batch], tuple[TrainState, Scalars]]
"""One update."""

Sampler = Callable[[jax.Array, Query, Int[Array, " B"], int], Int[Array, " B C"]]
"""`(key, query, positive item, n) -> n negative item ids per row`."""


class Scorer(Protocol):
    """Every model. There is nothing to inherit: a Linen module with this `__call__` is one.

    A model is training when it is given a `dropout` key and scoring when it is not
    (`self.has_rng("dropout")`); there is no other flag.
    """

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]: ...


class MultiTask(Scorer, Protocol):
    """A model with a score for each of several tasks; `__call__` gives that of one, as its class says."""

    def tasks(self, query: Query, item: Int[Array, " B *C"]) -> dict[str, Float[Array, " B *C"]]: ...


class Retriever(Scorer, Protocol):
    """A model whose score is the inner product of a query vector and an item vector.

    A model with `vectors(item) -> [*S D]` gives the rows of `table()` of some items without the others, so
    that its tables can be trained row by row and computed vectors are those of a batch alone.
    """

    def encode(self, query: Query) -> Float[Array, " B D"]: ...

    def table(self) -> Float[Array, " N D"]: ...


class SessionModel(Retriever, Protocol):
    """A retriever that knows its state after every event of the history, in one pass."""

    def prefixes(self, query: Query) -> Float[Array, " B L D"]: ...


class Writer(Scorer, Protocol):
    """A model that writes an item digit by digit, and scores it by its log-probability.

    See `evaluation.recommend_by_beam` and, for its training, `objectives.next_item_likelihood`.
    """

    def likelihoods(self, query: Query, item: Int[Array, " B L"]) -> Float[Array, " B L"]: ...

    def after(self, query: Query) -> Float[Array, " B D"]: ...

    def next_digit(
        self, state: Float[Array, " B D"], before: Int[Array, " B K l"]
    ) -> Float[Array, " B K S"]: ...


class Attender(Retriever, Protocol):
    """A retriever whose sessions can keep what their events are asked for: see `serving.live`, `cached`."""

    def fill(self, query: Query) -> Any:
        """A `nn.attention.Cache` of the query's sessions, with as much room as the history has places."""
        ...

    def attend(self, cache: Any, item: Int[Array, " B"]) -> Any:
        """The cache after one more event, for which there must be room; `recent` as in `Stepper`."""
        ...

    def state(self, cache: Any) -> Float[Array, " B D"]:
        """What `encode` gives of the same events."""
        ...


class Stepper(Retriever, Protocol):
    """A retriever that reads a session event by event, for live serving: see `serving.live`."""

    def begin(self, query: Query) -> Any:
        """The state before the first event; the history is not read."""
        ...

    def step(self, carry: Any, item: Int[Array, " B"]) -> Any:
        """The state after one more event.

        A model with `event_features` takes as a third argument `recent`, a query whose history `[B 2]` is
        the event before this one (0 = none) and this one, with their columns.
        """
        ...

    def state(self, carry: Any) -> Float[Array, " B D"]:
        """What `encode` gives of the same events."""
        ...
