"""FuXi beside its equations in NumPy, with times and without."""

import numpy as np
import pytest
from helpers import apply, init, noisy
from oracles import dense, in_double, silu

from rezoo.data.batches import queries
from rezoo.models import FuXi

ITEMS, HISTORY, LONGEST = 9, [3, 1, 4, 1, 5], 3
TIMES = [1_600_000_000, 1_600_000_001, 1_600_000_090, 1_600_000_060, 1_600_900_000]  # one goes back


def rms(x):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)


def block(w, x, times):
    channels, d = 2 if times is None else 3, x.shape[1]
    mixed = silu(dense(w["input"], rms(x)))
    u, v, q, k = np.split(mixed, np.cumsum([channels * d, d, d]), axis=1)
    summed = np.zeros((len(x), 2, channels, 2))  # event, head, channel, width of a head
    for i in range(len(x)):
        for j in range(i + 1):
            weights = [0.0, w["of_distance"][min(i - j, LONGEST - 1)]]
            if times is not None:
                gap = min(int(np.log(max(abs(times[i] - times[j]), 1)) / 0.301), 128)
                weights.append(w["of_gap"][gap])
            for head, h in enumerate((slice(0, 2), slice(2, 4))):
                weights[0] = silu(q[i, h] @ k[j, h]) / LONGEST
                summed[i, head] += np.array(weights)[:, None] * v[j, h]
    y = x + dense(w["output"], rms(summed.reshape(len(x), -1)) * u)
    z = rms(y)
    return y + dense(w["feed_out"], silu(dense(w["feed_in"], z)) * dense(w["feed_scale"], z))


@pytest.mark.parametrize("times", [TIMES, None], ids=["times", "no times"])
def test_it_is_its_equations(times):
    model = FuXi(
        ITEMS, 4, num_blocks=2, num_heads=2, max_length=LONGEST, widen=2, time="time" if times else None
    )
    query = queries(history=[HISTORY], features={"time": np.array([times])} if times else {})
    params = noisy(init(model, query, np.array([1], np.int32))["params"], 0.3)
    w = in_double(params)
    assert w["blocks_0"]["feed_in"]["kernel"].shape == (4, 8) and set(w["blocks_0"]["feed_out"]) == {"kernel"}
    x = 2 * w["item"]["embedding"][HISTORY] + w["position"]["embedding"][[0, 1, 2, 2, 2]]
    for name in ("blocks_0", "blocks_1"):
        x = block(w[name], x, times)
    states = apply(model, {"params": params}, query, method="prefixes")[0]
    np.testing.assert_allclose(states, x, rtol=1e-4, atol=1e-5)
