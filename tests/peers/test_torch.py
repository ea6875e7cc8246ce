"""What no package has as its authors do, written from the equations in torch, and torch's own cells."""

import jax
import jax.numpy as jnp
import numpy as np
from helpers import apply, init, noisy, score_all
from peers.cells import hidasi
from peers.common import HISTORY, ITEM, ITEMS, LENGTH, MARKS, USER, USERS, agree, asked, put, speaking

from rezoo.models import NARM, STAMP, GRU4Rec, IAutoRec, UAutoRec
from rezoo.models.session import narm, stamp
from rezoo.nn.recurrent import LSTM, hard_sigmoid

pytestmark = MARKS


def tensors(params):
    import torch

    return jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf)), params)


def test_autorec():
    import torch

    rating = np.where(HISTORY > 0, np.random.default_rng(0).integers(1, 6, HISTORY.shape), 0).astype(
        np.float32
    )
    query = asked(history_rating=rating)
    variables, p = speaking(model := UAutoRec(ITEMS, 4, mean=3.5), query)
    w = tensors(p)
    r = torch.zeros(len(HISTORY), ITEMS).index_put(
        (torch.arange(len(HISTORY))[:, None].expand(HISTORY.shape), torch.as_tensor(HISTORY).long()),
        torch.as_tensor(rating),
        accumulate=True,
    )
    hidden = torch.sigmoid(r @ w["encoder"]["rows"]["embedding"] + w["encoder_bias"])
    expected = 3.5 + hidden @ w["decoder"]["embedding"].T + w["decoder_bias"]["embedding"][:, 0]
    agree(score_all(model, variables, query), expected)


def test_autorec_of_items():
    """The same of the transposed matrix: a row of the catalogue has an item's ratings by users."""
    import torch

    rater = np.zeros((ITEMS, 3), np.int32)
    rater[1:] = np.random.default_rng(0).permuted(np.tile(np.arange(USERS), (ITEMS - 1, 1)), axis=1)[:, :3]
    rating = np.where(rater > 0, np.linspace(1, 5, rater.size).reshape(rater.shape), 0).astype(np.float32)
    catalogue = {"rater": jnp.array(rater), "rating": jnp.array(rating)}
    model = IAutoRec(USERS, 4, mean=3.5)
    w = noisy(init(UAutoRec(USERS, 4), asked(), jnp.array(ITEM))["params"], 0.5)  # which it shares
    r = torch.zeros(ITEMS, USERS)
    r[torch.arange(ITEMS)[:, None], torch.as_tensor(rater).long()] = torch.as_tensor(rating)
    t = tensors(w)
    hidden = torch.sigmoid(r @ t["encoder"]["rows"]["embedding"] + t["encoder_bias"])
    expected = 3.5 + t["decoder"]["embedding"][USER] @ hidden.T + t["decoder_bias"]["embedding"][USER]
    agree(score_all(model, {"params": w, "catalogue": catalogue}, asked()), expected)


def test_lstm_is_torchs_with_1_in_its_forget_gates_bias():
    import torch

    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    ours = LSTM(4)
    params = jax.tree.map(np.array, noisy(init(ours, jnp.array(x), ours.initial(2))["params"], 0.4))
    theirs = torch.nn.LSTM(3, 4, batch_first=True)

    def ordered(weight):
        """Theirs has the gates i, f, g, o on the first axis; ours i, f, o, g on the last."""
        i, f, o, g = np.split(weight, 4, -1)
        return np.concatenate([i, f, g, o], -1).T

    put(theirs.weight_ih_l0, ordered(params["input"]["kernel"]))
    put(theirs.weight_hh_l0, ordered(params["recurrent"]))
    put(theirs.bias_ih_l0, ordered(params["input"]["bias"]))
    put(theirs.bias_hh_l0, np.repeat([0.0, 1.0, 0.0, 0.0], 4))
    agree(apply(ours, {"params": params}, jnp.array(x), ours.initial(2))[1], theirs(torch.tensor(x))[0])


def test_the_gru_is_torchs_where_nothing_is_reset_and_z_has_the_other_sign():
    """r = 1 by a large bias; torch's z is 1 - ours, and its r stands behind U h."""
    import torch

    variables, p = speaking(model := GRU4Rec(ITEMS, 4))
    cell = p["layers_0"]
    cell["input"]["bias"][4:8] = 30.0
    variables["params"]["layers_0"] = cell
    theirs = torch.nn.GRU(4, 4, batch_first=True)

    def ordered(z, r, new):
        return np.concatenate([r, -z, new], -1).T

    put(theirs.weight_ih_l0, ordered(*np.split(cell["input"]["kernel"], 3, -1)))
    put(theirs.weight_hh_l0, ordered(*np.split(cell["gates"], 2, -1), cell["candidate"]))
    put(theirs.bias_ih_l0, ordered(*np.split(cell["input"]["bias"], 3)))
    put(theirs.bias_hh_l0, np.zeros(12))
    states = theirs(torch.tensor(p["item"]["embedding"][HISTORY]))[0][range(4), LENGTH - 1].detach().numpy()
    expected = states @ p["output"]["embedding"].T + p["bias"]["embedding"][:, 0]
    agree(score_all(model, variables, asked()), expected)


def test_narm_of_the_authors():
    """A softmax over the session, hard sigmoids in attention and encoder, [attended ; last]."""
    import torch

    def hard(x):
        return (0.2 * x + 0.5).clamp(0, 1)

    variables, p = speaking(model := NARM(ITEMS, 4, hidden=5, normalise=narm.softmax, gate=hard_sigmoid))
    w, expected = tensors(p), []
    cell = hidasi(p["gru"], hard)
    for history in HISTORY:
        h = cell(w["item"]["embedding"][history[history > 0]][None])[0][0]
        similarity = hard(h @ w["of_key"]["kernel"] + h[-1] @ w["of_query"]["kernel"]) @ w["weight"]["kernel"]
        state = torch.cat([(similarity.softmax(0) * h).sum(0), h[-1]])
        order = torch.cat([w["bilinear"]["kernel"][5:], w["bilinear"]["kernel"][:5]])
        expected.append(w["item"]["embedding"] @ order.T @ state)
    agree(score_all(model, variables, asked()), torch.stack(expected))


def test_stamp_of_the_authors():
    """m_a + m_s, no biases, and inputs that torch shortens to length 1; the scored table is as it was."""
    import torch

    model = STAMP(ITEMS, 4, memory=stamp.plus_mean, max_norm=1.0)
    variables, p = speaking(model, scale=0.7)
    for name in ("of_mean", "session", "last"):
        variables["params"][name]["bias"] = jnp.zeros(4)
    w, expected = tensors(p), []
    for history in HISTORY:
        events = torch.as_tensor(history[history > 0]).long()
        x = torch.nn.functional.embedding(events, w["item"]["embedding"].clone(), max_norm=1.0)
        mean = x.mean(0)
        asks = x @ w["of_event"]["kernel"] + x[-1] @ w["of_last"]["kernel"] + mean @ w["of_mean"]["kernel"]
        memory = (torch.sigmoid(asks) @ w["weight"]["kernel"]).T @ x + mean
        state = torch.tanh(memory @ w["session"]["kernel"]) * torch.tanh(x[-1] @ w["last"]["kernel"])
        expected.append((state @ w["item"]["embedding"].T)[0])
    assert (np.linalg.norm(p["item"]["embedding"], axis=1) > 1).any()
    agree(score_all(model, variables, asked()), torch.stack(expected))
