"""What is true of each model of feature interactions alone."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fields import ASKED, FIELDS, ITEM, SIZES, field, parts, start
from helpers import apply, init

from rezoo.models import AFM, DNN, FM, NFM, AutoInt, DCNv2, DeepFM, WideDeep
from rezoo.models.ranking import afm
from rezoo.models.ranking.dcn import stacked


def test_fm_is_the_double_sum_over_categories_sets_and_numbers():
    model = FM(SIZES, 3, mean=3.5)
    variables = start(model)
    score = apply(model, variables, ASKED, ITEM)
    for row in range(3):
        linear, v = parts(variables, row)
        pairs = sum(a @ b for a, b in itertools.combinations(v, 2))
        np.testing.assert_allclose(score[row], 3.5 + linear + pairs, rtol=1e-4)


def test_fm_of_user_and_item_is_biased_matrix_factorization():
    model, asked = FM({"user": 4, "item": 6}, 3), ASKED._replace(features={})
    params = init(model, asked, ITEM)["params"]
    factors, weights = params["factors"], params["linear"]["weights"]
    p, q = factors["user"]["embedding"][asked.user], factors["item"]["embedding"][ITEM]
    biases = weights["user"]["embedding"][asked.user, 0] + weights["item"]["embedding"][ITEM, 0]
    np.testing.assert_allclose(
        apply(model, {"params": params}, asked, ITEM), biases + (p * q).sum(1), rtol=1e-5
    )


def test_fm_without_factors_is_linear():
    model = FM(SIZES, 0)
    variables = start(model)
    assert set(variables["params"]) == {"linear"}
    expected = [
        variables["params"]["linear"]["bias"]
        + sum(field(variables["params"]["linear"]["weights"], n, row)[0] for n in FIELDS)
        for row in range(3)
    ]
    np.testing.assert_allclose(apply(model, variables, ASKED, ITEM), expected, rtol=1e-5)


def test_nfm_without_layers_is_fm():
    model = NFM(SIZES, 3, widths=(), batch_norm=False, mean=3.0)
    variables = start(model)
    ones = {**variables["params"], "output": {"kernel": jnp.ones((3, 1))}}
    without = {k: v for k, v in ones.items() if k != "output"}
    np.testing.assert_allclose(
        apply(model, {**variables, "params": ones}, ASKED, ITEM),
        FM(SIZES, 3, mean=3.0).apply({**variables, "params": without}, ASKED, ITEM),
        rtol=1e-5,
    )


def test_deepfm_is_fm_plus_a_network_over_the_same_factors():
    model = DeepFM(SIZES, 3, widths=(4,), mean=3.0)
    variables = start(model)
    p = variables["params"]
    fm = FM(SIZES, 3, mean=3.0).apply(
        {**variables, "params": {"linear": p["linear"], "factors": p["factors"]}}, ASKED, ITEM
    )
    net = {"factors": p["factors"], "mlp": p["mlp"], "output": {**p["output"], "bias": jnp.zeros(1)}}
    deep = DNN(SIZES, 3, widths=(4,)).apply({**variables, "params": net}, ASKED, ITEM)
    np.testing.assert_allclose(apply(model, variables, ASKED, ITEM), fm + deep, rtol=1e-4, atol=1e-5)


def test_wide_deep_is_a_linear_model_plus_a_network():
    model = WideDeep(SIZES, dim=3, widths=(4,))
    variables = start(model)
    p = variables["params"]
    linear = FM(SIZES, 0).apply({**variables, "params": {"linear": p["wide"]}}, ASKED, ITEM)
    net = {"factors": p["deep"], "mlp": p["mlp"], "output": {**p["output"], "bias": jnp.zeros(1)}}
    deep = DNN(SIZES, 3, widths=(4,)).apply({**variables, "params": net}, ASKED, ITEM)
    np.testing.assert_allclose(apply(model, variables, ASKED, ITEM), linear + deep, rtol=1e-4, atol=1e-5)


def test_afm_that_attends_to_all_pairs_alike_is_fm_over_their_number():
    model = AFM(SIZES, 3, attention_width=2)
    variables = start(model)
    params = {**variables["params"], "output": {"kernel": jnp.ones((3, 1))}}
    params["attention_score"] = {"kernel": jnp.zeros((2, 1))}
    score = apply(model, {**variables, "params": params}, ASKED, ITEM)
    for row in range(3):
        linear, v = parts({"params": params}, row)
        pairs = sum(a @ b for a, b in itertools.combinations(v, 2))
        np.testing.assert_allclose(score[row], linear + pairs / 10, rtol=1e-4)


def test_afm_tells_its_attention_by_pairs_of_names():
    model = AFM(SIZES, 3, attention_width=2)
    variables = start(model)
    names, weight = afm.attention(model, variables, ASKED, ITEM)
    assert names == list(itertools.combinations(FIELDS, 2)) and weight.shape == (3, 10)
    np.testing.assert_allclose(weight.sum(-1), 1, rtol=1e-5)
    p = jax.tree.map(np.asarray, variables["params"])
    for row in range(3):
        _, v = parts(variables, row)
        product = np.stack([a * b for a, b in itertools.combinations(v, 2)])
        hidden = np.maximum(product @ p["attention_layer"]["kernel"] + p["attention_layer"]["bias"], 0)
        expected = np.exp(hidden @ p["attention_score"]["kernel"])[:, 0]
        np.testing.assert_allclose(weight[row], expected / expected.sum(), rtol=1e-3)


@pytest.mark.parametrize("structure", ["parallel", "stacked"])
def test_dcn_without_crosses_is_a_network(structure):
    model = (
        DCNv2(SIZES, 3, num_crosses=0, widths=(4,), structure=stacked)
        if structure == "stacked"
        else DCNv2(SIZES, 3, num_crosses=0, widths=(4,))
    )
    variables = start(model)
    p = variables["params"]
    if structure == "parallel":  # what is beside the network are the embeddings themselves
        kernel = p["output"]["kernel"].at[:15].set(0.0)
        p = {**p, "output": {**p["output"], "kernel": kernel}}
    net = {**p, "output": {**p["output"], "kernel": p["output"]["kernel"][-4:]}}
    np.testing.assert_allclose(
        apply(model, {**variables, "params": p}, ASKED, ITEM),
        DNN(SIZES, 3, widths=(4,)).apply({**variables, "params": net}, ASKED, ITEM),
        rtol=1e-5,
    )


def test_dcn_is_a_polynomial_of_one_degree_more_than_it_has_crosses():
    model = DCNv2(SIZES, 3, num_crosses=2, widths=())
    variables = start(model)

    def score(t):  # along a line through the origin of the embeddings
        factors = jax.tree.map(lambda x: t * x, variables["params"]["factors"])
        return float(
            apply(model, {**variables, "params": {**variables["params"], "factors": factors}}, ASKED, ITEM)[1]
        )

    at = np.array([-1.0, -0.5, 0.5, 1.0, 0.25, -0.75])
    values = np.array([score(t) for t in at])
    cubic = np.polyfit(at[:4], values[:4], 3)
    np.testing.assert_allclose(np.polyval(cubic, at[4:]), values[4:], rtol=1e-2, atol=1e-3)
    square = np.polyfit(at[:3], values[:3], 2)
    assert np.abs(np.polyval(square, at[3:]) - values[3:]).max() > 1e-2


def test_autoint_with_no_attention_between_fields_is_a_layer_for_each():
    model = AutoInt(SIZES, 3, num_layers=1, heads=2, head_width=4)
    variables = start(model)
    layer = variables["params"]["FieldAttention_0"]
    layer = {**layer, "v": {"kernel": jnp.zeros((3, 2, 4))}}
    params = {**variables["params"], "FieldAttention_0": layer}
    score = apply(model, {**variables, "params": params}, ASKED, ITEM)
    kernel, output = np.asarray(layer["residual"]["kernel"]), jax.tree.map(np.asarray, params["output"])
    for row in range(3):
        v = [field(params["factors"], name, row) for name in FIELDS]
        hidden = np.concatenate([np.maximum(x @ kernel, 0) for x in v])
        np.testing.assert_allclose(score[row], (hidden @ output["kernel"] + output["bias"])[0], rtol=1e-4)


def test_a_column_of_the_query_is_looked_up_once_for_all_its_items():
    model = FM(SIZES, 3)
    variables = start(model)
    slate = jnp.tile(ITEM[None], (3, 1))
    _, sown = model.apply(variables, ASKED, slate, mutable=["row_ids"])
    looked_up = sown["row_ids"]["factors"]
    assert looked_up["user"]["embedding"][0].shape == (3,)
    assert looked_up["item"]["embedding"][0].shape == (3, 3)


def test_without_a_table_an_id_is_not_read():
    model = functools.partial(DNN, widths=(4,))({"hour": 3, "genres": 5}, 2)
    variables = start(model)
    assert set(variables["params"]["factors"]) == {"hour", "genres", "price_scale"}
    other = ASKED._replace(user=jnp.array([3, 2, 1], jnp.int32))
    np.testing.assert_array_equal(apply(model, variables, ASKED, ITEM), apply(model, variables, other, ITEM))
