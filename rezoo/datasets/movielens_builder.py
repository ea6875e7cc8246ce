"""MovieLens as TFDS data sets of column chunks.

    builder = MovieLensBuilder(config="ml-1m", data_dir=FOLDER, file_format="array_record")
    builder.download_and_prepare()
    columns(builder, "ratings")["timestamp"]

GroupLens' zip is taken from TFDS's `manual_dir` or from the folder that the environment variable
REZOO_DATA names, where it is `ml-1m.zip` or `ml-1m/ml-1m.zip`; if it is in neither it is downloaded.
Its checksum must be right in any case.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from rezoo.data import prepared
from rezoo.datasets import folders
from rezoo.datasets.movielens_files import SOURCES, TYPES, URL, Archive, Columns, check
from rezoo.errors import DataError

CHUNK = 2**20
"""Rows of an example."""
LICENCE = """For research; acknowledge its use, do not redistribute it, and do not use it commercially
without the permission of GroupLens, University of Minnesota. The README in the zip has the whole text."""
CITATION = """@article{harper2015movielens,
  title={The MovieLens Datasets: History and Context}, author={Harper, F. Maxwell and Konstan, Joseph A.},
  journal={ACM Transactions on Interactive Intelligent Systems}, volume={5}, number={4},
  pages={19:1--19:19}, year={2015}, doi={10.1145/2827872}}"""


class MovieLensBuilder(tfds.core.GeneratorBasedBuilder):
    """Splits `ratings` (in the order of the file), `users` and `items`.

    An example is a chunk of columns, those that its table does not have being empty; the number of
    rows of each table is in `info.metadata`.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in SOURCES]  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Put the zip here, unopened, if it cannot be downloaded."

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Sequence(tfds.features.Text())
        kinds = {
            name: text if kind is str else tfds.features.Tensor(shape=(None,), dtype=kind)
            for name, kind in TYPES.items()
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Ratings of movies by users of movielens.org, with features of both.",
            features=tfds.features.FeaturesDict(kinds),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
            homepage="https://grouplens.org/datasets/movielens/",
            license=LICENCE,
            citation=CITATION,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        name = self.builder_config.name  # pyright: ignore[reportOptionalMemberAccess]
        tables = SOURCES[name].read(find(name, dl_manager))
        rows: Any = self.info.metadata
        rows |= {table: _rows(content) for table, content in tables.items()}
        return {table: self._generate_examples(content) for table, content in tables.items()}

    def _generate_examples(self, table: Columns) -> Iterator[tuple[int, Columns]]:
        empty = {name: np.zeros(0, kind) for name, kind in TYPES.items()}
        for number, first in enumerate(range(0, _rows(table), CHUNK)):
            yield number, empty | {name: column[first : first + CHUNK] for name, column in table.items()}


def columns(builder: MovieLensBuilder, table: str) -> Columns:
    """The columns that a table has, each in one piece; texts as `str`."""
    whole = prepared.columns(builder, table)
    return {
        name: np.strings.decode(column, "utf-8") if TYPES[name] is str else column
        for name, column in whole.items()
        if len(column)
    }


def find(name: str, dl_manager: tfds.download.DownloadManager) -> Archive:
    """The zip of a data set, from a folder or else from the network.

    Raises:
      DataError: if it is unavailable, truncated, or not GroupLens' file.
    """
    manual_dir = None
    with contextlib.suppress(AssertionError):  # TFDS raises it if the folder is not there
        manual_dir = str(dl_manager.manual_dir)
    url = URL.format(name)
    try:
        places = (folders.search(f"{name}.zip", manual_dir=place, below=name) for place in (manual_dir, None))
        file = next(filter(None, places), None) or Path(dl_manager.download(url))
    except (OSError, tfds.download.DownloadError, NonMatchingChecksumError) as error:
        raise DataError(
            f"{name}.zip could not be downloaded from {url} ({type(error).__name__}: {error}) and is not in "
            f"{' or '.join(map(folders.searched, (manual_dir, None)))}. Fetch it by other means, "
            "do not unzip it, and name the folder that it is in as manual_dir or in REZOO_DATA"
        ) from error
    check(Archive(file, name))
    return Archive(file, name)


def _rows(table: Columns) -> int:
    return len(next(iter(table.values())))
