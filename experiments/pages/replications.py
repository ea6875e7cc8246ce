"""Session models side by side: ours, their paper's figures, and those of somebody else who ran them.

Protocols differ, so every figure says its own; where two have the same protocol, they can be compared.
"""

from typing import NamedTuple

from pages import recorded
from pages.recorded import Row, markdown


class Said(NamedTuple):
    """Figures of others."""

    figures: str
    """recall@k / ndcg@k, or recall@20 / mrr@20."""
    where: str
    """Who says so, as a link, and by which protocol if it is not ours."""


class Case(NamedTuple):
    """A model on a data set."""

    model: str
    experiment: str
    dataset: str
    metrics: tuple[str, str]
    paper: Said
    other: Said


NEXT = ("sequences", "ml-1m", ("recall@10", "ndcg@10"))
CLICK = ("recall@20", "mrr@20")
KLENITSKIY = "[Klenitskiy 2023](https://arxiv.org/abs/2309.07602)"
LI = "[Li 2017](https://arxiv.org/abs/1711.04725)"
WU = "[Wu 2019](https://arxiv.org/abs/1811.00855)"
CASES = (
    Case(
        "GRU4Rec",
        *NEXT,
        Said("", "[Hidasi 2018](https://arxiv.org/abs/1706.03847) has other logs"),
        Said(".281 / .165", KLENITSKIY),
    ),
    Case(
        "SASRec",
        *NEXT,
        Said(".825 / .591", "[Kang 2018](https://arxiv.org/abs/1808.09781), among 100 random others"),
        Said(".315 / .182", KLENITSKIY),
    ),
    Case(
        "BERT4Rec",
        *NEXT,
        Said("", "[Sun 2019](https://arxiv.org/abs/1904.06690) ranks among 100 popular others alone"),
        Said(".282 / .152", "[Petrov 2022](https://github.com/asash/bert4rec_repro)"),
    ),
    Case(
        "HSTU",
        *NEXT,
        Said(".310 / .172", "[Zhai 2024](https://github.com/facebookresearch/generative-recommenders)"),
        Said(".304 / .172", "[transformer_benchmark](https://github.com/blondered/transformer_benchmark)"),
    ),
    Case(
        "NARM",
        "session_next_click",
        "yoochoose1_64",
        CLICK,
        Said(".683 / .286", LI),
        Said("", "others quote the paper"),
    ),
    Case(
        "NARM",
        "session_next_click",
        "diginetica",
        CLICK,
        Said(".626 / .274", f"{LI}, other sessions"),
        Said(".497 / .162", WU),
    ),
)


def table() -> str:
    """A line for each case."""
    head = ["model", "data", "figures", "ours", "the paper", "a replication"]
    found = recorded.results()
    lines = [line(case, found[case.experiment]["rows"]) for case in CASES]
    return markdown(head, lines, text=(0, 1, 2, 4, 5))


def line(case: Case, rows: list[Row]) -> list[str]:
    """Its cells, with our figures from the rows of its experiment."""
    mean = {
        row["metric"]: row["mean"]
        for row in rows
        if (row["model"], row["dataset"]) == (case.model, case.dataset)
    }
    ours = " / ".join(f"{mean[metric]:.3f}"[1:] for metric in case.metrics) if mean else "not recorded"
    said = [" by ".join(filter(None, one)) for one in (case.paper, case.other)]
    return [case.model, recorded.NAMES[case.dataset], " / ".join(case.metrics), ours, *said]
