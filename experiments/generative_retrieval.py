"""Items written by the digits of their content: TIGER beside SASRec on Amazon Beauty, and on new items.

    python experiments/generative_retrieval.py --record --data-dir FOLDER  # holds s3rec.zip

TIGER (https://arxiv.org/abs/2305.05065) has no vector of an item's id: does it find what follows a history,
and items that nobody had before? S3-Rec's files have no texts, so the content of an item is its attributes
(brand and categories, 637 of them), as TF-IDF on 64 axes. The codes are three digits of 256 by residual
k-means of the items that training knows, and one more that tells equal items apart: 2,461 codes of three
digits for 12,101 items, of which one stands for 204. The paper's codes are an RQ-VAE's, of title, price,
brand and category in a language model's vectors; with them it has a recall@10 of 6.5%.

Data, split and epochs are those of sequences.py, which has Popularity's and SASRec's figures of all items;
138 of its 22,363 test items are unknown to training. In the second part one item in 20 is new: it stands in
no history before the test, as 1,140 of 21,215 test items. SASRec misses them; with attributes
(`item_features`) it need not. TIGER's lists are those of a beam of 50 among all codes. Among the unseen items
alone, which then compete with each other, each is scored. TIGER is 64 wide and reads 20 events, SASRec 128
and 50.

recall@10 / ndcg@10 of one seed, 10 to 18 minutes a fit on a busy half of a core:

                          all             unseen          unseen among unseen
    TIGER, as sequences.py cuts the data
                          .048 / .025     .000 / .000     .601 / .378    33 items
    with one item in 20 new
    Popularity            .010 / .005     .000 / .000
    SASRec                .081 / .049     .000 / .000
    SASRec, attributes    .081 / .046     .009 / .003     .189 / .103
    TIGER                 .044 / .023     .001 / .000     .151 / .078

TIGER loses. With a sixth of SASRec's parameters it finds little more than half as much. It knows what new
items are like, as where they compete with each other it finds many times what chance does; but SASRec with
attributes finds more, and in lists of all items both put known ones before them. For TIGER it may be the last
digit, which says nothing of content, and which training never saw there: the paper matches new items by the
digits before it, which was not tried. The codes by RQ-VAE (`TIGER, RQ-VAE`) were not measured; untuned, its
centres tell fewer items apart (862 codes of three digits). Larger networks and longer training were not
tried either. One seed settles no small difference.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from protocols import leave_one_out
from protocols.leave_one_out import PROTOCOL, Data, everything
from protocols.sequence_fits import Fit, Ranks, following, train

from rezoo import evaluation, metrics, objectives
from rezoo.data import batches, rq_vae, semantic_ids, sessions
from rezoo.data.semantic_ids import Trie
from rezoo.datasets import s3rec
from rezoo.models import TIGER, Popularity, SASRec
from rezoo.models.baselines import feature_knn, popularity
from rezoo.types import Batch, Objective, Query, Variables

DATASET = "Beauty"
LENGTH = 20
"""Events that TIGER reads, as in its paper."""
LEVELS = 3
"""Digits of content; one more tells equal items apart."""
LISTED = 20
WIDTH = 50
"""Of the beam."""
HELD_OUT = 20
"""One item in so many is new in the second part."""
RECORDED = ("Popularity", "SASRec")
"""Whom `sequences.py` measures by the standard protocol; they miss what training never saw."""
PARTS = {"standard": PROTOCOL, "new items": f"{PROTOCOL}; one item in {HELD_OUT} in the test alone"}


@dataclass(frozen=True)
class Flags(common.Flags):
    """Which parts and models."""

    seeds: int = 1
    """Runs of each trained model."""
    parts: tuple[str, ...] = tuple(PARTS)
    """standard, new items."""
    models: tuple[str, ...] = ()
    """Names of the table; all if none is given."""


class Sizes(NamedTuple):
    """Of the models and codes."""

    dim: int
    """Of SASRec."""
    tiger_dim: int
    size: int
    """Centres of each level."""
    width: int
    """Of the vectors of content."""
    epochs: int
    tiger_epochs: int


FULL, SMALL = Sizes(128, 64, 256, 64, 20, 24), Sizes(8, 8, 4, 3, 2, 2)


def content(attribute: np.ndarray, known: np.ndarray, width: int) -> np.ndarray:
    """A vector of length 1 for each item: its attributes' TF-IDF on the main axes of those of known items."""
    tf_idf = feature_knn.tf_idf_vectors(attribute, int(attribute.max()) + 1)
    _, axes = np.linalg.eigh(tf_idf[known].T @ tf_idf[known])
    vector = tf_idf @ axes[:, -width:]
    return vector / np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), 1e-6)


