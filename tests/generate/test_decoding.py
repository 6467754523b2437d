"""A token costs one position, and the model says what it says of the whole text at once."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from switchbench.generate.checkpoint import open_checkpoint
from switchbench.generate.decoding import Decoder
from switchbench.generate.sampling import Sampling
from switchbench.generate.trace import taken_by
from switchbench.generate.writing import write_on
from switchbench.model.attention import rotate, rotation
from switchbench.model.norm import rms_norm
from switchbench.model.transformer import Transformer
from tests.generate.conftest import Trained

WRITERS = ["dense", "switch", "top_2", "hash", "untied", "subwords"]
TOKENS = [0, 110, 195, 164, 104, 51, 49, 32, 230, 156, 168, 10, 110, 195, 164, 104, 50, 32, 104, 7]


def model_of(trained: Trained, name: str) -> Transformer:
    return open_checkpoint(trained.run_id(name), results=trained.root, device="cpu").model


def read_in_pieces(model: Transformer, tokens: list[int], sizes: list[int], *, window: int) -> torch.Tensor:
    decoder = Decoder(model, window=window, num_positions=len(tokens))
    places = itertools.accumulate([0, *sizes])
    pieces = [tokens[first:last] for first, last in itertools.pairwise(places)]
    assert sum(sizes) == len(tokens)
    return torch.cat([decoder.read(piece).logits_SV for piece in pieces])


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("sizes", [[20], [1] * 20, [7, 1, 1, 11]])
@torch.no_grad()
def test_pieces_give_what_the_whole_gives(trained: Trained, name: str, sizes: list[int]) -> None:
    model = model_of(trained, name)
    whole = model(torch.tensor([TOKENS]), capacity_factor=None).logits_BSV[0]
    torch.testing.assert_close(read_in_pieces(model, TOKENS, sizes, window=32), whole, atol=1e-5, rtol=1e-5)


def slow_window(model: Transformer, tokens: list[int], *, window: int) -> torch.Tensor:
    """The whole text at once, with a map written out in which a position sees the last ``window`` ones."""
    token_S, heads, width = torch.tensor(tokens), model.spec.num_heads, model.spec.d_head
    turn = rotation(len(tokens), d_head=width, device=token_S.device)
    distance = torch.arange(len(tokens))[:, None] - torch.arange(len(tokens))
    hidden = torch.where((distance >= 0) & (distance < window), 0.0, float("-inf")).double()
    x_SD = F.embedding(token_S, model.embedding) * model.spec.d_model**0.5
    for block in model.blocks:
        attention = block.attention
        query, key, value = (
            (rms_norm(x_SD, block.attention_norm_scale) @ attention.w_qkv).view(len(token_S), 3, heads, width).unbind(1)
        )
        query = rotate(rms_norm(query, attention.query_scale)[None], turn)[0]
        key = rotate(rms_norm(key, attention.key_scale)[None], turn)[0]
        scores = torch.einsum("shk,jhk->hsj", query, key) / width**0.5 + hidden
        mixed = torch.einsum("hsj,jhk->shk", scores.softmax(dim=-1), value).flatten(1)
        x_SD = x_SD + mixed @ attention.w_out
        normed = rms_norm(x_SD, block.ffn_norm_scale)
        if hasattr(block.ffn, "route"):
            x_SD = x_SD + block.ffn(normed, token_T=token_S, group_tokens=len(token_S), capacity_factor=None)[0]
        else:
            x_SD = x_SD + block.ffn(normed)
    return rms_norm(x_SD, model.final_norm_scale) @ model.embedding.T


@pytest.mark.parametrize("name", ["dense", "switch"])
@pytest.mark.parametrize("sizes", [[8, 8, 8, 8, 8], [1] * 40, [3, 8, 1, 1, 8, 5, 1, 1, 1, 1, 8, 2]])
@torch.no_grad()
def test_beyond_the_window_text_slides_through(trained: Trained, name: str, sizes: list[int]) -> None:
    """In float64, so that a router never chooses another expert for a difference in rounding."""
    model = model_of(trained, name).double()
    tokens = TOKENS + TOKENS[::-1]
    slow = slow_window(model, tokens, window=8)
    torch.testing.assert_close(read_in_pieces(model, tokens, sizes, window=8), slow, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", WRITERS)
@torch.no_grad()
def test_greedy_text_is_that_of_running_the_whole_text_for_each_token(trained: Trained, name: str) -> None:
    checkpoint = open_checkpoint(trained.run_id(name), results=trained.root, device="cpu")
    writing = write_on(checkpoint, "näh", num_tokens=12, sampling=Sampling(temperature=0), seed=0)
    read, slow = list(writing.prompt_tokens), []
    for _ in range(12):
        token = int(checkpoint.model(torch.tensor([read]), capacity_factor=None).logits_BSV[0, -1].argmax())
        if token == checkpoint.tokenizer.separator:
            break
        slow.append(token)
        read.append(token)
    assert writing.tokens == slow
    assert len(slow) > 4


@pytest.mark.parametrize("name", ["switch", "top_2", "hash"])
@torch.no_grad()
def test_the_trace_is_what_the_routers_decide_about_the_whole_text(trained: Trained, name: str) -> None:
    checkpoint = open_checkpoint(trained.run_id(name), results=trained.root, device="cpu", needs_routers=True)
    sampling = Sampling(temperature=0)
    writing = write_on(checkpoint, "näh1", num_tokens=6, sampling=sampling, seed=0, with_trace=True)
    trace = writing.trace
    assert trace is not None
    assert trace.tokens == [*writing.prompt_tokens, *writing.tokens]
    routings = checkpoint.model(torch.tensor([trace.tokens]), capacity_factor=None).routings
    layers = [taken_by(routing) for routing in routings]
    assert len(trace.layers) == len(layers)
    for index, of_token in enumerate(trace.taken):
        for layer, taken in zip(layers, of_token, strict=True):
            assert taken.experts == layer[index].experts
            assert taken.gates == pytest.approx(layer[index].gates, abs=1e-5)
            assert len(taken.experts) == (2 if name == "top_2" else 1)
    assert trace.texts[:4] == ["(new document)", "n", "\\xc3", "\\xa4"]
