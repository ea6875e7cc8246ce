"""eSASRec: SASRec's frame with LiGR's blocks, trained with a sampled softmax.

Tikhonovich, Zelinskiy, Petrov, Spirina, Semenov, Savchenko, Kuliev: eSASRec: Enhancing Transformer-based
Recommendations in a Modular Fashion, RecSys 2025, https://arxiv.org/abs/2508.06450. The blocks are those of
Borisyuk et al.: From Features to Transformers: Redefining Ranking for Scalable Impact, 2025,
https://arxiv.org/abs/2502.03417:

    y = x + σ(W₁ x + b₁) ∘ Attention(LN(x)),  block(x) = y + σ(W₂ y + b₂) ∘ SwiGLU(LN(y))

The loss is the caller's choice: theirs is `objectives.next_item_sampled` with
`losses.softmax_cross_entropy`. The width of SwiGLU is `block=partial(LiGR, widen=2)`.

Differs from the authors' code: what SASRec's frame does here, which multiplies embeddings by √D, normalises
the last block's output and counts positions from the first event.
"""

from dataclasses import KW_ONLY

from rezoo.models.session.sasrec import Blocks, SASRec
from rezoo.nn.attention import LiGR


class eSASRec(SASRec):
    """Score = <F_t, v_i>, where F_t is the output of the gated blocks for the events up to t."""

    _: KW_ONLY
    block: Blocks = LiGR
    """`nn.attention.LiGR`, perhaps with its `widen`."""
