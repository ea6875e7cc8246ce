"""The page of settings: with which ones each row was made, and how they were found."""

from typing import Any

from pages import recorded
from pages.recorded import Row, markdown

WHOLE = "settings", "configuration"
"""What rows keep of all settings at once."""
KEPT = (
    *WHOLE,
    *("rate", "l2", "dim", "dropout", "id_dropout", "k", "weight", "newest", "pretrained", "batch_size"),
    *("bias", "stars_weight", "watch_l2", "stars_l2", "weights"),
)
"""What rows keep of them."""
SEARCH = ("tried", "validation", "valid", "epochs", "best_epoch")
"""What they keep of how these were found, in figures."""
RANGES = "budget", "grid"
"""What they keep of how much was tried, and of where."""
FOUND = {
    "beauty_din": "one rate for both models; each seed's epoch on the validation items",
    "census_multitask": "one rate for all models; each run's epoch on the validation half",
    "cfgan_topn": "the best of three configurations of each model on a tenth of the training items",
    "cold_start": "the best of a grid in each division, on its validation part",
    "cold_text": "the best of a grid, eight weeks before the test",
    "frappe_ctr": "the best of four pairs of rate and penalty on the validation part, with one seed; "
    "DLRM, XDeepFM, FinalMLP, MaskNet and FiBiNET as BARS published them",
    "generative_retrieval": "SASRec's as in sequences; TIGER's rate the better of two on the validation "
    "items; each seed's epoch on them",
    "gowalla": "the best of those tried, on a tenth of each user's training part",
    "long_histories": "by hand on smaller shops; equal for all lengths",
    "loss_study": "the best of four rates with the first seed, and each run's steps, on validation ratings",
    "movielens_autorec": "by hand, on a tenth of the first split's training part; ranges in the docstring",
    "movielens_ctr": "as in frappe_ctr",
    "movielens_features": "the penalty on a tenth of the training part; others by hand, there",
    "movielens_mf": "the penalty on a tenth of each training fold; others by hand, on the first one's",
    "movielens_retrieval": "on the validation movies, epochs too, in equal CPU time",
    "movielens_tuning": "48 random points by successive halving on a tenth of the training part",
    "movielens_svdpp": "the penalty on a tenth of each training fold; others by hand, on the first one's",
    "ncf_movielens": "by hand, on the last movie of each user's training part; see the docstring",
    "next_basket": "as the recipes' papers have them, for other logs; nothing by the test baskets",
    "rating_and_ranking": "penalties and weight by factors of four until no neighbour is better on the "
    "validation part, with one seed; each seed's epoch there",
    "refresh": "on a shop of another seed",
    "repeat_explore": "by hand, equal for all variants; epochs fixed before",
    "sequences": "by hand on the validation items, but the convolutions, BERT4Rec and gSASRec's loss; "
    "each seed's epoch, and Blend's weights, on them",
    "session_downstream": "by hand, equal for all variants; each seed's epoch on the validation part",
    "session_features": "equal with and without features; each seed's epoch on the validation part",
    "session_next_click": "by hand; each seed's epoch, and Blend's weights, on the last two per cent of the "
    "training sessions",
    "shop_conversion": "the best of three penalties, and each seed's epoch, on a tenth of the training part",
    "shop_histories": "the best of five pairs of rate and penalty in the first case, on the last tenth of "
    "the training part, with one seed; each seed's epoch there, in every case",
    "strong_generalisation": "the best of three configurations on the validation users",
    "tuning": "the best of random ones on a part of the training part, by successive halving where there are "
    "epochs; the ranges stand beside them",
}
"""How settings were found."""
HEAD = """# Settings

With which settings the rows of the [results](README.md) were made, and how they were found; made by

```bash
python experiments/leaderboard.py
```

A row keeps what was chosen for it: what was tried, the best figure on the validation part, and the number of
epochs where they are known. All else stands in the experiment, in the commit that is named below the table of
results.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, result in recorded.results().items():
        if not recorded.is_benchmark(name):
            how = FOUND.get(name, "as they stand in the experiment; nothing was chosen")
            parts += [f"## [{name}](../{name}.py)", f"Found: {how}.", *table(result["rows"])]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def table(rows: list[Row]) -> list[str]:
    """A line for each model of a data set and protocol whose rows keep settings."""
    lines: dict[tuple[str, ...], None] = {}
    for row in rows:
        if said := settings(row):
            lines[row["dataset"], row["protocol"], row["model"], said, search(row)] = None
    head = ["data", "protocol", "model", "settings", "search"]
    return [markdown(head, [list(line) for line in lines], text=(0, 1, 2, 3, 4))] if lines else []


def settings(row: Row) -> str:
    """What a row keeps of its settings."""
    kept = {key: row[key] for key in KEPT if row.get(key) not in (None, {}, "{}", "")}
    return ", ".join(written(key, value) for key, value in kept.items())


def written(key: str, value: Any) -> str:
    """A setting, or several; those of a part beside its name."""
    if isinstance(value, dict):
        return ", ".join(of_part(name, one) for name, one in value.items())
    return f"{value}" if key in WHOLE else f"{key} {value}"


def of_part(name: str, value: Any) -> str:
    """A setting, or a part of a model with its own."""
    if not isinstance(value, dict):
        return written(name, value)
    return f"{name} ({written(name, value)})" if value else name


def search(row: Row) -> str:
    """What a row keeps of how they were found."""
    figures = ", ".join(filter(None, (figure(key, row[key]) for key in SEARCH if key in row)))
    ranges = (f"{key}: {written(key, row[key])}" for key in RANGES if row.get(key))
    return "; ".join(filter(None, (figures, *ranges)))


def figure(key: str, value: Any) -> str:
    """Something of the search; of several seeds a range."""
    values = [one for one in (value if isinstance(value, list) else [value]) if one is not None]
    if not values:
        return ""
    ends = dict.fromkeys(f"{one:.4g}" for one in (min(values), max(values)))
    return f"{key.replace('_', ' ')} {' to '.join(ends)}"
