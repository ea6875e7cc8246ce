"""Several tasks of one census: alone, by a shared bottom, MMoE, CGC and PLE, with as many parameters.

    python experiments/census_multitask.py --record --data-dir FOLDER  # holds the Census-Income (KDD) files

The two groups of tasks of Ma 2018 (MMoE, https://doi.org/10.1145/3219819.3220007), section 5.2:
income over 50,000 $ beside never married, and education of at least some college beside never
married. The test file is halved at random (seed 0) into validation and test. Neither the columns of a
group's tasks nor the income nor the survey's weight of a row are among its features.
Every model has about as many parameters between the embeddings and the scores, the single-task network
for each task, and the same learning rate; each run's epoch is chosen on the validation half, by the
mean AUC of its tasks. `CGC` is PLE with one level; `PLE` has two, of narrower experts. A gain is the
difference to the single-task network of the same seed.

AUC of the tasks, 5 seeds, nine minutes on 2 busy CPU cores:

                    income, never married       college, never married
    SingleTask      .9491, .9947                .8912, .9945
    SharedBottom    .9474, .9946                .8898, .9945
    MMoE            .9478, .9946                .8890, .9945
    CGC             .9480, .9946                .8893, .9945
    PLE             .9478, .9946                .8889, .9945

A network for each task alone is better at income and college by .001 to .002, which is 2.7 to 15 standard
errors; never married is the same for all. The tasks' gradients are almost orthogonal (cosines of -.03 to
.05): the tasks help each other little, and share their parameters.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import common
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from protocols.several_tasks import GROUPS, PROTOCOL, SPECS, Data, made_up, prepare

from rezoo import evaluation, losses, metrics, objectives, training
from rezoo.datasets import census
from rezoo.models import PLE, MMoE, SharedBottom
from rezoo.objectives import weighting
from rezoo.studies import sweep

RATES = (2e-3,)
"""Of several, the best for each model is chosen on the validation half with seed 0."""
MODELS: dict[str, Callable[..., nn.Module]] = {
    "SingleTask": partial(SharedBottom, widths=(128,), tower=(16,)),
    "SharedBottom": partial(SharedBottom, widths=(128,), tower=(16,)),
    "MMoE": partial(MMoE, experts=8, widths=(16,), tower=(16,)),
    "CGC": partial(PLE, levels=1, num_task_experts=3, num_shared_experts=2, widths=(16,), tower=(16,)),
    "PLE": partial(PLE, levels=2, num_task_experts=3, num_shared_experts=2, widths=(14,), tower=(16,)),
}


class Budget(NamedTuple):
    """Of each run."""

    dim: int = 4
    epochs: int = 4
    batch_size: int = 1024


def fit(
    make: Callable[..., nn.Module], data: Data, tasks: Sequence[str], budget: Budget
) -> Callable[[jax.Array, jax.Array], dict[str, jax.Array]]:
    """`(key, learning rate) -> AUCs after each epoch`, on both halves, and the cosine of the gradients
    of two tasks after the last one.
    """
    model = make(data.sizes, tuple(tasks), budget.dim)
    loss = dict.fromkeys(tasks, losses.logistic)
    head = jax.tree.map(lambda x: x[: 8 * budget.batch_size], data.train)

    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), data.valid, data.test)
    parts = {"valid": slice(len(data.valid.item)), "test": slice(len(data.valid.item), None)}

    def aucs(variables: Any) -> dict[str, jax.Array]:
        score = evaluation.predict_tasks(model, variables, both)
        return {
            f"{part} {task}": metrics.auc(score[task][rows], both.tasks[task].label[rows])
            for task in tasks
            for part, rows in parts.items()
        }

    @jax.jit
    def train(key: jax.Array, rate: jax.Array) -> dict[str, jax.Array]:
        optimizer = optax.adam(rate)
        step = training.make_step(objectives.multi_task(model, loss), optimizer)
        state = training.init_state(key, model, optimizer, data.train)
        state, history = training.fit(
            step, state, data.train, aucs, num_epochs=budget.epochs, batch_size=budget.batch_size
        )
        end = jax.random.fold_in(state.key, state.step)
        conflict = weighting.conflict(model, loss, state.variables, end, head)
        return history | {name: jnp.full(budget.epochs, value) for name, value in conflict.items()}

    return train


def parameters(make: Callable[..., nn.Module], data: Data, tasks: Sequence[str], dim: int) -> int:
    """Numbers that a model learns, without its embeddings."""
    row = jax.tree.map(lambda x: x[:1], data.train)
    shapes = jax.eval_shape(make(data.sizes, tuple(tasks), dim).init, jax.random.key(0), row.query, row.item)
    own = {name: leaf for name, leaf in shapes["params"].items() if name != "inputs"}
    return sum(leaf.size for leaf in jax.tree.leaves(own))


def best(history: Mapping[str, jax.Array], tasks: Sequence[str]) -> tuple[float, dict[str, float]]:
    """The best epoch's validation AUC, mean over tasks, and what was measured in it."""
    valid = np.mean([np.asarray(history[f"valid {task}"]) for task in tasks], axis=0)
    at = int(valid.argmax())
    return float(valid[at]), {name: float(column[at]) for name, column in history.items()} | {"epoch": at + 1}


