"""Small models that were really trained, in a results folder as a sweep leaves it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from switchbench.data.corpora import identify_corpus, prepare_corpus
from switchbench.spec import ExecutionSpec, RunSpec
from switchbench.store import Manifest, ManifestCell, SweepFolder, write_manifest, write_run
from switchbench.train import train_run
from tests.specs import sparse, tiny_run

COMMAND = "switchbench sweep small.yaml"


@dataclass
class Trained:
    """A results folder with runs of each kind, by name."""

    root: Path
    cache: Path
    specs: dict[str, RunSpec] = field(default_factory=dict)

    @property
    def folder(self) -> SweepFolder:
        return SweepFolder(self.root / "small")

    def run_id(self, name: str) -> str:
        return self.specs[name].run_id


KINDS: dict[str, dict[str, Any]] = {
    "dense": {},
    "switch": {"ffn": sparse(switch_layer_frequency=1.0)},
    "top_2": {"ffn": sparse(router="top_k", top_k=2, shared_experts=1, balance="bias")},
    "hash": {"ffn": sparse(router="hash")},
    "untied": {"ffn": sparse(gate_scale="unit_at_init"), "model": {"tied_output": False}},
    "expert_choice": {"ffn": sparse(router="expert_choice", capacity_factor=1.0)},
    "subwords": {"ffn": sparse(), "data": {"tokenizer": "bpe", "bpe_vocab_size": 300}},
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Every kind, trained on a few words in two alphabets; all of them kept their weights."""
    root, text = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("text")
    for index in range(40):
        words = " ".join(f"näh{(index * 7 + i * i) % 50} 木\n" for i in range(120))
        (text / f"{index}.txt").write_text(words, encoding="utf-8")
    found = Trained(root=root, cache=tmp_path_factory.mktemp("cache"))
    found.folder.create()
    for name, fields in KINDS.items():
        data = {"corpus": "text", "path": str(text), "held_out_fraction": 0.1} | fields.get("data", {})
        spec = tiny_run(**{**fields, "data": data})
        corpus = prepare_corpus(spec.data, cache_root=found.cache)
        identity = identify_corpus(spec.data)
        spec = spec.model_copy(update={"data_fingerprint": identity.fingerprint, "vocab_size": identity.vocab_size})
        found.specs[name] = spec
        checkpoint = str(found.folder.checkpoint_path(spec.run_id))
        result = train_run(spec, ExecutionSpec(device="cpu", checkpoint=checkpoint), sweep="small", corpus=corpus)
        assert result.runs[-1].status == "ok"
        write_run(found.folder, runs=result.runs, steps=result.steps, spec=spec)
    write_manifest(found.folder, manifest_of(list(found.specs.values())))
    return found


def manifest_of(specs: list[RunSpec]) -> Manifest:
    """The manifest of a sweep of these runs."""
    cells = [
        ManifestCell(
            run_id=spec.run_id,
            config_id=spec.config_id,
            seed=spec.seed,
            role=spec.model.ffn.kind,
            spec=spec.model_dump(mode="json"),
        )
        for spec in specs
    ]
    return Manifest(
        sweep="small",
        question="",
        file="small.yaml",
        command=COMMAND,
        created_at="2026-01-01T00:00:00+00:00",
        cells=cells,
    )


@pytest.fixture(autouse=True)
def _prepared_texts(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBENCH_CACHE", str(trained.cache))
