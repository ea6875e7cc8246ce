"""RecBole's models without its settings and data sets, and the four rows as its batch."""

import numpy as np
from peers.common import HISTORY, ITEM, ITEMS, LENGTH, USER, USERS


class Config(dict):
    """RecBole's settings: None for what is not among them."""

    device = "cpu"

    def __missing__(self, name):
        return None


class Data:
    """What its models ask a data set for."""

    user_num = USERS

    def num(self, field):
        return {"user": USERS, "item": ITEMS}[field]

    def history_item_matrix(self, max_history_len=None):
        import torch

        ids = torch.zeros(USERS, HISTORY.shape[1], dtype=torch.long)
        ids[USER] = torch.as_tensor(HISTORY).long()
        return ids, (ids > 0).float(), (ids > 0).sum(1)

    def inter_matrix(self, form):
        from scipy import sparse

        row, place = np.nonzero(HISTORY)
        pair = USER[row], HISTORY[row, place]
        return sparse.coo_matrix((np.ones(len(row)), pair), (USERS, ITEMS))


def peer(kind, **settings):
    fields = {"USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "LIST_SUFFIX": "_list", "NEG_PREFIX": "neg_"}
    more = {"ITEM_LIST_LENGTH_FIELD": "length", "loss_type": "CE", "MAX_ITEM_LIST_LENGTH": HISTORY.shape[1]}
    return kind(Config({**fields, **more, **settings}), Data()).eval()


def rows():
    """Our rows as RecBole's batch."""
    import torch

    columns = {"user": USER, "item": ITEM, "item_list": HISTORY, "length": LENGTH}
    return {name: torch.as_tensor(column).long() for name, column in columns.items()}


def drawn(slate):
    """Rows with the negatives of their slates, as RecBole's sampler lays them: negative by negative."""
    import torch

    negatives = slate.shape[1] - 1
    columns = {name: column.repeat(negatives, *[1] * (column.ndim - 1)) for name, column in rows().items()}
    return (
        columns
        | {"item": torch.as_tensor(slate[:, 0]).long().repeat(negatives)}
        | {"neg_item": torch.as_tensor(slate[:, 1:].T.reshape(-1).copy()).long()}
    )