def likelihood(fit: Fit, model: nn.Module, data: Data) -> tuple[Batch, Objective]:
    """The digits of the item after every event."""
    return following(data), objectives.next_item_likelihood(model)


def by_beam(trie: Trie) -> Ranks:
    """Ranks in the list that a beam finds, infinite for what it does not."""

    def ranks(
        model: nn.Module, variables: Variables, query: Query, target: jax.Array, *, exclude: jax.Array
    ) -> jax.Array:
        ids, _ = evaluation.recommend_by_beam(
            model, variables, query, trie, LISTED, width=WIDTH, exclude=exclude
        )
        here = ids[:, None, :] == target[:, :, None]
        return jnp.where(here.any(-1), 1.0 + here.argmax(-1), jnp.inf)

    return ranks


def measure(model: nn.Module, variables: Any, data: Data, ranks: Ranks, by_id: bool) -> dict[str, float]:
    """Accuracy of all targets and of those that training never saw, which a model of ids misses; and of these
    where they compete with each other alone, every one of them being scored.
    """
    query = batches.queries(history=sessions.pad(data.known, data.length))
    target, seen = jnp.asarray(data.test)[:, None], everything(data.known)
    rank = jax.jit(partial(ranks, model))(variables, query, target, exclude=seen)
    new = data.count[data.test] == 0
    rank = np.where(new[:, None] & by_id, np.inf, rank)
    groups = {"": rank, ", unseen": rank[new]}
    if new.any() and not by_id:
        groups[", unseen among unseen"] = among_new(model, variables, data, query, new)
    return {
        f"{name}@10{group}": float(metric(jnp.asarray(found), k=10).mean())
        for group, found in groups.items()
        for name, metric in (("recall", metrics.recall), ("ndcg", metrics.ndcg))
        if len(found)
    }


def among_new(model: nn.Module, variables: Any, data: Data, query: Query, asked: np.ndarray) -> np.ndarray:
    """Ranks of the targets of some users among the items that training never saw."""
    items = 1 + np.flatnonzero(data.count[1:] == 0)
    some = jax.tree.map(lambda x: x[asked], query)
    slate = jnp.asarray(np.tile(items, (int(asked.sum()), 1)), jnp.int32)
    rows = Batch(some, slate, jnp.ones(slate.shape), jnp.ones(slate.shape, bool))
    score = evaluation.predict(model, variables, rows, block=32)
    place = jnp.asarray(np.searchsorted(items, data.test[asked]))[:, None]
    every = jnp.ones(slate.shape, bool)
    return np.asarray(metrics.target_ranks(score, place, where=every, counted=jnp.ones(place.shape, bool)))


class World(NamedTuple):
    """A part of the experiment."""

    data: Data
    attribute: np.ndarray
    """`[N M]`"""
    at: Sizes


