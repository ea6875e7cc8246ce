"""The next item of a long history: leave one out, ranked among all items.

    python experiments/sequences.py --record --data-dir FOLDER  # ml-1m, s3rec, amazon-beauty-bert4rec

Of each user the last item is the test, the last but one the validation, all before them training;
ML-1M without movies of fewer than five ratings (6,040 users, 3,416 movies), ratings of one second in
the order of the file; Beauty, Sports and Toys as S3-Rec made them (https://arxiv.org/abs/2008.07873), and
BERT4Rec's larger Beauty (https://arxiv.org/abs/1904.06690). What a user has is not ranked. Test items that
training never saw are misses: none of ML-1M's 6,040, 138 of Beauty's 22,363, 317 of 35,598 (Sports), 279 of
19,412 (Toys) and 4,018 of 40,226 (BERT4Rec's Beauty). A model reads the newest `LENGTH` events; 1,572, 144,
83, 112 and 235 histories are longer.

To compare with on ML-1M, by RecTools and generative-recommenders (recall@10 / ndcg@10): SASRec .305/.175,
GRU4Rec .281/.165. Ours, and minutes of a seed on a CPU core, which on ML-1M was busy (HSTU had half of one
for the first of its seeds there, of 36 minutes, and on Toys, BERT4Rec half, eSASRec a third). GRU4Rec and
SASRec have five seeds on Beauty and Toys, all others three, but for BERT4Rec, and Blend and eSASRec on ML-1M,
which have one. Standard errors are .001 at most, but on ML-1M .002 (GRU4Rec, NextItNet,
HSTU) and .004 (Caser):

                 ml-1m            Beauty           Toys             Sports           amazon-beauty-bert4rec
    Popularity   .037/.018        .012/.006        .009/.005        .009/.005        .008/.004
    CoOccurrence .207/.123        .067/.044        .070/.048        .037/.023        .042/.029
    NextItNet    .286/.164   7    .077/.049   2    .078/.052   2    .042/.026   4    .045/.029  10
    Caser        .271/.159   6    .060/.037   2    .046/.030   1    .027/.016   2    .033/.021   4
    BERT4Rec     .296/.167 141                                                         .035/.019  57
    GRU4Rec      .303/.176   7    .079/.046   3    .075/.045   3    .047/.026   2    .047/.027   6
    SASRec       .312/.182  23    .087/.053   4    .087/.054   4    .051/.030   3    .054/.033   7
    eSASRec      .319/.183  81    .091/.055   4    .094/.059   3    .051/.030   4
    LRURec                        .072/.041   5    .064/.038   4
    FuXi                          .091/.055  15    .092/.059   3    .051/.030   4
    HSTU         .317/.184  19    .091/.056   2    .096/.060  28    .050/.030   3
    Blend        .339/.199  52    .098/.060  16    .102/.065  17    .060/.035  19
    refitted     HSTU             .106/.065   3    .115/.072   2
                 eSASRec                                            .061/.036   5

Blend is HSTU, SASRec, GRU4Rec and CoOccurrence as one, on the small sets eSASRec, too, with the weights under
which the validation items of 2,000 users are most likely, among the hundred best items of each part. All have
a share, but for eSASRec on Toys. Its minutes are those of all of them.

The last two lines, a protocol of their own (--refit), were trained on all but the test items, the validation
items too, for all epochs of the settings, none of which is judged. On the small sets that is worth a sixth,
as the event before the test item is one of nine; what others publish there is without it, as far as their
code tells.

eSASRec, HSTU, FuXi and LRURec have SASRec's settings. Those published for eSASRec by
https://github.com/blondered/transformer_benchmark (64 wide, one block, 256 uniform items in a softmax) learn
in fewer steps and end a tenth lower on Beauty's validation part. Those of its files (256 wide, dropout .2)
end lower on Sports, too, where no setting that was tried beats the present one. One seed each, recall@10 /
ndcg@10 in percent of the validation items of the same 6,100 users:

    eSASRec as in the table, 20 epochs                                6.4 / 3.8
    published: 1 block, 1 head, 256 uniform items, 8 epochs           5.2 / 3.2
    the same with dropout .5                                          5.2 / 3.1, rising
    the same with positions counted from the end                      5.1 / 3.2
    1 block, 256 wide, 2,048 items, rate 2e-3, best of 14 epochs      6.2 / 3.6

Theirs draw 256 items for each event, here a step shares its draw.

On Toys, in 12 epochs and by 12,200 users, 2,048 uniform items in place of those by the root of their counts
changed nothing (8.3 / 5.2), nor did scores lowered to weigh as 256. Rate 2e-3 learnt much faster
(11.3 / 7.1), one block 256 wide at that rate as fast (11.2 / 7.1), a fifth of the events hidden slower
(10.1 / 6.4). At the table's rate, twice the width reached 10.4 / 6.6, and small initial vectors that are not
multiplied by √D 3.9 / 2.1. None passes what HSTU reaches there in 20 epochs, 11.6 / 7.3 by the 6,100 users.

With the settings that https://github.com/antklen/sasrec-bert4rec-recsys23 tells of BERT4Rec (64 wide, a fifth
of the events hidden, a history a row) ours ended a tenth behind its .2843/.1537 on ML-1M after 100 epochs.
Twice as wide, and with half of the events hidden, it learns in one epoch what took it two, and rows of
several histories halve the time; of 80 epochs the best was the last but one, of 120 it was the 102nd. On its
own Beauty, where that code has .0338/.0187, 64 wide and 40 epochs at half the rate ended a sixth behind that.
SASRec with gSASRec's loss ("SASRec, gbce") was not tuned. HSTU and FuXi read positions and no times.

The convolutions want a higher rate on the small sets than the others, found on Beauty's validation part: with
8e-3 in place of 1e-3 NextItNet is ahead there by a half and passes what merely counts, Caser has 4e-3 and 8
epochs and stays behind it. LRURec's best epoch is its last or nearly so; it has the others' rate.

Models are trained with a softmax after every event of the last `LENGTH`, over all items on ML-1M and
over 2,048 sampled ones elsewhere, which on Beauty learns as much in a step and takes a third of the time.
The epoch is chosen by ndcg@10 on the validation items of 6,100 users at most, and the validation
item is then part of the history that the test is asked from. Baselines only count.

What made ML-1M's figures were small steps (8 rows of 200 events) at a high rate, and a width of 128: with 32
rows, at half the rate and 64 wide, SASRec was behind what it is compared with. Training again on all but the
test items changed nothing.

SASRec on ML-1M, Beauty and Toys, GRU4Rec on Beauty and Toys and Caser on BERT4Rec's Beauty were trained on an
NVIDIA H200, all at once, where a fit takes 20 to 40 seconds; on a CPU SASRec's first seed has .307/.180 on
ML-1M.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
from protocols import blended
from protocols.leave_one_out import PROTOCOL, Data, everything, load
from protocols.next_items import by_length
from protocols.sequence_fits import Fit, following, refit, train, whole

from rezoo import evaluation, losses, metrics, objectives
from rezoo.data import batches, sessions
from rezoo.models import (
    HSTU,
    BERT4Rec,
    Caser,
    CoOccurrence,
    FuXi,
    GRU4Rec,
    LRURec,
    NextItNet,
    Popularity,
    SASRec,
    SessionPopularity,
    eSASRec,
)
from rezoo.models.baselines import cooccurrence, popularity
from rezoo.nn.attention import LiGR
from rezoo.training import loop
from rezoo.types import Batch, Objective

CUTS = (10, 20)
REFITTED = "; trained on the validation items too"
SMOKE = ("CoOccurrence", "SASRec", "BERT4Rec", "Blend")
BLENDED = {"ml-1m": ("HSTU", "SASRec", "GRU4Rec", "CoOccurrence"), "smoke": ("SASRec", "CoOccurrence")}
"""What `Blend` is made of, on the small sets `SMALL`; the networks have the runs of their own rows."""
SMALL = ("HSTU", "SASRec", "eSASRec", "GRU4Rec", "CoOccurrence")


@dataclass(frozen=True)
class Flags(common.Flags):
    """Which data sets and models."""

    dataset: tuple[str, ...] = (
        "ml-1m", "Beauty", "Sports_and_Outdoors", "Toys_and_Games", "amazon-beauty-bert4rec",
    )  # fmt: skip
    """ml-1m, amazon-beauty-bert4rec, or a name of S3-Rec's files."""
    models: tuple[str, ...] = ()
    """Names of the table; all if none is given."""
    seeds: int = 1
    """Runs of each trained model."""
    refit: bool = False
    """Train on the validation items, too, for all epochs of the settings; baselines are left out."""