def main() -> None:
    flags, results = common.start(__file__, __doc__, data=("census-income*",))
    table = made_up() if flags.smoke else census.load(flags.data_dir)
    budget = Budget(4, 1, 256) if flags.smoke else Budget()
    seeds = 1 if flags.smoke else flags.seeds
    dataset = "made up" if flags.smoke else "census-income-kdd"
    for group, tasks in list(GROUPS.items())[: 1 if flags.smoke else 2]:
        data = prepare(table, tasks, {n: SPECS[n] for n in list(SPECS)[:5]} if flags.smoke else SPECS)
        for name, make in MODELS.items():
            for heads in [(task,) for task in tasks] if name == "SingleTask" else [tasks]:
                run(results, data, name, make, heads, dataset, PROTOCOL.format(group=group), budget, seeds)
    gains(results)
    results.finish()


def run(
    results: common.Results,
    data: Data,
    name: str,
    make: Callable[..., nn.Module],
    tasks: Sequence[str],
    dataset: str,
    protocol: str,
    budget: Budget,
    seeds: int,
) -> None:
    """Every seed that is missing of one model."""
    row: dict[str, Any] = {"dataset": dataset, "protocol": protocol}
    done = len(results.values(name, **row, metric=f"auc {tasks[-1]}"))
    if done >= seeds:
        return
    train, start = fit(make, data, tasks, budget), time.monotonic()
    size = parameters(make, data, tasks, budget.dim)
    tried = {rate: best(train(sweep.keys(1)[0], jnp.float32(rate)), tasks) for rate in RATES}
    rate = max(tried, key=lambda r: tried[r][0])
    for seed in range(done, seeds):
        measured = (
            tried[rate] if seed == 0 else best(train(sweep.keys(seeds)[seed], jnp.float32(rate)), tasks)
        )
        seconds, start = time.monotonic() - start, time.monotonic()
        with results.together():
            for task in tasks:
                value = measured[1][f"test {task}"]
                notes = {"seconds": seconds / len(tasks), "rate": rate, "parameters": size}
                results.add(name, dataset, protocol, f"auc {task}", value, **notes)
            for cosine in (key for key in measured[1] if key.startswith("cosine")):
                results.add(name, dataset, protocol, cosine, measured[1][cosine], seconds=0.0)
        print(f"{protocol}: {name} seed {seed}, {measured[1]}, {seconds:.0f} s", flush=True)


def gains(results: common.Results) -> None:
    """For each model and task, the difference to the single task, seed by seed."""
    for row in [
        row for row in results.rows if row["metric"].startswith("auc ") and row["model"] != "SingleTask"
    ]:
        key = row["dataset"], row["protocol"]
        alone = results.values("SingleTask", *key, row["metric"])
        metric = f"gain in {row['metric']}"
        if differences := [a - b for a, b in zip(row["values"], alone, strict=False)]:
            results.put(row["model"], *key, metric, differences, seconds=0.0)


if __name__ == "__main__":
    main()
