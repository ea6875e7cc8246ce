"""Folders of models as earlier versions wrote them, the text as it was written then."""

import numpy as np

SIZES = '{"mapping": {"user": 4, "item": 5}}'
NONE = '"user_features": {"mapping": {}}, "item_features": {"mapping": {}}, "id_dropout": 0.5'
FIELDS = {
    "FeatureMF": '"num_users": 4, "num_items": 5, "user_features": {"mapping": {"age": 3}}, "item_features": '
    '{"mapping": {"kind": 4, "price": null}}, "dim": 3, "id_dropout": 0.5',
    "GRU4Rec": '"num_items": 5, "dim": 3, "num_layers": 1, "cell": {"function": "rezoo.nn.recurrent.LSTM"}, '
    f'"tied": false, "dropout": 0.0, {NONE}',
    "DCNv2": f'"sizes": {SIZES}, "dim": 2, "num_crosses": 1, "widths": [3], "dropout": 0.0, "batch_norm": '
    'false, "cross": {"function": "rezoo.nn.interaction.Cross"}, "structure": '
    '{"function": "rezoo.models.ranking.dcn.stacked"}',
    "DIN": f'"sizes": {SIZES}, "dim": 2, "widths": [3], "weights": '
    '{"function": "rezoo.models.ranking.din.Mean"}, "dropout": 0.0',
    "VSKNN": '"num_items": 5, "num_sessions": 3, "recent": 2, "longest": 2, "k": 100, "memory": 10, '
    '"weight": {"function": "rezoo.models.session.neighbours.linear"}, "decay": '
    '{"function": "rezoo.models.session.neighbours.tenths"}, "idf": true',
    "UAutoRec": '"num_items": 5, "dim": 3, "mean": 3.0, "dropout": 0.0',
    "SKNN": '"num_items": 5, "num_sessions": 3, "recent": 2, "longest": 2, "k": 100, "memory": 10, '
    '"idf": false',
    "SASRec": '"num_items": 5, "dim": 3, "num_blocks": 1, "num_heads": 1, "max_length": 2, "dropout": 0.0, '
    '"similarity": {"state": {"function": "rezoo.nn.similarity.same"}, "item": '
    f'{{"function": "rezoo.nn.similarity.same"}}}}, {NONE}',
    "Caser": '"num_items": 5, "dim": 3, "num_users": 0, "window": 1, "horizontal": 2, "vertical": 4, '
    f'"dropout": 0.0, {NONE}',
}
NEIGHBOURS = "sessions_of:i4:5,2 events_of:i4:3,2 share:f4:5 rarity:f4:5"
PARAMS = {
    "FeatureMF": "item/feature/kind/embedding:f4:4,4 item/feature/price_scale:f4:4 item/id/embedding:f4:5,4 "
    "user/feature/age/embedding:f4:3,3 user/id/embedding:f4:4,3",
    "GRU4Rec": "bias/embedding:f4:5,1 item/embedding:f4:5,3 layers_0/input/bias:f4:12 "
    "layers_0/input/kernel:f4:3,12 layers_0/recurrent:f4:3,12 output/embedding:f4:5,3",
    "DCNv2": "factors/user/embedding:f4:4,2 factors/item/embedding:f4:5,2 Cross_0/Dense_0/kernel:f4:4,4 "
    "Cross_0/Dense_0/bias:f4:4 mlp/Dense_0/kernel:f4:4,3 mlp/Dense_0/bias:f4:3 output/kernel:f4:3,1 "
    "output/bias:f4:1",
    "DIN": "items/item/embedding:f4:5,2 profile/user/embedding:f4:4,2 layers_0/kernel:f4:8,3 "
    "layers_0/bias:f4:3 dice_0/alpha:f4:3 output/kernel:f4:3,1 output/bias:f4:1",
    "VSKNN": NEIGHBOURS,
    "SKNN": NEIGHBOURS,
    "UAutoRec": "decoder/embedding:f4:5,3 decoder_bias/embedding:f4:5,1 encoder/rows/embedding:f4:5,3 "
    "encoder_bias:f4:3",
    "SASRec": "item/embedding:f4:5,3 position/embedding:f4:2,3 norm/bias:f4:3 norm/scale:f4:3 "
    + " ".join(f"blocks_0/LayerNorm_{n}/{part}:f4:3" for n in (0, 1) for part in ("bias", "scale"))
    + "".join(
        f" blocks_0/{name}/kernel:f4:3,3 blocks_0/{name}/bias:f4:3"
        for name in ("query", "key", "value", "feed_in", "feed_out")
    ),
    "Caser": "output/embedding:f4:5,3 bias/embedding:f4:5,1 item/embedding:f4:5,3 heights_0/kernel:f4:3,2 "
    "heights_0/bias:f4:2 columns/kernel:f4:1,4 columns/bias:f4:4 hidden/kernel:f4:14,3 hidden/bias:f4:3",
}
AGE = '{"age": {"kind": "Vocabulary", "values": ["old", "young"], "missing": 1}}'
PRODUCTS = (
    '{"kind": {"kind": "Vocabularies", "values": ["cup", "pot", "tea"], "width": 2, "separator": "|", '
    '"missing": 1}, "price": {"kind": "Standardised", "mean": 2.5, "deviation": 1.118033988749895, "log": '
    'false, "missing": 1}}'
)


def stored(folder, name, written=2, link="identity"):
    """A folder as versions of that format wrote it."""
    folder.mkdir()
    model = f'{{"class": "{name}", "fields": {{{FIELDS[name]}}}}}'
    function = f'{{"function": "rezoo.serving.saved.{link}"}}'
    (folder / "saved.json").write_text(
        f'{{"format": {written}, "rezoo": "0.1.0", "model": {model}, "link": {function}, '
        '"scale": [3.0, 2.0], "clip": [1.0, 5.0]}'
    )
    arrays = {}
    for path, dtype, shape in (one.split(":") for one in PARAMS[name].split()):
        arrays[f"variables/params/{path}"] = np.ones([int(axis) for axis in shape.split(",")], dtype)
    arrays |= {"users": np.array(["ann", "bob", "eve"]), "items": np.array([10, 20, 30, 40])}
    features = name == "FeatureMF"
    if features:
        arrays["variables/catalogue/kind"] = np.array([[0, 0], [3, 0], [3, 1], [1, 0], [2, 0]], "<i4")
        arrays["variables/catalogue/price"] = np.zeros(5, "<f4")
        arrays["user_columns/age"] = np.array([0, 2, 1, 2], "<i4")
    if name == "DIN":
        arrays["variables/batch_stats/dice_0/moments/mean"] = np.zeros(3, "<f4")
        arrays["variables/batch_stats/dice_0/moments/var"] = np.ones(3, "<f4")
    if written > 1:
        arrays["history"] = np.array([[0, 0], [1, 2], [3, 0], [0, 0]], "<i4")
    if name == "UAutoRec":
        arrays["history_rating"] = np.array([[0, 0], [5, 1], [3, 0], [0, 0]], "<f4")
    np.savez(folder / "arrays.npz", **arrays)
    (folder / "user_features.json").write_text(AGE if features else "{}")
    (folder / "item_features.json").write_text(PRODUCTS if features else "{}")
    (folder / "context_features.json").write_text("{}")
    return folder