def gbce(fit: Fit, model: nn.Module, data: Data) -> tuple[Batch, Objective]:
    """gSASRec's: yes to the item after every event and no to uniform ones, calibrated by three quarters."""
    negatives = min(fit.negatives or data.num_items, data.num_items - 2)
    loss = partial(losses.gbce, rate=negatives / (data.num_items - 2), t=0.75)
    uniform = jnp.ones(data.num_items)
    return following(data), objectives.next_item_sampled(model, loss, uniform, negatives, corrected=False)


def cloze(fit: Fit, model: nn.Module, data: Data) -> tuple[Batch, Objective]:
    """BERT4Rec's: hidden events of whole histories."""
    return whole(data.train, data.length, packed=True), objectives.cloze(model, 0.5)


PUBLISHED = {
    "ml-1m": {
        "SASRec": (0.305, 0.175),
        "GRU4Rec": (0.281, 0.165),
        "BERT4Rec": (0.2843, 0.1537),
        "eSASRec": (0.3133, 0.1772),
        "HSTU": (0.3037, 0.1719),
        "FuXi": (0.3164, 0.1813),
    },
    "Beauty": {"eSASRec": (0.0928, 0.0523), "HSTU": (0.0788, 0.0439), "FuXi": (0.0809, 0.0451)},
    "Sports": {"eSASRec": (0.0560, 0.0323), "HSTU": (0.0437, 0.0243), "FuXi": (0.0437, 0.0244)},
    "Toys": {"eSASRec": (0.0939, 0.0538), "HSTU": (0.0778, 0.0450), "FuXi": (0.0765, 0.0437)},
    "amazon-beauty-bert4rec": {"BERT4Rec": (0.0338, 0.0187)},
}
"""recall@10 and ndcg@10."""


