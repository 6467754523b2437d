"""What costs are asked for: published models, sizes of the ladder, and the configurations of sweep files."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from switchbench.errors import UsageError
from switchbench.published import PUBLISHED
from switchbench.spec import (
    SIZES,
    Architecture,
    DataIdentity,
    DataSpec,
    ModelSpec,
    Precision,
    RunSpec,
    SparseFFNSpec,
    TrainSpec,
    architecture_of,
)
from switchbench.sweep import Cell, describe_cell, load_sweep
from switchbench.sweep.source import did_you_mean

SOURCE_LEN, TARGET_LEN = 512, 114
"""Tokens per sequence of an encoder-decoder model: those that reproduce the Switch Transformer's Table 9."""
DECODER_LEN = 2048
"""Tokens per sequence of a published decoder-only model of which nothing else is known."""
LADDER_LEN, LADDER_VOCABULARY = 128, 256
"""Sequence length and (bytes) vocabulary of a size of the ladder."""
MAX_EXPERTS = 65536
"""Most experts of a size of the ladder, as of every model of ours."""
_SWEEP_FILES = (".yaml", ".yml")

Identify = Callable[[DataSpec], DataIdentity]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model whose costs are asked for."""

    name: str
    """Name as asked for; of a sweep file's configuration, as its plan names it."""
    sweep: str | None
    """Sweep that it is a configuration of; None: it is asked for by name."""
    architecture: Architecture
    """Its architecture."""
    spec: RunSpec | None
    """The run that trains it; None for a published model, which nobody trains here."""
    source_len: int
    """Tokens of a sequence for the encoder; 0 for a decoder-only model."""
    target_len: int
    """Tokens of a sequence for the decoder."""
    source: str | None = None
    """Where a published model is described."""
    note: str | None = None
    """What is to be said of it."""

    @property
    def sequence_tokens(self) -> int:
        """Tokens of a sequence, for encoder and decoder together."""
        return self.source_len + self.target_len

    @property
    def batch_tokens(self) -> int:
        """Tokens of a step: those of the run, or one sequence."""
        return self.sequence_tokens if self.spec is None else self.spec.train.batch_tokens

    @property
    def precision(self) -> Precision:
        """Precision: that of the run, or float32."""
        return "float32" if self.spec is None else self.spec.train.precision

    @property
    def capacity_factor(self) -> float | None:
        """Capacity factor; None: the model is dense or dropless, or its capacity is not known."""
        return None if self._sparse_ffn is None else self._sparse_ffn.capacity_factor

    @property
    def routing_group_tokens(self) -> int | None:
        """Tokens that are routed together; None: the whole batch."""
        return None if self._sparse_ffn is None else self._sparse_ffn.routing_group_tokens

    @property
    def _sparse_ffn(self) -> SparseFFNSpec | None:
        ffn = None if self.spec is None else self.spec.model.ffn
        return ffn if isinstance(ffn, SparseFFNSpec) else None


def find_subjects(asked: Sequence[str], *, identify: Identify) -> tuple[Subject, ...]:
    """Find what costs are asked for, in the order in which it is.

    Args:
        asked: Published models, sizes of the ladder (as a dense model), ``SIZE-E`` (a Switch model of E experts), and
            sweep files, each followed by its own ``KEY=VALUE`` settings.
        identify: Identifies the corpus of a sweep file.

    Raises:
        UsageError: a name is not known, or a setting follows no file; says what is.
        SweepFileError: a sweep file has problems; all of them are listed.
        CorpusError: a corpus cannot be found or read.
    """
    requests = _with_settings(asked)
    num_files = sum(_is_sweep_file(word) for word, _ in requests)
    subjects: list[Subject] = []
    for word, settings in requests:
        if word in PUBLISHED:
            subjects.append(_published(word))
        elif _is_sweep_file(word):
            subjects += _of_a_sweep(word, settings=settings, identify=identify, is_only_file=num_files == 1)
        else:
            subjects.append(_of_the_ladder(word))
    return tuple(subjects)


