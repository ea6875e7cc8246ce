"""An event and the list of ten after it by GRU4Rec, in FastAPI and PyTorch, a request at a time.

serve_fastapi.py PORT ITEMS DIM
"""

import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from torch import nn

port, num_items, dim = map(int, sys.argv[1:4])
torch.set_num_threads(1)
torch.manual_seed(0)
raw = [f"product-{n}" for n in range(num_items)]
place = {item: n for n, item in enumerate(raw)}
embedding, cell = nn.Embedding(num_items, dim), nn.GRUCell(dim, dim)
output, bias = nn.Embedding(num_items, dim), torch.zeros(num_items)
states: dict[str, torch.Tensor] = {}
app = FastAPI()


class Event(BaseModel):
    """What a visitor saw."""

    visitor: str
    item: str
    k: int = 10


@app.get("/ready")
async def ready():
    """The model is here from the start."""
    return {"status": "ready"}


@app.post("/events")
async def event(one: Event):
    """Move the visitor's state, and recommend; sessions are in memory alone."""
    with torch.inference_mode():
        state = states.get(one.visitor, torch.zeros(1, dim))
        states[one.visitor] = state = cell(embedding.weight[place[one.item]][None], state)
        score, item = torch.topk((state @ output.weight.T + bias)[0], one.k)
    pairs = zip(item.tolist(), score.tolist(), strict=True)
    return {"items": [{"item": raw[n], "score": value} for n, value in pairs]}


uvicorn.run(app, port=port, access_log=False, log_level="warning")