def fits(dataset: str) -> dict[str, Fit]:
    """The trained models."""
    if dataset == "ml-1m":
        steps = {"events": 1600, "negatives": None}
        return {
            "SASRec": Fit(
                lambda n, length: SASRec(n, 128, num_blocks=2, num_heads=2, max_length=length, dropout=0.2),
                2e-3,
                16,
                **steps,
            ),
            "GRU4Rec": Fit(lambda n, length: GRU4Rec(n, 64, tied=True, dropout=0.2), 5e-3, 20, **steps),
            "NextItNet": Fit(
                lambda n, length: NextItNet(n, 64, dilations=(1, 2, 4, 8), dropout=0.2), 2e-3, 20, **steps
            ),
            "Caser": Fit(lambda n, length: Caser(n, 64, dropout=0.2), 2e-3, 20, **steps),
        } | later(dataset)
    dim, epochs, few = (8, 2, 2) if dataset == "smoke" else (128, 20, 8)
    return {
        "SASRec": Fit(
            lambda n, length: SASRec(n, dim, num_blocks=2, num_heads=2, max_length=length, dropout=0.5),
            1e-3,
            epochs,
        ),
        "GRU4Rec": Fit(lambda n, length: GRU4Rec(n, dim, tied=True, dropout=0.5), 3e-3, epochs),
        "NextItNet": Fit(lambda n, length: NextItNet(n, dim, dilations=(1, 4), dropout=0.5), 8e-3, epochs),
        "Caser": Fit(lambda n, length: Caser(n, dim, dropout=0.5), 4e-3, few),
    } | later(dataset)


