"""Which tokens each expert takes, counted by a real run, against a loop over its tokens."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from switchbench.data.batches import held_out_batches
from switchbench.data.corpora import PreparedCorpus, prepare_corpus, read_tokens
from switchbench.data.token_classes import TOKEN_CLASSES, class_of
from switchbench.data.tokenizers import open_tokenizer
from switchbench.information import entropy, mutual_information
from switchbench.model.transformer import build_model
from switchbench.record import RunRecord
from switchbench.spec import ExecutionSpec, RunSpec
from switchbench.train import specialization, train_run
from tests.specs import sparse, tiny_run

EVERYWHERE = {"switch_layer_frequency": 1.0}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for index in range(40):
        words = " ".join(f"wörd{(index * 7 + i * i) % 50},\n" for i in range(150))
        (folder / f"{index}.txt").write_text(words, encoding="utf-8")
    return folder


class Trained:
    """A run, its rows and its weights."""

    def __init__(self, fields: dict[str, Any], *, text: Path, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        data = {"corpus": "text", "path": str(text), "held_out_fraction": 0.1} | fields.pop("data", {})
        spec = tiny_run(data=data, **fields)
        self.corpus: PreparedCorpus = prepare_corpus(spec.data, cache_root=folder / "cache")
        self.spec: RunSpec = spec.model_copy(update={"vocab_size": self.corpus.vocab_size})
        weights = folder / "weights.safetensors"
        execution = ExecutionSpec(device="cpu", checkpoint=str(weights))
        self.rows = train_run(self.spec, execution, sweep="test", corpus=self.corpus).runs
        self.model = build_model(self.spec)
        self.model.load_state_dict(load_file(weights))

    @property
    def end(self) -> RunRecord:
        return self.rows[-1]

    @torch.no_grad()
    def slow_counts(self, *, capacity_factor: float | None) -> list[list[list[int]]]:
        """Count tokens by layer and expert, one assignment after the other."""
        spec, ffn = self.spec, self.spec.model.ffn
        layers = len(spec.model.sparse_layers)
        counts = [[[0] * spec.vocab_size for _ in range(ffn.num_experts)] for _ in range(layers)]
        tokens = read_tokens(self.corpus.held_out_tokens_path, vocab_size=spec.vocab_size)
        batches = held_out_batches(tokens, seq_len=32, batch_tokens=256, max_tokens=None, window_tokens=None)
        for batch in batches:
            flat = batch.inputs_BS.flatten().tolist()
            output = self.model(batch.inputs_BS, capacity_factor=capacity_factor)
            for layer, routing in enumerate(output.routings):
                place = 0
                for expert, kept in enumerate(routing.kept_per_expert_E.tolist()):
                    for token in routing.token_N[place : place + kept].tolist():
                        counts[layer][expert][flat[token]] += 1
                    place += kept
        return counts

    def by_class(self, counts: list[list[list[int]]]) -> list[list[list[int]]]:
        tokenizer = open_tokenizer(self.corpus.tokenizer_path)
        names = [
            "other" if token == tokenizer.separator else class_of(tokenizer.decode([token]))
            for token in range(self.spec.vocab_size)
        ]
        return [
            [
                [sum(n for n, name in zip(row, names, strict=True) if name == each) for each in TOKEN_CLASSES]
                for row in layer
            ]
            for layer in counts
        ]


@pytest.mark.parametrize(
    "fields",
    [
        {"ffn": sparse(**EVERYWHERE)},
        {"ffn": sparse(router="top_k", top_k=2)},
        {"ffn": sparse(), "data": {"tokenizer": "bpe", "bpe_vocab_size": 280}},
    ],
    ids=["switch", "top_2", "subwords"],
)
@pytest.mark.parametrize("most_counts", [specialization.MOST_COUNTS, 0])
def test_the_row_says_which_tokens_each_expert_takes(
    fields: dict[str, Any], most_counts: int, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the vocabulary is too large to count its tokens one by one."""
    monkeypatch.setattr(specialization, "MOST_COUNTS", most_counts)
    run = Trained(dict(fields), text=text, folder=tmp_path)
    counts = run.slow_counts(capacity_factor=None)
    assert run.end.token_classes_by_expert == run.by_class(counts)
    if most_counts:
        assert run.end.expert_token_information == pytest.approx([mutual_information(layer) for layer in counts])
        assert run.end.held_out_token_entropy == pytest.approx(
            entropy([sum(each) for each in zip(*counts[0], strict=True)])
        )
    else:
        assert run.end.expert_token_information is run.end.held_out_token_entropy is None
    assert all(row.token_classes_by_expert is None for row in run.rows[:-1])


def test_a_hash_router_says_all_of_its_experts_load_by_the_token(text: Path, tmp_path: Path) -> None:
    end = Trained({"ffn": sparse(router="hash")}, text=text, folder=tmp_path).end
    (layer,) = end.token_classes_by_expert
    assert end.expert_token_information == [pytest.approx(entropy([sum(expert) for expert in layer]))]


def test_where_experts_choose_their_choices_are_counted(text: Path, tmp_path: Path) -> None:
    run = Trained({"ffn": sparse(router="expert_choice", capacity_factor=1.0)}, text=text, folder=tmp_path)
    limit = run.spec.model.ffn.evaluation_capacity_factor
    total = sum(map(sum, run.end.token_classes_by_expert[0]))
    assert total == sum(map(sum, run.slow_counts(capacity_factor=limit)[0]))


def test_symbols_have_no_classes_and_a_dense_model_has_no_experts(text: Path, tmp_path: Path) -> None:
    symbols = {"corpus": "zipf-markov", "path": None, "num_symbols": 8, "num_dialects": 2, "num_documents": 200}
    end = Trained({"ffn": sparse(), "data": symbols}, text=text, folder=tmp_path / "symbols").end
    assert end.token_classes_by_expert is None
    assert len(end.expert_token_information) == 1
    dense = Trained({}, text=text, folder=tmp_path / "dense").end
    assert (dense.token_classes_by_expert, dense.expert_token_information) == (None, None)
