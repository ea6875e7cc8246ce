import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rezoo import metrics
from rezoo.data.batches import queries
from rezoo.evaluation import explain
from rezoo.models import SharedBottom
from rezoo.types import Batch


class OnlyColor(SharedBottom):
    """Scores by one column, and by one of the items' columns."""

    def __call__(self, query, item):
        height = self.get_variable("catalogue", "height")
        return query.features["color"].astype(jnp.float32) + 0.1 * height[item]


def made():
    rng = np.random.default_rng(0)
    color, noise = (jnp.asarray(rng.integers(0, 2, 300), jnp.int32) for _ in range(2))
    query = queries(features={"color": color, "noise": noise})
    item = jnp.asarray(rng.integers(1, 6, 300), jnp.int32)
    batch = Batch(query, item, color.astype(jnp.float32), jnp.ones(300, bool))
    return OnlyColor({}, ("a",)), {"catalogue": {"height": jnp.arange(6.0)}}, batch


def test_only_the_column_that_matters_is_missed():
    lost = explain.permutation_importance(*made(), metrics.auc, jax.random.key(0), repeats=4)
    assert list(lost) == ["item", "user", "color", "noise", "height"]
    assert lost["color"].shape == (4,) and (np.abs(lost["color"] - 0.5) < 0.15).all()
    for name in ("user", "noise"):
        np.testing.assert_array_equal(lost[name], 0)


def test_pictures_show_what_they_were_given():
    axes = explain.draw_importance({"b": np.array([0.1, 0.3]), "a": np.array([0.5, 0.5])}).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [0.2, 0.5])
    ends = np.array([line[:, 0] for line in axes.collections[0].get_segments()])
    np.testing.assert_allclose(ends, [[0.1, 0.3], [0.5, 0.5]])  # 0.2 ± (0.02 / 1 / 2)^½
    weight = np.array([[0.5, 0.1, 0.0], [0.2, 0.9, 0.0]])
    axes = explain.draw_attention(weight, ["lamp", "tea"], ["kettle", "cup"]).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), weight[:, :2])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("history, oldest first", "to be ranked")
    axes = explain.draw_attention(weight, ["a", "b"], ["a", "b"], xlabel="column", ylabel="row").axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("column", "row")
    with pytest.raises(ValueError, match="1 items and 2 events"):
        explain.draw_attention(weight, ["lamp", "tea"], ["kettle"])