def later(dataset: str) -> dict[str, Fit]:
    """Models that came after SASRec."""
    width = 8 if dataset == "smoke" else 128
    blocks: dict[str, Any] = {"num_blocks": 2, "num_heads": 2}
    if dataset == "ml-1m":
        dropout, light = 0.2, 0.2
        how: dict[str, Any] = {"rate": 2e-3, "num_epochs": 16, "events": 1600, "negatives": None}
        long: dict[str, Any] = {"rate": 1e-3, "num_epochs": 120}
    else:
        dropout, light = 0.5, 0.3
        how = {"rate": 1e-3, "num_epochs": 2 if dataset == "smoke" else 20}
        long = {"rate": 2e-3, "num_epochs": 2 if dataset == "smoke" else 60}
    gated = partial(LiGR, widen=2)
    return {
        "eSASRec": Fit(
            lambda n, length: eSASRec(n, width, max_length=length, dropout=dropout, block=gated, **blocks),
            **how,
        ),
        "HSTU": Fit(lambda n, length: HSTU(n, width, max_length=length, dropout=dropout, **blocks), **how),
        "FuXi": Fit(lambda n, length: FuXi(n, width, max_length=length, dropout=dropout, **blocks), **how),
        "LRURec": Fit(lambda n, length: LRURec(n, width, dropout=dropout), **how),
        "SASRec, gbce": Fit(
            lambda n, length: SASRec(n, width // 2, max_length=length, dropout=0.2, **blocks),
            1e-3,
            2 if dataset == "smoke" else 100,
            events=1600,
            negatives=256,
            patience=10,
            task=gbce,
        ),
        "BERT4Rec": Fit(
            lambda n, length: BERT4Rec(n, width, max_length=length, dropout=light, **blocks),
            **long,
            events=1600,
            patience=20,
            task=cloze,
        ),
    }


BASELINES = ("Popularity", "SessionPopularity", "CoOccurrence")


def baselines(data: Data) -> Iterator[tuple[str, nn.Module, Any]]:
    """`BASELINES`, which only count."""
    history = sessions.pad(data.train, data.length)
    counts = popularity.fit(history, data.num_items)
    yield "Popularity", Popularity(data.num_items), counts
    yield "SessionPopularity", SessionPopularity(data.num_items), counts
    fitted = cooccurrence.fit(history, data.num_items)
    yield "CoOccurrence", CoOccurrence(data.num_items, len(fitted["params"]["follower"])), fitted


def measure(model: nn.Module, variables: Any, data: Data) -> dict[str, float]:
    """Accuracy, and what the lists are like."""
    query, target = (
        batches.queries(history=sessions.pad(data.known, data.length)),
        jnp.asarray(data.test)[:, None],
    )
    seen = everything(data.known)
    count = jnp.asarray(data.count, jnp.float32)
    rank = jax.jit(partial(evaluation.ranks, model))(variables, query, target, exclude=seen)
    rank = jnp.where(count[target] > 0, rank, jnp.inf)  # what training never saw is a miss
    ids, _ = jax.jit(lambda v, q, e: evaluation.recommend(model, v, q, 20, exclude=e))(variables, query, seen)
    found = {f"recall@{k}": float(metrics.recall(rank, k=k).mean()) for k in CUTS}
    found |= {f"ndcg@{k}": float(metrics.ndcg(rank, k=k).mean()) for k in CUTS}
    found["mrr@20"] = float(metrics.mrr(rank, k=20).mean())
    found["precision@20"] = float(metrics.precision(rank, k=20).mean())
    found["coverage@20"] = float(metrics.coverage(ids, data.num_items))
    found["gini@20"] = float(metrics.gini(ids, data.num_items))
    found["mean_popularity@20"] = float(metrics.mean_popularity(ids, count))
    return found | by_length(metrics.recall(rank, k=20), data.known.lengths, (10, 50, 200))


def measure_all(dataset: str, flags: Flags, results: common.Results) -> None:
    """The rows of a data set that are wanted and not there yet."""
    data, trained = load(dataset, flags.data_dir), fits(dataset)
    data = data._replace(train=data.known) if flags.refit else data
    protocol = PROTOCOL + REFITTED * flags.refit
    named = {"Sports_and_Outdoors": "Sports", "Toys_and_Games": "Toys"}.get(dataset, dataset)
    wanted = flags.models or (SMOKE if flags.smoke else (*trained, *BASELINES, "Blend"))

    def seeds_left(name: str, seeds: int = flags.seeds) -> range:
        done = len(results.values(name, named, protocol, "recall@10"))
        return range(done, seeds if name in wanted else 0)

    def fitted(name: str, seed: int) -> tuple[nn.Module, loop.Run]:
        folder = results.out / f"{named}-{name}{', refitted' * flags.refit}-{seed}"
        return (refit if flags.refit else train)(trained[name], data, seed, folder)

    def add(name: str, model: nn.Module, variables: Any, seconds: float | None = None, **notes: Any) -> None:
        start = time.monotonic()
        values = measure(model, variables, data)
        seconds = time.monotonic() - start if seconds is None else seconds
        figures = () if flags.refit else PUBLISHED.get(named, {}).get(name, ())
        published: dict[str, float] = dict(zip(("recall@10", "ndcg@10"), figures, strict=False))
        with results.together():
            for metric, value in values.items():
                told = {"seconds": seconds, "published": published.get(metric), **notes}
                results.add(name, named, protocol, metric, value, **told)
        print(f"{named}: {name} " + ", ".join(f"{k} {v:.4f}" for k, v in values.items()), flush=True)

    counted = () if flags.refit else tuple(baselines(data))
    for name, model, variables in counted:
        for _ in seeds_left(name, 1):
            add(name, model, variables)
    for name, fit in trained.items():
        for seed in seeds_left(name):
            model, run = fitted(name, seed)
            epochs = fit.num_epochs if flags.refit else int(run.best_epoch)
            add(name, model, run.best, run.seconds, epochs=epochs)
    for seed in seeds_left("Blend", 0 if flags.refit else flags.seeds):
        names = BLENDED.get(dataset, SMALL)
        runs = {name: fitted(name, seed) for name in names if name in trained}
        counts = {name: (model, variables) for name, model, variables in counted if name in names}
        query, seen = batches.queries(history=sessions.pad(data.train, data.length)), everything(data.train)
        model, variables, seconds, weights = blended.fit(
            runs, counts, data.num_items, query, data.valid, seen
        )
        add("Blend", model, variables, seconds, weights=weights)


def main() -> None:
    flags, results = common.start(
        __file__, __doc__, Flags, data=("ml-1m*", "s3rec*", "amazon-beauty-bert4rec", "beauty.txt*")
    )
    datasets = ("smoke",) if flags.smoke else flags.dataset
    for dataset in datasets:
        common.check_names("models", flags.models, [*fits(dataset), *BASELINES, "Blend"], all_by_none=True)
    for dataset in datasets:
        measure_all(dataset, flags, results)
    results.finish()


if __name__ == "__main__":
    main()
