"""Census-Income (KDD): 299,285 people of the U.S. surveys of 1994 and 1995, for several tasks at once.

https://archive.ics.uci.edu/dataset/117/census+income+kdd (CC BY 4.0). Fetch the zip there, and put
`census-income.data.gz` and `census-income.test.gz` into a folder (compress them if they are not).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from rezoo.data.files import text_lines
from rezoo.data.spelling import is_number
from rezoo.datasets import folders
from rezoo.errors import DataError

URL = "https://archive.ics.uci.edu/dataset/117/census+income+kdd"
COLUMNS = (
    "age", "class_worker", "det_ind_code", "det_occ_code", "education", "wage_per_hour", "hs_college",
    "marital_stat", "major_ind_code", "major_occ_code", "race", "hisp_origin", "sex", "union_member",
    "unemp_reason", "full_or_part_emp", "capital_gains", "capital_losses", "stock_dividends",
    "tax_filer_stat", "region_prev_res", "state_prev_res", "det_hh_fam_stat", "det_hh_summ",
    "instance_weight", "mig_chg_msa", "mig_chg_reg", "mig_move_reg", "mig_same", "mig_prev_sunbelt",
    "num_emp", "fam_under_18", "country_father", "country_mother", "country_self", "citizenship",
    "own_or_self", "vet_question", "vet_benefits", "weeks_worked", "year", "income_50k",
)  # fmt: skip
NUMBERS = (
    "age", "wage_per_hour", "capital_gains", "capital_losses", "stock_dividends", "num_emp", "weeks_worked",
    "instance_weight",
)  # fmt: skip
COLLEGE = (
    "Some college but no degree", "Associates degree-occup /vocational",
    "Associates degree-academic program", "Bachelors degree(BA AB BS)",
    "Masters degree(MA MS MEng MEd MSW MBA)", "Prof school degree (MD DDS DVM LLB JD)",
    "Doctorate degree(PhD EdD)",
)  # fmt: skip
SOURCES = {"income": "income_50k", "never_married": "marital_stat", "college": "education"}
"""The column that each task's label is made from."""

Columns = dict[str, np.ndarray]


class Census(NamedTuple):
    """Both files: numbers are float32, all else is text, and "" where the file has "?"."""

    train: Columns
    test: Columns


def load(manual_dir: str | Path | None = None) -> Census:
    """Read both files.

    Args:
      manual_dir: the folder that holds them, or a folder with a subfolder `census-income-kdd` that does;
        the folder that REZOO_DATA names if not given.

    Raises:
      DataError: if a file is not there, damaged, or has a row of the wrong shape.
    """
    return Census(*(_read(f"census-income.{part}.gz", manual_dir) for part in ("data", "test")))


def labels(columns: Columns) -> dict[str, np.ndarray]:
    """`income` (over 50,000 $), `never_married`, and `college` (some of it, or a degree), 0 or 1, float32.

    These are the tasks of Ma 2018 (MMoE, https://doi.org/10.1145/3219819.3220007), section 5.2, which
    does not say where "at least college" begins.
    """
    held = {
        "income": columns["income_50k"] == "50000+.",
        "never_married": columns["marital_stat"] == "Never married",
        "college": np.isin(columns["education"], COLLEGE),
    }
    return {task: label.astype(np.float32) for task, label in held.items()}


def _read(name: str, manual_dir: str | Path | None) -> Columns:
    file = folders.find(name, manual_dir=manual_dir, below="census-income-kdd", source=URL)
    lines = text_lines(file, encoding="latin-1")
    rows = [[field.strip() for field in line.split(",")] for line in lines]
    for number, row in enumerate(rows, 1):
        if len(row) != len(COLUMNS):
            raise DataError(f"{file}: row {number} has {len(row)} columns instead of {len(COLUMNS)}")
    table = np.array(rows, str).reshape(-1, len(COLUMNS)).T
    return {name: _column(file, name, column) for name, column in zip(COLUMNS, table, strict=True)}


def _column(file: Path, name: str, column: np.ndarray) -> np.ndarray:
    if name not in NUMBERS:
        return np.where(column == "?", "", column)
    if not all(map(is_number, column.tolist())):
        raise DataError(f"{file}: column {name!r} must hold numbers")
    return column.astype(np.float32)
