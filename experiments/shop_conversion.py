"""What is bought after a click: ESMM and AITM against a model that saw clicked products only.

    python experiments/shop_conversion.py --record

The simulated shop shows products at random; some are clicked, some of these bought. A conversion
model is trained on clicked rows, whose shoppers like their products more than others do, and is then
asked about every product that is shown. Real data cannot tell how good it is there, as nobody knows
what would have been bought had it been clicked; the simulation can. Unbiased AUC: every impression of
the test part, with a purchase drawn from its true probability given a click (a key of its own). AUC
on clicks: what a real log would show. The oracle is that probability itself.

All have the same widths; the penalty (for all seeds) and the number of epochs (for each) are chosen by what
a real log can tell on a tenth of the training part: the AUC on its clicks. (AITM chooses
the smallest penalty of the three, the others the largest; one ESMM of five stops at epoch 2, for which its
validation is to blame.) AITM has the paper's penalty for purchases likelier than clicks; its conversion is
P(purchase) / P(click).

AUC over all that was shown, 5 seeds, ten minutes on one very busy CPU core:

                       AUC              gain
    on clicks alone    0.631 ± 0.001
    AITM               0.650 ± 0.002    0.019 ± 0.003
    ESMM               0.656 ± 0.007    0.025 ± 0.009
    oracle             0.776
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tensorflow_datasets as tfds
from protocols.several_tasks import impressions

from rezoo import losses, metrics, objectives, training
from rezoo.datasets import shop, shop_builder
from rezoo.models import AITM, ESMM, SharedBottom
from rezoo.studies import sweep
from rezoo.types import Batch, Loss, Objective

PROTOCOL = "click → purchase, held-out fifth, {rows} impressions"
WIDTHS = (64, 32)


class Data(NamedTuple):
    """Impressions in three parts, and what their test part would have bought."""

    train: Batch
    valid: Batch
    test: Batch
    would_buy: jax.Array
    truth: jax.Array
    sizes: dict[str, int]
    catalogue: dict[str, jax.Array]


class Budget(NamedTuple):
    """Of each run."""

    epochs: int = 15
    batch_size: int = 1024
    rate: float = 0.002
    l2: tuple[float, ...] = (1e-4, 1e-3, 1e-2)


def prepare(config: shop.ShopConfig, folder: Path) -> Data:
    """The shop's impressions; a shopper whom training does not know is id 0."""
    made = shop_builder.load(config, data_dir=folder)
    train, valid, test = impressions(made)
    asked = made.impressions[1]
    pairs = jnp.asarray(asked["user"]), jnp.asarray(asked["item"])
    truth = shop.purchase_logit(made.world, *pairs)
    would_buy = jax.random.uniform(jax.random.key(2024), truth.shape) < jax.nn.sigmoid(truth)
    truths = would_buy.astype(jnp.float32), truth
    return Data(train, valid, test, *truths, made.table_rows, made.catalogue)


def fit(
    model: nn.Module, objective: Objective, data: Data, at: Budget
) -> Callable[..., dict[str, jax.Array]]:
    """`(key, l2) -> AUCs of the conversion score after each epoch`."""

    def score(variables: Any, batch: Batch) -> jax.Array:
        scores: Any = model.apply(variables, batch.query, batch.item, method="tasks")
        if "conversion" in scores:
            return scores["conversion"]
        return jax.nn.log_sigmoid(scores["purchase"]) - jax.nn.log_sigmoid(scores["click"])

    def aucs(variables: Any) -> dict[str, jax.Array]:
        test, clicked = score(variables, data.test), data.test.tasks["conversion"]
        valid = data.valid.tasks["conversion"]
        return {
            "valid": metrics.auc(score(variables, data.valid), valid.label, where=valid.where),
            "unbiased auc": metrics.auc(test, data.would_buy),
            "auc on clicks": metrics.auc(test, clicked.label, where=clicked.where),
        }

    def train(key: jax.Array, l2: jax.Array) -> dict[str, jax.Array]:
        optimizer = optax.adam(at.rate)
        step = training.make_step(objectives.l2(objective, l2), optimizer)
        constants = {"catalogue": data.catalogue}
        state = training.init_state(key, model, optimizer, data.train, constants=constants)
        options = {"num_epochs": at.epochs, "batch_size": at.batch_size}
        return training.fit(step, state, data.train, aucs, **options)[1]

    return train


def main() -> None:
    flags, results = common.start(__file__, __doc__)
    tfds.disable_progress_bar()
    small = shop.ShopConfig(shoppers=200, products=60, ratings_per_shopper=5, impressions=4000, sessions=50)
    config = small if flags.smoke else shop.ShopConfig()
    at = Budget(2, 512, l2=(1e-3,)) if flags.smoke else Budget()
    seeds = 2 if flags.smoke else flags.seeds
    data = prepare(config, results.out / "shop")
    key = "shop", PROTOCOL.format(rows=f"{config.impressions:,}")
    clicked = data.train._replace(where=data.train.tasks["conversion"].where)
    clicked = jax.tree.map(lambda x: x[np.flatnonzero(clicked.where)], clicked)
    alone = SharedBottom(data.sizes, ("conversion",), 8, widths=(), tower=WIDTHS)
    steps = "click", "purchase"
    both: dict[str, Loss] = dict.fromkeys(steps, losses.logistic)
    esmm, aitm = ESMM(data.sizes, 8, widths=WIDTHS), AITM(data.sizes, steps, 8, widths=WIDTHS)
    on_clicks = objectives.multi_task(alone, {"conversion": losses.logistic})
    models = {
        "ConversionOnClicks": (alone, on_clicks, data._replace(train=clicked)),
        "ESMM": (esmm, objectives.multi_task(esmm, both), data),
        "AITM": (aitm, objectives.in_order(aitm, both, steps), data),
    }
    for name, (model, objective, rows) in models.items():
        if len(results.values(name, *key, "unbiased auc")) >= seeds:
            continue
        start = time.monotonic()
        train, grid = fit(model, objective, rows, at), {"l2": jnp.array(at.l2)}
        studied = jax.device_get(sweep.study(train, sweep.keys(seeds), grid, at_once=1))
        seconds = time.monotonic() - start
        chosen = int(studied["valid"].max(axis=2).mean(axis=1).argmax())
        history = {metric: values[chosen] for metric, values in studied.items()}
        epoch = history["valid"].argmax(axis=1)
        with results.together():
            for metric in ("unbiased auc", "auc on clicks"):
                values = history[metric][np.arange(seeds), epoch].tolist()
                results.add(
                    name,
                    *key,
                    metric,
                    values,
                    seconds=seconds / 2,
                    epochs=(epoch + 1).tolist(),
                    l2=at.l2[chosen],
                )
    if not results.values("Oracle", *key, "unbiased auc"):
        test = data.test.tasks["conversion"]
        observed = float(metrics.auc(data.truth, test.label, where=test.where))
        with results.together():
            results.add(
                "Oracle", *key, "unbiased auc", float(metrics.auc(data.truth, data.would_buy)), seconds=0.0
            )
            results.add("Oracle", *key, "auc on clicks", observed, seconds=0.0)
    alone_values = results.values("ConversionOnClicks", *key, "unbiased auc")
    for name in ("ESMM", "AITM"):
        if not results.values(name, *key, "gain in unbiased auc"):
            gain = np.subtract(results.values(name, *key, "unbiased auc"), alone_values)
            results.add(name, *key, "gain in unbiased auc", gain.tolist(), seconds=0.0)
    results.finish()


if __name__ == "__main__":
    main()
