"""DIN: of what a shopper did before, that counts which has to do with the product at hand.

Zhou, Song, Zhu et al.: Deep Interest Network for Click-Through Rate Prediction, KDD 2018,
https://arxiv.org/abs/1706.06978, equations 3 and 9:

    interest(target) = Σ_j a(e_j, e_target) e_j,    Dice(s) = p s + (1 - p) α s,
    p = σ((s - E[s]) / √(Var[s] + ε))

a is a small network, the local activation unit; its weights are not normalised, so that the
interest keeps its strength. E and Var are those of the batch in training, running means in scoring.

The paper's mini-batch-aware regularisation (section 5.1) is `objectives.l2` with `counts`: each id of
the batch once, the less the more often it occurs in all the data. Without `counts` each lookup counts.

Differs from the paper: the unit's first layer sees e_j, e_target and their product; their
difference, which the authors' code adds, is linear in them. The network sees interest ∘ target too, which
the paper's figure 2 has not (versions of the authors' code differ): `meet=beside` leaves it out. One logit
instead of a softmax of two.

The authors' code, https://github.com/zhougr1993/DeepInterestNetwork, takes a softmax of the weights, of a
unit of two sigmoid layers: `weights=CodeActivation`. It also normalises interest and input by batch, puts
a linear layer on the interest, has sigmoid layers where Dice is not asked for, and adds a bias of the item.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo import arrays
from rezoo.devices.meshes import alike
from rezoo.nn.dropout import Dropout
from rezoo.nn.features import FieldEmbed, catalogue_of, repeat_for_items
from rezoo.nn.inputs import of_items, of_query
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.nn.norm import Moments
from rezoo.types import Query


class LocalActivation(nn.Module):
    """a(e_j, e_target), not normalised; 0 for padding."""

    width: int = 36

    @nn.compact
    def __call__(
        self, history: Float[Array, " B L D"], target: Float[Array, " B *C D"], real: Bool[Array, " B L"]
    ) -> Float[Array, " B *C L"]:
        slate = target.reshape(target.shape[0], -1, 1, target.shape[-1])
        event = history[:, None]
        # A linear layer over [e_j ; e_target ; e_j ∘ e_target], its first two parts computed once.
        hidden = nn.Dense(self.width, name="event")(event)
        hidden = hidden + nn.Dense(self.width, use_bias=False, name="target")(slate)
        hidden = hidden + nn.Dense(self.width, use_bias=False, name="product")(event * slate)
        weight = nn.Dense(1, name="output")(nn.PReLU(name="activation")(hidden)).squeeze(-1)
        weight = jnp.where(real[:, None], weight, 0.0)
        return weight.reshape(*target.shape[:-1], history.shape[1])


class Mean(nn.Module):
    """The mean of the history, whatever the target: what DIN is compared with."""

    def __call__(
        self, history: Float[Array, " B L D"], target: Float[Array, " B *C D"], real: Bool[Array, " B L"]
    ) -> Float[Array, " B *C L"]:
        share = real.astype(history.dtype) / jnp.maximum(real.sum(axis=1, keepdims=True), 1)
        return repeat_for_items(share, jnp.zeros(target.shape[:-1], jnp.int32))


class CodeActivation(nn.Module):
    """softmax_j a(e_j, e_target) / √D over the real events, as in the authors' code; 0 for padding."""

    widths: Sequence[int] = (80, 40)

    @nn.compact
    def __call__(
        self, history: Float[Array, " B L D"], target: Float[Array, " B *C D"], real: Bool[Array, " B L"]
    ) -> Float[Array, " B *C L"]:
        slate = target.reshape(target.shape[0], -1, 1, target.shape[-1])
        event, slate = jnp.broadcast_arrays(history[:, None], slate)
        x = jnp.concatenate([slate, event, slate - event, slate * event], axis=-1)
        score = nn.Dense(1, name="output")(MLP(self.widths, nn.sigmoid, name="unit")(x)).squeeze(-1)
        real = real[:, None]
        weight = arrays.softmax(score * target.shape[-1] ** -0.5, where=real)
        return weight.reshape(*target.shape[:-1], history.shape[1])


def with_product(interest: Float[Array, " *B D"], target: Float[Array, " *B D"]) -> Float[Array, " *B E"]:
    """[interest ; target ; interest ∘ target]."""
    return jnp.concatenate([interest, target, interest * target], axis=-1)


def beside(interest: Float[Array, " *B D"], target: Float[Array, " *B D"]) -> Float[Array, " *B E"]:
    """[interest ; target], as in the paper's figure 2."""
    return jnp.concatenate([interest, target], axis=-1)


Weights = Annotated[Callable[..., nn.Module], LocalActivation, CodeActivation, Mean]
"""Makes a module `(history [B L D], target [B *C D], real [B L]) -> weights [B *C L]`."""


class DIN(Model):
    """Score = MLP([meet(interest(target), target) ; profile and context]), a logit.

    The target and the events of `query.history` are items: their id, and their columns in the
    collection `catalogue`, looked up in the same tables. Profile and context are all of
    `query.features`, and the user's id if `sizes` has a table for it.
    """

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `item` included."""
    dim: int = 16
    widths: Sequence[int] = (80, 40)
    _: KW_ONLY
    weights: Weights = LocalActivation
    """`LocalActivation`, `CodeActivation` or `Mean`."""
    dropout: float = 0.0
    meet: Annotated[Callable[[Array, Array], Array], with_product, beside] = with_product
    """What the network is given of interest and target: `with_product` or `beside`."""

    def setup(self) -> None:
        self.items = FieldEmbed(self.sizes, self.dim)
        self.profile = FieldEmbed(self.sizes, self.dim)
        self.unit = self.weights()
        self.layers = [nn.Dense(width) for width in self.widths]
        self.dice = [Dice() for _ in self.widths]
        self.drop = Dropout(self.dropout)
        self.output = nn.Dense(1)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        target, interest, _ = self._interest(query, item)
        parts = [self.meet(*alike([interest, target]))]
        parts += [repeat_for_items(known, item) for known in of_query(self.profile, query)]
        x = jnp.concatenate(alike(parts), axis=-1)
        for layer, dice in zip(self.layers, self.dice, strict=True):
            x = self.drop(dice(layer(x)))
        return self.output(x).squeeze(-1)

    def attention(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C L"]:
        """The weight of every event of the history for each item."""
        return self._interest(query, item)[2]

    def _interest(self, query: Query, item: Array) -> tuple[Array, Array, Array]:
        target, history = self._items(item), self._items(query.history)
        weight = self.unit(history, target, query.history > 0)
        return target, jnp.einsum("b...l,bld->b...d", weight, history), weight

    def _items(self, ids: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        return of_items(self.items, ids, catalogue_of(self))


class Dice(nn.Module):
    """A PReLU whose step stands where the data are: `[*B D] -> [*B D]`."""

    epsilon: float = 1e-8

    @nn.compact
    def __call__(self, x: Float[Array, " *B D"]) -> Float[Array, " *B D"]:
        row = (*(1,) * (x.ndim - 1), x.shape[-1])
        alpha = self.param("alpha", nn.initializers.zeros, row[-1:], jnp.float32)
        mean, var = Moments(0.99, name="moments")(x)
        p = nn.sigmoid((x - mean.reshape(row)) * jax.lax.rsqrt(var + self.epsilon).reshape(row))
        return x * (p + (1 - p) * alpha.reshape(row))
