"""iALS' half steps and item-kNN against implicit's."""

import jax
import jax.numpy as jnp
import numpy as np
from helpers import score_all
from peers.common import HISTORY, ITEMS, MARKS, agree, asked

from rezoo.models import ItemKNN
from rezoo.models.factorization import ials, item_knn
from rezoo.models.factorization.least_squares import cholesky

pytestmark = MARKS
ALPHA, L2 = 0.25, 0.1
DISTINCT = HISTORY.copy()
DISTINCT[0, 3] = 0  # an item that was taken before


def test_ials():
    """Its vectors are 1 + α times ours.

    Its confidence c of an observed pair is 1 + 1/α, and its target 1 is weighed by all of c, where ours is
    weighed by 1 beside α times a target of 0.
    """
    import implicit
    import scipy.sparse

    weights = ials.Weights(ALPHA, L2, 0.0)
    user, place = np.nonzero(HISTORY)
    item = HISTORY[user, place]
    options = {"weights": weights, "num_epochs": 3, "stddev": 1.0, "solve": cholesky}
    ours = ials.fit(jax.random.key(0), user + 1, item, len(HISTORY) + 1, ITEMS, 4, **options)
    p, q = (np.array(ours["params"][name]["embedding"]) for name in ("user", "item"))
    taken = np.zeros((len(HISTORY), ITEMS), np.float32)
    taken[user, item] = 1 + 1 / ALPHA
    theirs = implicit.als.AlternatingLeastSquares(4, regularization=L2 / ALPHA, use_gpu=False, alpha=1.0)
    theirs.user_factors, theirs.item_factors = p[1:], q
    items = theirs.recalculate_item(np.arange(ITEMS), scipy.sparse.csr_matrix(taken.T))
    agree((1 + ALPHA) * q, items)
    users = theirs.recalculate_user(np.arange(len(HISTORY)), scipy.sparse.csr_matrix(taken))
    new = ials.with_users(ours, jnp.array(DISTINCT), weights=weights)["params"]["user"]["embedding"]
    agree((1 + ALPHA) * new[1:], users)


def test_item_knn():
    """With all items as neighbours; ours leaves out the item itself, which is its own first."""
    import implicit
    import scipy.sparse

    taken = np.zeros((len(HISTORY), ITEMS))
    taken[np.arange(len(HISTORY))[:, None], HISTORY] = 1
    taken[:, 0] = 0
    theirs = implicit.nearest_neighbours.CosineRecommender(K=ITEMS + 1)
    theirs.fit(scipy.sparse.csr_matrix(taken), show_progress=False)
    similarity = theirs.similarity.toarray()
    np.fill_diagonal(similarity, 0.0)
    ours = score_all(ItemKNN(ITEMS), item_knn.fit(HISTORY, ITEMS, neighbours=ITEMS), asked())
    agree(ours, taken @ similarity)