def load(part: str, smoke: bool, folder: Path | None) -> World:
    """The data of a part."""
    data = leave_one_out.load("smoke" if smoke else DATASET, folder)
    if smoke:
        item = np.arange(data.num_items, dtype=np.int32)
        attribute = np.stack([1 + item // 4, 12 + item % 3], axis=1) * (item > 0)[:, None]
    else:
        attribute = s3rec.attributes(DATASET, data.num_items, folder)
    if part == "new items":
        items = 1 + np.random.default_rng(0).permutation(data.num_items - 1)
        data = leave_one_out.without(data, items[: len(items) // HELD_OUT])
    return World(data, attribute, SMALL if smoke else FULL)


Codes = Callable[[np.ndarray, np.ndarray, int, jax.Array], tuple[Any, np.ndarray]]
"""`(vectors, known rows, size, key) -> (centres, vectors that they round)`."""


def by_k_means(vectors: np.ndarray, known: np.ndarray, size: int, key: jax.Array) -> tuple[Any, np.ndarray]:
    """Residual k-means of the vectors of known items."""
    return semantic_ids.fit(vectors[known], LEVELS, size, key), vectors


def by_rq_vae(vectors: np.ndarray, known: np.ndarray, size: int, key: jax.Array) -> tuple[Any, np.ndarray]:
    """An RQ-VAE of the same."""
    fitted = rq_vae.fit(vectors[known], LEVELS, size, key)
    return fitted.books, rq_vae.encode(fitted, vectors)


def tiger(codes: Codes, room: int, world: World, seed: int) -> tuple[Fit, dict[str, Any]]:
    """TIGER over codes of content, which as many as `room` items may share but for the last digit."""
    data, at = world.data, world.at
    known = np.flatnonzero(data.count > 0)
    books, vectors = codes(content(world.attribute, known, at.width), known, at.size, jax.random.key(seed))
    catalogue = semantic_ids.catalogue(books, vectors, room)
    digits = (*(at.size,) * LEVELS, room)
    fit = Fit(
        lambda _, length: TIGER(digits, at.tiger_dim, max_length=length, dropout=0.2),
        3e-3,
        at.tiger_epochs,
        task=likelihood,
        constants={"catalogue": catalogue},
        ranks=by_beam(semantic_ids.trie(catalogue["code"])),
        validated=2000,
        patience=at.tiger_epochs,
    )
    facts = {"distinct_codes": len(np.unique(catalogue["code"][1:, :-1], axis=0))}
    return fit, facts | {"largest_group": int(catalogue["code"][:, -1].max())}


def sasrec(world: World, seed: int) -> tuple[Fit, dict[str, Any]]:
    """SASRec as in sequences.py."""
    at = world.at
    make = partial(SASRec, num_blocks=2, num_heads=2, dropout=0.5)
    return Fit(lambda n, length: make(n, at.dim, max_length=length), 1e-3, at.epochs), {}


def sasrec_with_attributes(world: World, seed: int) -> tuple[Fit, dict[str, Any]]:
    """The same, whose items are known by their attributes too."""
    at = world.at
    features = {"attribute": int(world.attribute.max()) + 1}
    make = partial(SASRec, num_blocks=2, num_heads=2, dropout=0.5, item_features=features)
    constants = {"catalogue": {"attribute": world.attribute}}
    return Fit(lambda n, length: make(n, at.dim, max_length=length), 1e-3, at.epochs, constants=constants), {}


TRAINED: dict[str, Callable[[World, int], tuple[Fit, dict[str, Any]]]] = {
    "TIGER": partial(tiger, by_k_means, 256),
    "TIGER, RQ-VAE": partial(tiger, by_rq_vae, 512),
    "SASRec": sasrec,
    "SASRec, attributes": sasrec_with_attributes,
}


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags, data=("s3rec*",))
    dataset = "smoke" if flags.smoke else DATASET
    for part in flags.parts:
        protocol, world = PARTS[part], load(part, flags.smoke, flags.data_dir)
        data = world.data
        new = int((data.count[data.test] == 0).sum())
        print(f"{part}: {len(data.test):,} test items, {new:,} of them unseen", flush=True)

        def report(
            name: str, values: dict[str, float], seconds: float, protocol: str = protocol, **notes: Any
        ) -> None:
            with results.together():
                for metric, value in values.items():
                    results.add(name, dataset, protocol, metric, value, seconds=seconds, **notes)
            print(f"{name} {values} {seconds:.0f} s {notes}", flush=True)

        wanted = [
            name
            for name in ("Popularity", *TRAINED)
            if name in (flags.models or ("Popularity", *TRAINED))
            and (part != "standard" or name not in RECORDED)
        ]
        if "Popularity" in wanted and not results.values("Popularity", dataset, protocol, "recall@10"):
            begun = time.monotonic()
            counts = popularity.fit(sessions.pad(data.train, data.length), data.num_items)
            found = measure(Popularity(data.num_items), counts, data, evaluation.ranks, by_id=True)
            report("Popularity", found, time.monotonic() - begun)
        for name in [name for name in wanted if name in TRAINED]:
            for seed in range(len(results.values(name, dataset, protocol, "recall@10")), flags.seeds):
                fit, facts = TRAINED[name](world, seed)
                read = data._replace(length=min(LENGTH, data.length)) if "TIGER" in name else data
                model, run = train(fit, read, seed, results.out / f"{part}-{name}-{seed}")
                facts["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(run.best["params"]))
                found = measure(model, run.best, read, fit.ranks, by_id=name == "SASRec")
                report(name, found, run.seconds, epochs=int(run.best_epoch), unseen=new, **facts)
    results.finish()


if __name__ == "__main__":
    main()
