"""Any model of the zoo on any data set: which task fits which model, and what is searched.

task = tuned.task_of("frappe")
kind = tuned.kind_of("DCNv2")
tuned.check(kind, task)
"""

import rezoo.models
from protocols.tuned import clicks, next_items, rankings, ratings, several
from protocols.tuned.nouns import Kind, Task
from rezoo.errors import DataError

TASKS: dict[str, Task] = {
    module.TASK.name: module.TASK for module in (ratings, rankings, clicks, next_items, several)
}
DATASETS = {name: task for task in TASKS.values() for name in task.datasets}
ELSEWHERE = {
    "Blend": "its parts are fitted before: sequences.py",
    "CFGAN": "two networks are trained against each other: cfgan_topn.py",
    "FeatureKNN": "it is for users and items that are known by features alone: cold_start.py",
    "RepeatExplore": "it learns over a session model that was trained before: repeat_explore.py",
    "TIGER": "it reads codes of items' content, which must be made first: generative_retrieval.py",
    "TIFUKNN": "it is asked for the next basket, and for what was bought before: next_basket.py",
    "TopFreq": "it is asked for the next basket, and for what was bought before: next_basket.py",
    "UPCF": "it is asked for the next basket, and for what was bought before: next_basket.py",
}
"""Models that no task here fits, and the experiment that is about them."""


def kind_of(model: str) -> Kind:
    """The class of a model by its name.

    Raises:
      DataError: if there is none.
    """
    if model not in rezoo.models.__all__:
        raise DataError(
            f"model={model!r}: there is no such model; there are {', '.join(rezoo.models.__all__)}"
        )
    return getattr(rezoo.models, model)


def task_of(dataset: str) -> Task:
    """The task that a data set belongs to.

    Raises:
      DataError: if there is no such data set.
    """
    if task := DATASETS.get(dataset):
        return task
    lists = (f"{name}: {', '.join(task.datasets)}" for name, task in TASKS.items())
    raise DataError(f"dataset={dataset!r}: there is no such data set; there are {'; '.join(lists)}")


def fitting(kind: Kind) -> list[Task]:
    """The tasks that a model is asked."""
    named = kind.__name__ in ELSEWHERE
    return [] if named else [task for task in TASKS.values() if not task.refuses(kind)]


def check(kind: Kind, task: Task) -> None:
    """Whether the task fits the model.

    Raises:
      DataError: if it does not; says what can be asked in its place.
    """
    if task in (fits := fitting(kind)):
        return
    name = kind.__name__
    if name in ELSEWHERE:
        raise DataError(f"model={name!r} is not tuned here: {ELSEWHERE[name]}")
    data = "; ".join(f"{one.name}: {', '.join(one.datasets)}" for one in fits)
    models = (other for other in rezoo.models.__all__ if task in fitting(kind_of(other)))
    raise DataError(
        f"model={name!r} does not fit {task.name}, as {task.refuses(kind)}. Data sets for it are of {data}. "
        f"Models for {task.name}: {', '.join(models)}"
    )
