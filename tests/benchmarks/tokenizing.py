"""What tokenizing a corpus takes beyond the tokenizer; run with `python -m tests.benchmarks.tokenizing`, prints JSON.

Throughput: the library's own `encode_batch` on texts that are in memory, and the writing of a token file from files on
the disk, in turns, so that both meet the same machine; the ratio is the median over pairs. Memory: the peak of a
process that prepares a corpus of generated rows from nothing, for two sizes of the corpus.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from switchbench.data.building import parts_of_files
from switchbench.data.files import list_python_stdlib
from switchbench.data.subwords import learn_byte_pairs
from switchbench.data.texts import decode
from switchbench.data.token_files import write_tokens
from switchbench.data.tokenizers import open_tokenizer
from switchbench.spec import DataSpec

PREPARE = """
import resource, sys, time
from pathlib import Path
from switchbench.data.corpora import prepare_corpus
from switchbench.spec import DataSpec
start = time.perf_counter()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
corpus = prepare_corpus(DataSpec.model_validate_json(sys.argv[1]), cache_root=Path(sys.argv[2]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(before * 1024, peak * 1024, corpus.corpus_bytes, time.perf_counter() - start)
"""


def measure_throughput(folder: Path, *, pairs: int, vocab_size: int) -> dict[str, float]:
    """Tokenize the standard library both ways, in turns."""
    parts = parts_of_files(list_python_stdlib(), DataSpec())
    path = folder / "tokenizer.json"
    learn_byte_pairs(parts.train, num_bytes=parts.train_bytes, vocab_size=vocab_size, path=path)
    tokenizer, texts = open_tokenizer(path), [decode(text[:])[0] for text in parts.train]
    import tokenizers

    library = tokenizers.Tokenizer.from_file(str(path))
    bare_s, ours_s = [], []
    for _ in range(pairs):
        start = time.perf_counter()
        library.encode_batch(texts)
        middle = time.perf_counter()
        write_tokens(folder / "tokens", parts.train, tokenizer=tokenizer)
        bare_s.append(middle - start)
        ours_s.append(time.perf_counter() - middle)
    return {
        "megabytes": parts.train_bytes / 1e6,
        "bare_megabytes_per_s": parts.train_bytes / 1e6 / statistics.median(bare_s),
        "ours_megabytes_per_s": parts.train_bytes / 1e6 / statistics.median(ours_s),
        "ratio": statistics.median(bare / ours for bare, ours in zip(bare_s, ours_s, strict=True)),
    }


def measure_memory(folder: Path, *, megabytes: int, tokenizer: str) -> dict[str, float | str]:
    """Prepare generated rows in a process of its own."""
    rng = np.random.default_rng(0)
    words = ["".join(map(chr, rng.integers(97, 123, size=rng.integers(2, 9)))) for _ in range(20_000)]
    path, size = folder / f"{megabytes}.jsonl", 0
    with path.open("w") as file:
        while size < megabytes * 10**6:
            size += file.write(json.dumps({"text": " ".join(words[i] for i in rng.integers(20_000, size=500))}) + "\n")
    data = DataSpec(corpus="text", path=str(path), tokenizer="bpe" if tokenizer == "bpe" else "bytes")
    command = [sys.executable, "-c", PREPARE, data.model_dump_json(), str(folder / f"cache {tokenizer} {megabytes}")]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    before, peak, corpus_bytes, seconds = map(float, output.split())
    return {
        "tokenizer": tokenizer,
        "corpus_megabytes": corpus_bytes / 1e6,
        "peak_megabytes": peak / 1e6,
        "start_megabytes": before / 1e6,
        "megabytes_per_s": corpus_bytes / 1e6 / seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--vocab-size", type=int, default=4096)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[50, 200])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memory = [
            measure_memory(folder, megabytes=size, tokenizer=tokenizer)
            for tokenizer in ("bytes", "bpe")
            for size in arguments.megabytes
        ]
        throughput = measure_throughput(folder, pairs=arguments.pairs, vocab_size=arguments.vocab_size)
    json.dump({"throughput": throughput, "memory": memory}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
