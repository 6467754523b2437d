"""Text of known entropy: its entropy and floor against brute force, its layout, and what a model can reach on it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from switchbench.data.batches import held_out_batches, open_train_batches
from switchbench.data.corpora import PreparedCorpus, identify_corpus, prepare_corpus, read_tokens
from switchbench.data.zipf_markov import ZipfMarkov, zipf_probs
from switchbench.spec import DataSpec, ExecutionSpec
from switchbench.train import train_run
from tests.specs import tiny_run


def generator(**fields: Any) -> ZipfMarkov:
    default = {"num_symbols": 16, "num_dialects": 3, "zipf_exponent": 1.5, "seq_len": 32, "seed": 0}
    return ZipfMarkov(**(default | fields))


def all_documents(made: ZipfMarkov, count: int) -> tuple[np.ndarray, float]:
    chunks = list(made.documents(first=0, last=count))
    return np.concatenate([tokens for tokens, _ in chunks]), math.fsum(nll for _, nll in chunks)


def slow_nll(made: ZipfMarkov, document: list[int]) -> float:
    """The generator's nll of a document, from the probability of each symbol."""
    weights = [rank**-made.zipf_exponent for rank in range(1, made.num_symbols + 1)]
    successors = made.successors_KVV()
    dialect, before, *rest = document
    nll = math.log(made.num_symbols)
    for symbol in rest:
        rank = successors[dialect - made.num_symbols, before].tolist().index(symbol)
        nll -= math.log(weights[rank] / sum(weights))
        before = symbol
    return nll


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.5, 3.0])
def test_the_entropy_rate_is_what_the_text_takes(exponent: float):
    made = generator(zipf_exponent=exponent)
    documents, nll = all_documents(made, 4000)
    rate = (nll - len(documents) * math.log(made.num_symbols)) / (len(documents) * (made.seq_len - 1))
    probs = zipf_probs(16, exponent=exponent)
    sd = math.sqrt(float(probs @ np.log(probs) ** 2) - made.entropy_rate**2) / math.sqrt(4000 * 31)
    assert abs(rate - made.entropy_rate) <= 4 * sd + 1e-12
    if exponent == 0:
        assert made.entropy_rate == pytest.approx(math.log(16))


@settings(max_examples=25, deadline=None)
@given(
    num_symbols=st.integers(2, 20), num_dialects=st.integers(1, 5), exponent=st.floats(0, 4), seed=st.integers(0, 99)
)
def test_the_floor_is_the_sum_over_all_symbols(num_symbols: int, num_dialects: int, exponent: float, seed: int):
    made = generator(num_symbols=num_symbols, num_dialects=num_dialects, zipf_exponent=exponent, seed=seed, seq_len=9)
    documents, nll = all_documents(made, 7)
    assert nll == pytest.approx(math.fsum(slow_nll(made, document) for document in documents.tolist()))


def test_successors_follow_the_ranks_and_differ_by_dialect_and_symbol():
    made = generator(num_symbols=6, num_dialects=2, seq_len=200)
    documents, _ = all_documents(made, 4000)
    successors = made.successors_KVV()
    assert all(sorted(row) == list(range(6)) for table in successors.tolist() for row in table), "permutations"
    assert len({tuple(row) for table in successors.tolist() for row in table}) > 8, "12 rows, 720 orders"
    for dialect in range(2):
        mine = documents[documents[:, 0] == 6 + dialect][:, 1:]
        for symbol in range(6):
            after = mine[:, 1:][mine[:, :-1] == symbol]
            shares = np.bincount(after, minlength=6)[successors[dialect, symbol]] / len(after)
            assert shares == pytest.approx(made.rank_probs_V, abs=0.01)


def test_dialects_are_zipf_distributed_and_first_symbols_even():
    made = generator(num_dialects=4, seq_len=2)
    documents, _ = all_documents(made, 40_000)
    dialects = np.bincount(documents[:, 0] - 16, minlength=4) / 40_000
    assert dialects == pytest.approx(zipf_probs(4, exponent=1.0), abs=0.01)
    assert np.bincount(documents[:, 1], minlength=16) / 40_000 == pytest.approx(np.full(16, 1 / 16), abs=0.006)


def test_a_document_is_the_same_whichever_others_are_asked_for():
    made = generator(seq_len=4)
    everything, _ = all_documents(made, 9000)
    for first, last in ((0, 1), (4095, 4097), (5000, 9000), (8999, 9000)):
        some = np.concatenate([tokens for tokens, _ in made.documents(first=first, last=last)])
        assert np.array_equal(some, everything[first:last])
    assert not np.array_equal(everything, all_documents(generator(seq_len=4, seed=1), 9000)[0])


def test_one_dialect_leaves_nothing_to_tell_apart():
    made = generator(num_dialects=1)
    documents, _ = all_documents(made, 50)
    assert set(documents[:, 0].tolist()) == {16}
    assert made.vocab_size == 17


def spec(**fields: Any) -> DataSpec:
    default = {"num_symbols": 16, "num_dialects": 3, "num_documents": 600, "seq_len": 32, "held_out_fraction": 0.1}
    return DataSpec(corpus="zipf-markov", **(default | fields))


