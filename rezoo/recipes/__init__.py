"""Recipes: from a log to a model that answers, with settings that serve most logs.

    log = files.read("purchases.csv")
    model = recipes.bpr(log, jax.random.key(0))
    answers.recommend(model, ["ann"], 10)           # user, rank, item, score

Each recipe is a plain function `recipe(log, key, **settings) -> Saved`, made to be copied and changed.
`biased_mf` and `svdpp` predict ratings, `wide_deep` reads features of users and items; the others learn from
events alone. What a recipe returns can be kept by `rezoo.serving.saved.save`. `key` is that of all
randomness; recipes without randomness ignore it.

`compare` says which recipe is best for a log:

    compare(log, [recipes.popularity, recipes.buy_again, recipes.bpr], jax.random.key(0))

Recipes with `**run` train epoch by epoch, and hand those arguments to `rezoo.training.loop.run`: `progress=`
shows how far they are, and with `folder=` a run that is stopped goes on where it was.
"""

from rezoo.recipes.baselines import buy_again, co_occurrence, popularity, tifu_knn, upcf
from rezoo.recipes.comparison import Comparison, compare
from rezoo.recipes.factorization import biased_mf, bpr, ease, ials, item_knn, svdpp
from rezoo.recipes.networks import neumf, wide_deep
from rezoo.recipes.sequences import gru4rec, sasrec

__all__ = [
    "Comparison",
    "biased_mf",
    "bpr",
    "buy_again",
    "co_occurrence",
    "compare",
    "ease",
    "gru4rec",
    "ials",
    "item_knn",
    "neumf",
    "popularity",
    "sasrec",
    "svdpp",
    "tifu_knn",
    "upcf",
    "wide_deep",
]
