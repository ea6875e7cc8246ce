"""A fitted model takes the columns of its fit, all of them and no others."""

import re

import jax
import jax.numpy as jnp
import optax
import pytest

from rezoo.data.batches import pairs, queries
from rezoo.models import DIN, DLRM, FM, IAutoRec, YouTubeDNN
from rezoo.nn.features import OtherColumns
from rezoo.training import init_state

SIZES = {"item": 5, "age": 4}
AGE, PRICE = {"age": jnp.array([1, 2])}, {"price": jnp.array([0.5, 0.6])}
ITEM = jnp.array([1, 2])


def fitted(model, **constants):
    batch = pairs([1, 2], ITEM)
    batch = batch._replace(query=queries(rows=2, features=AGE | PRICE))
    return init_state(jax.random.key(0), model, optax.sgd(0.1), batch, constants=constants).variables


@pytest.mark.parametrize("model", [FM(SIZES, 4), DIN(SIZES, 4), YouTubeDNN(5, SIZES, 4)], ids=repr)
@pytest.mark.parametrize(
    ("given", "told"),
    [
        (AGE, "there is no column 'price'; the model was fitted with 'age', "),
        ({}, "there is no column 'age'; the model was fitted with 'age', "),
        (
            AGE | PRICE | {"hour": PRICE["price"]},
            "the column 'hour' is new; the model was fitted with 'age', ",
        ),
        (AGE | {"price": AGE["age"]}, "the column 'price' is int32; the model was fitted with floats"),
    ],
)
def test_other_columns_than_those_of_the_fit_are_refused_by_name(model, given, told):
    with pytest.raises(OtherColumns, match=re.escape(told)):
        model.apply(fitted(model), queries(rows=2, features=given), ITEM)


def test_dlrm_counts_its_numbers():
    model = DLRM(SIZES, 4)
    told = "the columns of numbers, 'hour', 'price', are 2 wide; the model was fitted with 1"
    with pytest.raises(OtherColumns, match=re.escape(told)):
        model.apply(fitted(model), queries(rows=2, features=AGE | PRICE | {"hour": PRICE["price"]}), ITEM)
    with pytest.raises(OtherColumns, match="numbers, none, are 0 wide"):
        model.apply(fitted(model), queries(rows=2, features=AGE), ITEM)


def test_i_autorec_asks_for_its_raters():
    model = IAutoRec(3, 4)
    catalogue = {"rater": jnp.zeros((5, 2), jnp.int32), "rating": jnp.zeros((5, 2))}
    variables = fitted(model, catalogue=catalogue)
    for name in catalogue:
        rest = {other: column for other, column in catalogue.items() if other != name}
        with pytest.raises(ValueError, match=f"no column of the feature '{name}'"):
            model.apply(variables | {"catalogue": rest}, queries(rows=2), ITEM)
