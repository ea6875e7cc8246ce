"""DLRM, xDeepFM, FinalMLP, MaskNet and FiBiNET are their equations, and what is true of each alone."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fields import ASKED, CATALOGUE, FIELDS, ITEM, SIZES, field, parts, start
from helpers import apply, init

from rezoo.errors import DataError
from rezoo.models import DLRM, FiBiNET, FinalMLP, MaskNet, XDeepFM
from rezoo.models.ranking import dlrm, fibinet, masknet, xdeepfm


def dense(x, layer):
    return x @ layer["kernel"] + layer.get("bias", 0.0)


def network(x, layers):
    """Layers with ReLU, without normalisation."""
    for number in range(len(layers)):
        x = np.maximum(dense(x, layers[f"Dense_{number}"]), 0)
    return x


def normed(x, layer):
    """Layer normalisation of the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    scale = layer["scale"] / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return centred * scale + layer["bias"]


def agree(model, variables, by_hand):
    """The model's scores of the three rows are those of `by_hand(params, row)`."""
    params = jax.tree.map(np.asarray, variables["params"])
    expected = [by_hand(params, row).item() for row in range(3)]
    np.testing.assert_allclose(apply(model, variables, ASKED, ITEM), expected, rtol=1e-3, atol=1e-5)


SLOW = pytest.mark.slow
"""Each program is compiled for itself; those of the further choices by `-m slow`."""


@pytest.mark.parametrize("interaction", [dlrm.dots, pytest.param(dlrm.end_to_end, marks=SLOW)])
def test_dlrm_is_its_equations(interaction):
    model = DLRM(SIZES, 3, widths=(4,), bottom=(5,), interaction=interaction)

    def by_hand(p, row):
        x = [field(p["factors"], name, row) for name in FIELDS if name != "price"]
        price = np.asarray(CATALOGUE["price"])[ITEM[row]]
        x.append(network(np.array([price]), p["bottom"]))
        dots = [*x[-1], *(a @ b for a, b in itertools.combinations(x, 2))]
        given = np.array(dots) if interaction is dlrm.dots else np.concatenate(x)
        return dense(network(given, p["mlp"]), p["output"])

    agree(model, start(model), by_hand)


def test_dlrm_sees_only_the_angles_between_embeddings():
    catalogue = {"genres": CATALOGUE["genres"]}
    model = DLRM(SIZES, 3, widths=(4,))
    variables = start(model, catalogue)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = jax.tree.map(lambda table: table @ turn, variables["params"]["factors"])
    params = {**variables["params"], "factors": turned}
    before = apply(model, variables, ASKED, ITEM)
    np.testing.assert_allclose(
        apply(model, {**variables, "params": params}, ASKED, ITEM), before, rtol=1e-4, atol=1e-5
    )


def test_xdeepfm_is_its_equations():
    model = XDeepFM(SIZES, 3, widths=(4,), maps=(3, 2))
    variables = start(model)

    def by_hand(p, row):
        linear, v = parts(variables, row)
        x, pooled = v, []
        for layer in ("Dense_0", "Dense_1"):
            kernel = p["cin"][layer]["kernel"].reshape(len(x), len(v), -1)
            pairs = [(i, j) for i in range(len(x)) for j in range(len(v))]
            x = [sum(kernel[i, j, h] * x[i] * v[j] for i, j in pairs) for h in range(kernel.shape[2])]
            pooled += [one.sum() for one in x]
        explicit = dense(np.array(pooled), p["cin_output"])
        return linear + explicit + dense(network(np.concatenate(v), p["mlp"]), p["output"])

    agree(model, variables, by_hand)


def test_each_layer_of_feature_maps_is_of_one_degree_more():
    layer, v = xdeepfm.CompressedInteraction((2, 3)), jax.random.normal(jax.random.key(0), (4, 5, 3))
    variables = init(layer, v)
    one, two = (np.asarray(apply(layer, variables, scale * v)) for scale in (1.0, 2.0))
    np.testing.assert_allclose(two, one * np.array([4, 4, 8, 8, 8]), rtol=1e-4)


GATES = (("hour", "user"), ("item", "price"))


def test_finalmlp_is_its_equations():
    model = FinalMLP(SIZES, 3, widths=(5, 4), second_widths=(6,), gates=GATES, gate_widths=(3,), heads=2)

    def by_hand(p, row):
        e = np.concatenate([field(p["factors"], name, row) for name in FIELDS])
        streams = []
        for name, columns in zip(("first", "second"), GATES, strict=True):
            gate = p[f"{name}_gate"]
            context = np.concatenate([field(gate["factors"], column, row) for column in columns])
            g = dense(network(context, gate["mlp"]), gate["output"])
            streams.append(network(2 / (1 + np.exp(-g)) * e, p[name]))
        x, y = streams
        fusion = p["fusion"]
        score = dense(x, fusion["first"]) + dense(y, fusion["second"])
        for k, matrix in enumerate(fusion["bilinear"]):
            score += x[2 * k : 2 * k + 2] @ matrix @ y[3 * k : 3 * k + 3]
        return score

    agree(model, start(model), by_hand)