def _with_settings(asked: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Give each word that is no setting with the settings that follow it."""
    requests: list[tuple[str, list[str]]] = []
    for word in asked:
        if "=" not in word or os.path.isfile(word):
            requests.append((word, []))
        elif requests and _is_sweep_file(requests[-1][0]):
            requests[-1][1].append(word)
        else:
            raise UsageError(f"{word!r} is a setting of a sweep file, and follows none; write FILE KEY=VALUE ...")
    return requests


def _is_sweep_file(word: str) -> bool:
    if word in PUBLISHED or _size_and_experts(word) is not None:
        return False
    return os.path.isfile(word) or Path(word).suffix in _SWEEP_FILES


def _published(name: str) -> Subject:
    published = PUBLISHED[name]
    is_encoded = published.architecture.is_encoder_decoder
    return Subject(
        name=name,
        sweep=None,
        architecture=published.architecture,
        spec=None,
        source_len=SOURCE_LEN if is_encoded else 0,
        target_len=TARGET_LEN if is_encoded else published.sequence_len or DECODER_LEN,
        source=published.source,
        note=published.note,
    )


def _of_the_ladder(name: str) -> Subject:
    found = _size_and_experts(name)
    if found is None:
        known = ", ".join(_families(PUBLISHED))
        raise UsageError(
            f"{name!r} is neither a model nor a sweep file.{did_you_mean(name, [*PUBLISHED, *SIZES])} Known are the "
            f"sizes {', '.join(SIZES)}, with up to {MAX_EXPERTS} experts as in 'xs-16', and {known}"
        )
    size, num_experts = found
    ffn = {"kind": "sparse", "num_experts": num_experts} if num_experts else {"kind": "dense"}
    spec = RunSpec(
        data=DataSpec(seq_len=LADDER_LEN),
        model=ModelSpec.model_validate({"size": size, "ffn": ffn}),
        train=TrainSpec(batch_tokens=LADDER_LEN),
        vocab_size=LADDER_VOCABULARY,
        data_fingerprint="no corpus is read",
    )
    return _of_a_run(spec, name=name, sweep=None)


def _of_a_sweep(word: str, *, settings: Sequence[str], identify: Identify, is_only_file: bool) -> list[Subject]:
    sweep = load_sweep(Path(word), overrides=settings, identify=identify)
    configurations: dict[str, Cell] = {}
    for cell in sweep.pending or sweep.cells:  # of a sweep that tunes, what it will report: tries cost as much
        configurations.setdefault(cell.spec.config_id, cell)
    prefix = "" if is_only_file else f"{sweep.name}: "
    return [
        _of_a_run(cell.spec, name=prefix + describe_cell(cell), sweep=sweep.name) for cell in configurations.values()
    ]


def _of_a_run(spec: RunSpec, *, name: str, sweep: str | None) -> Subject:
    return Subject(
        name=name,
        sweep=sweep,
        architecture=architecture_of(spec.model, vocab_size=spec.vocab_size),
        spec=spec,
        source_len=0,
        target_len=spec.data.seq_len,
    )


def _families(names: Iterable[str]) -> list[str]:
    """Shorten a list of names: of those that differ in the number at their end, the first and the last."""
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(re.sub(r"-[0-9]+$", "-", name), []).append(name)
    return [each[0] if len(each) == 1 else f"{each[0]} ... {each[-1]}" for each in families.values()]


def _size_and_experts(name: str) -> tuple[str, int] | None:
    """Split ``xs-16``; no experts are 0. None: it is no size."""
    size, dash, experts = name.partition("-")
    if size not in SIZES or (dash and not re.fullmatch("[1-9][0-9]{0,4}", experts)):
        return None
    num_experts = int(experts or 0)
    return (size, num_experts) if num_experts <= MAX_EXPERTS else None
