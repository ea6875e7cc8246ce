"""Who took what, divided into train.txt and test.txt, as NGCF, LightGCN, SimpleX and BARS publish their data.

A line is a user and their items, `user item item …`. Gowalla, Yelp2018 and Amazon-Book are laid out so:
He et al. 2020, https://arxiv.org/abs/2002.02126, whose files are in
https://github.com/gusye1234/LightGCN-PyTorch. Files of another layout: `files.read` each and give them one id
map by `split.share_ids`.
"""

from pathlib import Path
from typing import NamedTuple

from rezoo.data import formats, split
from rezoo.data.interactions import Interactions, from_columns
from rezoo.datasets import folders

URL = "https://github.com/gusye1234/LightGCN-PyTorch (data)"


class TrainTest(NamedTuple):
    """Two logs with one id map: ids of the training part first, then those of the test part alone."""

    train: Interactions
    test: Interactions


def load(name: str, manual_dir: str | Path | None = None) -> TrainTest:
    """A data set such as `gowalla`, `yelp2018` or `amazon-book`.

    Args:
      name: of the data set.
      manual_dir: folder with `<name>.zip` or with a folder `<name>` of train.txt and test.txt, or with a
        folder `<name>-lightgcn` that has one of the two; the folder that REZOO_DATA names if not given.

    Raises:
      DataError: if it is not there, or a line is not "user item item …"; it names the row.
    """
    archive, text = f"{name}.zip", f"{name}/train.txt"
    file = folders.find(archive, text, manual_dir=manual_dir, below=f"{name}-lightgcn", source=URL)
    folder = f"{file}!{name}" if file.name == archive else file.parent
    return read(f"{folder}/train.txt", f"{folder}/test.txt")


def read(train: str | Path, test: str | Path) -> TrainTest:
    r"""Two files of this layout, which may be in an archive, `all.zip!gowalla/train.txt`.

    The ids of the files stay the raw ones, `log.users.raw` and `log.items.raw`.

    Raises:
      DataError: if a line is not "user item item …", of whole numbers; it names the row.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "train.txt").write_text("0 7 5\n1 7\n")
    ...     _ = Path(folder, "test.txt").write_text("1 5 9\n")
    ...     train, test = read(f"{folder}/train.txt", f"{folder}/test.txt")
    >>> train.item.tolist(), test.item.tolist(), test.items.raw.tolist()
    ([1, 2, 1], [2, 3], [7, 5, 9])
    """
    logs = (from_columns(formats.read_lists(path), source=Path(path).name) for path in (train, test))
    return TrainTest(*split.share_ids(*logs))