@SLOW
def test_finalmlp_without_contexts_has_no_gates():
    model = FinalMLP(SIZES, 3, widths=(4,), second_widths=(4,), gates=((), ("user",)))
    assert set(start(model)["params"]) == {"factors", "first", "second", "second_gate", "fusion"}


def test_finalmlp_says_what_does_not_fit():
    with pytest.raises(DataError, match=r"FinalMLP.gates: there is no column 'age'; there are \['genres'"):
        start(FinalMLP(SIZES, 3, gates=(("age",), ("item",))))
    with pytest.raises(DataError, match=r"FinalMLP\.heads = 3 does not divide 4, the width of a stream"):
        start(FinalMLP(SIZES, 3, widths=(4,), heads=3))


@pytest.mark.parametrize("structure", [masknet.parallel, masknet.serial])
@pytest.mark.parametrize("normalise", [True, pytest.param(False, marks=SLOW)])
def test_masknet_is_its_equations(structure, normalise):
    model = MaskNet(
        SIZES, 3, widths=(4,), blocks=(4, 5), reduction=0.5, structure=structure, normalise=normalise
    )

    def by_hand(p, row):
        v = np.stack([field(p["factors"], name, row) for name in FIELDS])
        x = (normed(v, p["field_norm"]) if normalise else v).ravel()
        outputs = []
        for name in ("MaskBlock_0", "MaskBlock_1"):
            block = p[name]
            mask = dense(np.maximum(dense(v.ravel(), block["aggregation"]), 0), block["projection"])
            out = np.maximum(normed(dense(mask * x, block["hidden"]), block["norm"]), 0)
            outputs.append(out)
            x = out if structure is masknet.serial else x
        given = outputs[-1] if structure is masknet.serial else np.concatenate(outputs)
        return dense(network(given, p["mlp"]), p["output"])

    agree(model, start(model), by_hand)


@SLOW
def test_a_mask_of_zeros_lets_nothing_through():
    model = MaskNet(SIZES, 3, widths=(), blocks=(4,), structure=masknet.serial)
    variables = start(model)
    block = variables["params"]["MaskBlock_0"]
    projection = {"kernel": jnp.zeros_like(block["projection"]["kernel"]), "bias": jnp.zeros(15)}
    params = {**variables["params"], "MaskBlock_0": {**block, "projection": projection}}
    score = np.asarray(apply(model, {**variables, "params": params}, ASKED, ITEM))
    assert np.ptp(score) < 1e-6 < np.ptp(np.asarray(apply(model, variables, ASKED, ITEM)))


@pytest.mark.parametrize(
    "matrices",
    [fibinet.Shared, pytest.param(fibinet.ByField, marks=SLOW), pytest.param(fibinet.ByPair, marks=SLOW)],
)
def test_fibinet_is_its_equations(matrices):
    model = FiBiNET(SIZES, 3, widths=(4,), matrices=matrices, reduction=2)
    variables = start(model)

    def matrix(p, i, number):
        if matrices is fibinet.Shared:
            return p["bilinear"]["Dense_0"]["kernel"]
        return p["bilinear"]["matrices"][i if matrices is fibinet.ByField else number]

    def by_hand(p, row):
        linear, v = parts(variables, row)
        v, weights = np.stack(v), p["field_weights"]
        a = np.maximum(dense(np.maximum(dense(v.mean(1), weights["squeeze"]), 0), weights["excite"]), 0)
        pairs = list(enumerate(itertools.combinations(range(5), 2)))
        products = [x[i] @ matrix(p, i, n) * x[j] for x in (v, v * a[:, None]) for n, (i, j) in pairs]
        return linear + dense(network(np.concatenate(products), p["mlp"]), p["output"])

    agree(model, variables, by_hand)


@SLOW
def test_fibinet_with_one_matrix_for_all_pairs_is_that_of_equal_matrices():
    one = FiBiNET(SIZES, 3, widths=(4,))
    each = FiBiNET(SIZES, 3, widths=(4,), matrices=fibinet.ByPair)
    variables = start(one)
    kernel = variables["params"]["bilinear"]["Dense_0"]["kernel"]
    params = {**variables["params"], "bilinear": {"matrices": jnp.tile(kernel[None], (10, 1, 1))}}
    np.testing.assert_allclose(
        apply(each, {**variables, "params": params}, ASKED, ITEM),
        apply(one, variables, ASKED, ITEM),
        rtol=1e-4,
        atol=1e-5,
    )