def test_the_corpus_is_the_generators_text_and_its_floor_that_of_the_held_out_part(tmp_path: Path):
    corpus = prepare_corpus(spec(), cache_root=tmp_path)
    made = generator()
    documents, _ = all_documents(made, 600)
    parts = [
        read_tokens(path, vocab_size=corpus.vocab_size).reshape(-1, 33)
        for path in (corpus.train_tokens_path, corpus.held_out_tokens_path)
    ]
    assert [len(part) for part in parts] == [540, 60]
    assert np.array_equal(np.concatenate(parts), documents)
    floor = math.fsum(slow_nll(made, document) for document in parts[1].tolist()) / (60 * 32)
    assert corpus.nll_floor == pytest.approx(floor)
    assert (corpus.held_out_bytes, corpus.corpus_bytes, corpus.held_out_overlap) == (0, 0, 0.0)
    assert (corpus.fingerprint, corpus.vocab_size) == tuple(identify_corpus(spec()))


def test_every_field_and_the_length_of_sequences_is_in_the_identity(tmp_path: Path):
    changes: list[dict[str, Any]] = [
        {}, {"num_symbols": 17}, {"num_dialects": 4}, {"zipf_exponent": 1.4}, {"num_documents": 601},
        {"generator_seed": 1}, {"seq_len": 31}, {"held_out_fraction": 0.2},
    ]  # fmt: skip
    corpora = [prepare_corpus(spec(**change), cache_root=tmp_path) for change in changes]
    assert len({corpus.fingerprint for corpus in corpora}) == len(changes)
    assert len({corpus.held_out_tokens_path.read_bytes() for corpus in corpora}) == len(changes)


def run_of(data: DataSpec, corpus: PreparedCorpus, **train: Any) -> Any:
    chosen = {"batch_tokens": 256, "tokens": 8192} | train
    run = tiny_run(data=data.model_dump(exclude_defaults=True), train=chosen)
    return run.model_copy(update={"vocab_size": corpus.vocab_size})


def test_windows_are_documents_and_no_dialect_is_ever_a_target(tmp_path: Path):
    corpus = prepare_corpus(spec(), cache_root=tmp_path)
    run = run_of(spec(), corpus)
    batches = open_train_batches(run, corpus=corpus)
    assert batches.windows_per_epoch == 540
    seen = []
    for step in range(3 * 540 // 8):
        batch = batches.batch(step)
        assert (batch.inputs_BS[:, 0] >= 16).all(), "a dialect symbol opens every sequence"
        assert (batch.inputs_BS[:, 1:] < 16).all()
        assert (batch.targets_BS < 16).all()
        seen += [tuple(row) for row in batch.inputs_BS.tolist()]
    train = read_tokens(corpus.train_tokens_path, vocab_size=corpus.vocab_size).reshape(-1, 33)
    assert set(seen[:536]) <= {tuple(row) for row in train[:, :-1].tolist()}
    held_out = read_tokens(corpus.held_out_tokens_path, vocab_size=corpus.vocab_size)
    scored = list(held_out_batches(held_out, seq_len=32, batch_tokens=256, max_tokens=None, window_tokens=33))
    targets = np.concatenate([batch.targets_BS.numpy() for batch in scored])
    assert np.array_equal(targets, held_out.reshape(-1, 33)[:, 1:]), "every held-out symbol is scored once"


@pytest.mark.parametrize("zipf_exponent", [1.0, 3.0])
def test_a_trained_model_comes_close_to_the_floor_and_stays_above(zipf_exponent: float, tmp_path: Path):
    data = spec(num_dialects=1, num_symbols=6, num_documents=4000, zipf_exponent=zipf_exponent)
    corpus = prepare_corpus(data, cache_root=tmp_path)
    run = run_of(data, corpus, tokens=80_000, learning_rate=2e-2)
    result = train_run(run, ExecutionSpec(device="cpu"), sweep="test", corpus=corpus)
    end = result.runs[-1]
    assert corpus.nll_floor is not None
    assert end.nll_floor == corpus.nll_floor
    assert end.nll is not None
    assert end.bits_per_byte is None
    # 400 documents of 32 symbols: the floor of the very same symbols, which a model beats only by knowing them.
    assert corpus.nll_floor - 0.003 < end.nll < corpus.nll_floor + 0.1
    assert end.epochs == pytest.approx(run.train.num_steps * 256 / corpus.num_train_tokens)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tokenizer": "bpe"}, "tokenizer 'bpe' does nothing with corpus 'zipf-markov'"),
        ({"path": "here"}, "`path` goes with corpus 'text' or 'hf', not with 'zipf-markov'"),
        ({"num_symbols": 4096, "num_dialects": 99}, "needs a table of 1660944384 successors; at most 134217728"),
        ({"corpus": "python-stdlib"}, "`num_symbols` goes with corpus 'zipf-markov', not with 'python-stdlib'"),
    ],
)
def test_fields_that_do_not_go_together(fields: dict[str, Any], message: str):
    with pytest.raises(ValidationError) as refused:
        DataSpec(**({"corpus": "zipf-markov", "num_symbols": 16} | fields))
    assert message in str(refused.value)
