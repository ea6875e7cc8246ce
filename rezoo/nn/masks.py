"""Who may look at whom in attention: a few numbers for each event, not a matrix of every two of them."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

LAST = np.iinfo(np.int32).max


class Asking(NamedTuple):
    """What looks; C is B, or 1 where all rows are alike."""

    segment: Int[Array, " B Q"]
    """The session of its row that it belongs to; 0 is padding."""
    place: Int[Array, " C Q"]


class Asked(NamedTuple):
    """What is looked at: by itself, and by what has a place from `first` to `last` in the same session."""

    segment: Int[Array, " B K"]
    """0: by nobody."""
    place: Int[Array, " C K"]
    first: Int[Array, " C K"]
    last: Int[Array, " C K"]


class Mask(NamedTuple):
    """Who may look at whom, for `nn.attention`."""

    asking: Asking
    asked: Asked
    causal: int = 0
    """So many events stand first on both sides, in their order, and none is seen by an earlier one."""
    packed: bool = True
    """Whether a row may hold several sessions, or anything else than one, padded at its end."""


def may_look(asking: Asking, asked: Asked) -> Bool[Array, " B Q K"]:
    """The matrix, for the few that are needed at a time.

    >>> mask = past(jnp.array([[1, 1, 2]]))
    >>> may_look(mask.asking, mask.asked).astype(int).tolist()
    [[[1, 0, 0], [1, 1, 0], [0, 0, 1]]]
    """
    place = asking.place[:, :, None]
    seen = (asked.first[:, None] <= place) & (place <= asked.last[:, None])
    same = (asking.segment[:, :, None] == asked.segment[:, None]) & (asked.segment > 0)[:, None]
    return same & (seen | (place == asked.place[:, None]))


def past(segment: Int[Array, " B L"], *, packed: bool = True) -> Mask:
    """Each event may look at itself and at those before it in its session, of `sequence.segments`."""
    length = segment.shape[1]
    place = jnp.arange(length)[None]
    last = jnp.full_like(place, length - 1)
    return Mask(Asking(segment, place), Asked(segment, place, place, last), length, packed)


def session(segment: Int[Array, " B L"], *, packed: bool = True) -> Mask:
    """Each event may look at all events of its session.

    >>> mask = session(jnp.array([[1, 1, 2]]))
    >>> may_look(mask.asking, mask.asked).astype(int).tolist()
    [[[1, 1, 0], [1, 1, 0], [0, 0, 1]]]
    """
    mask = past(segment, packed=packed)
    return mask._replace(asked=mask.asked._replace(first=jnp.zeros_like(mask.asked.first)), causal=0)


def with_slots(mask: Mask, known: Bool[Array, " B S"]) -> Mask:
    """Memory slots behind the events: event t may look at slot t, or all of them at the only one.

    A slot looks at itself alone, and nobody at one of which nothing is known.

    >>> mask = with_slots(past(jnp.array([[1, 1]])), jnp.array([[True]]))
    >>> may_look(mask.asking, mask.asked).astype(int).tolist()
    [[[1, 0, 1], [1, 1, 1], [0, 0, 1]]]
    """
    length, slots = mask.asking.segment.shape[1], known.shape[1]
    own = jnp.arange(slots)[None]
    place, first, last = length + own, own, own if slots > 1 else own + length - 1
    segment = jnp.where(known, mask.asking.segment if slots > 1 else 1, 0).astype(mask.asking.segment.dtype)
    asking, asked = (
        tuple(jnp.concatenate(pair, axis=1) for pair in zip(events, more, strict=True))
        for events, more in ((mask.asking, (segment, place)), (mask.asked, (segment, place, first, last)))
    )
    return Mask(Asking(*asking), Asked(*asked), mask.causal)


def next_event(count: Int[Array, " B"], room: int, known: Bool[Array, " B S"]) -> Mask:
    """The event after `count` others may look at them, at itself, and at the known ones of S slots, which
    stand behind `room` places of events.

    >>> mask = next_event(jnp.array([1]), 3, jnp.array([[True]]))
    >>> may_look(mask.asking, mask.asked).astype(int).tolist()
    [[[1, 1, 0, 1]]]
    """
    one = jnp.ones_like(count)[:, None]
    place = jnp.arange(room + known.shape[1])[None]
    events = jnp.repeat(one, room, axis=1)
    segment = jnp.concatenate([events, known.astype(events.dtype)], axis=1)
    asked = Asked(segment, place, jnp.where(place < room, place, 0), jnp.full_like(place, LAST))
    return Mask(Asking(one, count[:, None]), asked)
