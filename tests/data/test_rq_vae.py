"""RQ-VAE: its loss in NumPy, what its gradients move, and codes that say more than none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import noisy

from rezoo.data import rq_vae, semantic_ids
from rezoo.errors import DataError


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(9, 6))[rng.integers(0, 9, 300)] + 0.1 * rng.normal(size=(300, 6))).astype("f4")


@pytest.fixture(scope="module")
def made(vectors):
    model = rq_vae.RQVAE(hidden=5, latent=3, out=6)
    books = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 3)), jnp.float32)
    params = jax.jit(lambda key: model.init(key, jnp.asarray(vectors[:1]), books, 0.5))(jax.random.key(0))[
        "params"
    ]
    return model, noisy(params, 0.5), books


def dense(params, name, x):
    return x @ np.asarray(params[name]["kernel"]) + np.asarray(params[name]["bias"])


def test_the_loss_is_its_equation_in_numpy(made, vectors):
    model, params, books = made
    told = jax.jit(lambda x: model.apply({"params": params}, x, books, 0.5))(jnp.asarray(vectors[:20]))
    z = dense(params, "encoder_out", np.maximum(dense(params, "encoder_in", vectors[:20]), 0))
    for row, (x, left) in enumerate(zip(vectors[:20], z, strict=True)):
        rounded, expected = np.zeros(3), 0.0
        for book in np.asarray(books):
            centre = min(book, key=lambda one: np.square(left - one).sum())
            expected += 1.5 * np.square(left - centre).sum()
            left, rounded = left - centre, rounded + centre
        back = dense(params, "decoder_out", np.maximum(dense(params, "decoder_in", rounded), 0))
        np.testing.assert_allclose(told[row], expected + np.square(x - back).sum(), rtol=1e-4)


def test_the_rounding_hands_its_gradient_to_the_encoder_and_none_to_the_centres(made, vectors):
    model, params, books = made
    some = jnp.asarray(vectors[:7])

    def loss(params, books, beta):
        return model.apply({"params": params}, some, books, beta).sum()

    of_params, of_books = jax.jit(jax.grad(loss, (0, 1)))(params, books, 0.0)
    z = model.apply({"params": params}, some, method="encode")
    digits = semantic_ids.nearest_digits(books, z)
    rounded = sum(book[digit] for book, digit in zip(books, digits, strict=True))
    back = {name: layer for name, layer in params.items() if name.startswith("decoder")}

    def decoded(rounded):
        hidden = jax.nn.relu(rounded @ back["decoder_in"]["kernel"] + back["decoder_in"]["bias"][None])
        told = hidden @ back["decoder_out"]["kernel"] + back["decoder_out"]["bias"][None]
        return jnp.square(some - told).sum()

    at_z = jax.grad(decoded)(rounded)
    expected = jax.grad(lambda p: (model.apply({"params": p}, some, method="encode") * at_z).sum())(params)
    np.testing.assert_allclose(
        of_params["encoder_in"]["kernel"], expected["encoder_in"]["kernel"], rtol=1e-4, atol=1e-5
    )
    left, moved = np.asarray(z), np.zeros(books.shape)
    for level, digit in enumerate(np.asarray(digits)):
        centres = np.asarray(books)[level][digit]
        np.add.at(moved[level], digit, 2 * (centres - left))
        left = left - centres
    np.testing.assert_allclose(of_books, moved, rtol=1e-4, atol=1e-4)


def test_items_of_a_kind_share_digits_and_training_lowers_the_loss(vectors):
    def loss(steps):
        fitted = rq_vae.fit(
            vectors, 2, 9, jax.random.key(0), latent=4, hidden=16, steps=steps, rate=3e-3, batch_size=64
        )
        value = rq_vae.RQVAE(16, 4, 6).apply(
            {"params": fitted.params}, jnp.asarray(vectors), fitted.books, 0.25
        )
        return fitted, float(value.mean())

    (_, before), (fitted, after) = loss(1), loss(400)
    assert after < 0.2 * before
    digits = semantic_ids.assign(fitted.books, rq_vae.encode(fitted, vectors))
    kinds = np.random.default_rng(0)
    kinds.normal(size=(9, 6))
    kind = kinds.integers(0, 9, 300)
    together = (digits[:, None, 0] == digits[None, :, 0])[kind[:, None] == kind[None]].mean()
    apart = (digits[:, None, 0] == digits[None, :, 0])[kind[:, None] != kind[None]].mean()
    assert together > 0.8 and apart < 0.2


def test_the_key_alone_decides(vectors):
    one, same, other = (
        rq_vae.fit(vectors, 1, 3, jax.random.key(k), latent=2, hidden=4, steps=3).books for k in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_vectors_of_another_width_are_refused(vectors):
    fitted = rq_vae.fit(vectors, 1, 2, jax.random.key(0), latent=2, hidden=4, steps=1)
    with pytest.raises(DataError, match=r"shape \[300, 5\]: the fit's are 6 wide"):
        rq_vae.encode(fitted, vectors[:, 1:])


def test_bad_input_is_refused(vectors):
    with pytest.raises(DataError, match="row 3 has a number that is not finite"):
        bad = np.where(np.arange(300)[:, None] == 3, np.nan, vectors)
        rq_vae.fit(bad, 1, 3, jax.random.key(0))
    with pytest.raises(DataError, match=r"vectors \[0, 6\]"):
        rq_vae.fit(vectors[:0], 1, 3, jax.random.key(0))
    with pytest.raises(ValueError, match="steps = 0"):
        rq_vae.fit(vectors, 1, 3, jax.random.key(0), steps=0)


@pytest.mark.parametrize(("name", "value"), [("beta", -0.1), ("rate", 0.0), ("rate", float("nan"))])
def test_numbers_that_cannot_be_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} = {value}: give a finite number"):
        rq_vae.fit(np.eye(4, dtype=np.float32), 1, 2, jax.random.key(0), **{name: value})
