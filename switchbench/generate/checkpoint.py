"""Opening the checkpoint of a run: the model with its final weights, and the tokenizer that it was trained with."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from switchbench.data.corpora import identify_corpus, open_prepared_corpus, prepare_corpus
from switchbench.data.tokenizers import BYTES, Tokenizer, open_tokenizer
from switchbench.device import resolve_device
from switchbench.errors import CorpusError, ResultsFolderError, UsageError
from switchbench.inspection.search import KnownRun, find_run, known_runs
from switchbench.model.transformer import Transformer
from switchbench.spec import RunSpec, SparseFFNSpec
from switchbench.store import read_status


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained model that can write."""

    run_id: str
    """The run."""
    sweep: str
    """Name of its sweep."""
    spec: RunSpec
    """Its specification."""
    model: Transformer
    """The model, with the run's final weights."""
    tokenizer: Tokenizer
    """What its tokens are."""
    tokenizer_path: Path | None
    """The tokenizer.json; None: tokens are bytes."""


def open_checkpoint(
    run_id: str, *, results: Path, device: str = "auto", threads: int = 1, needs_routers: bool = False
) -> Checkpoint:
    """Open the checkpoint of a run.

    Args:
        run_id: Its id, or the start of it.
        results: A root of results, or the folder of one sweep.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads of this process from now on. A token is little work: threads that wait for each other
            make small models slower.
        needs_routers: Whether a dense model will not do.

    Raises:
        UsageError: there is no such run, more than one, or it cannot write text; says why.
        NothingToReportError: there is no sweep.
        ResultsFolderError: no checkpoint was kept, or it is damaged; says what to do.
        CorpusError: its tokenizer cannot be opened.
    """
    if threads < 1:
        raise UsageError(f"--threads {threads} is out of range; give 1 or more")
    torch.set_num_threads(threads)
    known = known_runs(results)
    found = find_run(run_id, among=known)
    if "-a" in run_id.lower():
        raise UsageError(
            f"{run_id} is an earlier annealed point; only the weights of a run's end are kept: {found.run_id}"
        )
    spec = _specification(found)
    _check_that_it_can_write(spec, run_id=found.run_id, needs_routers=needs_routers)
    # The same run may be in several sweeps, and its checkpoint in another one than the first.
    holders = [
        each for each in known if each.run_id == found.run_id and each.folder.checkpoint_path(each.run_id).exists()
    ]
    if not holders:
        raise ResultsFolderError(_why_there_is_none(found))
    holder = holders[0]
    tokenizer_path = _tokenizer_path(spec)
    tokenizer = BYTES if tokenizer_path is None else open_tokenizer(tokenizer_path)
    if tokenizer.vocab_size != spec.vocab_size:
        raise CorpusError(
            f"the tokenizer of run {found.run_id} has {tokenizer.vocab_size} tokens, and the run was trained with "
            f"{spec.vocab_size}; give back the tokenizer that it was trained with"
        )
    return Checkpoint(
        run_id=found.run_id,
        sweep=holder.manifest.sweep,
        spec=spec,
        model=_load(spec, holder, device=resolve_device(device)),
        tokenizer=tokenizer,
        tokenizer_path=tokenizer_path,
    )


def _specification(run: KnownRun) -> RunSpec:
    spec = run.spec()
    try:
        return RunSpec.model_validate(spec)
    except ValidationError as error:
        raise ResultsFolderError(
            f"this version of switchbench cannot read what run {run.run_id} of sweep {run.manifest.sweep} is; run the "
            f"sweep again with it: {run.manifest.command}"
        ) from error


def _check_that_it_can_write(spec: RunSpec, *, run_id: str, needs_routers: bool) -> None:
    ffn = spec.model.ffn
    if spec.data.corpus_kind == "zipf-markov":
        raise UsageError(
            f"run {run_id} was trained on generated symbols (data.corpus zipf-markov), which are no text; "
            "choose a run that was trained on text"
        )
    if isinstance(ffn, SparseFFNSpec) and not ffn.is_causal:
        raise UsageError(
            f"run {run_id} cannot write: with router {ffn.router!r} experts choose their tokens with a look at later "
            "ones, which do not exist yet; choose a run with another router"
        )
    if needs_routers and not spec.model.sparse_layers:
        raise UsageError(
            f"--trace: run {run_id} is dense, it has no experts; choose a sparse one, or leave out --trace"
        )


def _why_there_is_none(run: KnownRun) -> str:
    status = read_status(run.folder, run.run_id)
    command = f"{run.manifest.command} --keep-checkpoints"
    where = f"run {run.run_id} of sweep {run.manifest.sweep}"
    match status:
        case None:
            return f"{where} has no result yet, and so no checkpoint. To train it and keep its weights:\n  {command}"
        case "ok":
            return (
                f"the weights of {where} were not kept. To train the sweep again and keep them (with --filter only "
                f"some of its runs):\n  {command} --force"
            )
        case _:
            return f"{where} ended with status {status}: it has no final weights. Choose a run that ended well"


def _tokenizer_path(spec: RunSpec) -> Path | None:
    """The tokenizer.json of a run; a learned one lies with the prepared text, which is prepared again if need be."""
    if spec.data.tokenizer == "bytes":
        return None
    try:
        return open_prepared_corpus(spec.data_fingerprint).tokenizer_path
    except CorpusError:
        if identify_corpus(spec.data).fingerprint != spec.data_fingerprint:
            raise CorpusError(
                "the text or the tokenizer that the run was trained with has changed since, and its tokens with it; "
                "put back what there was, or train the run again"
            ) from None
        return prepare_corpus(spec.data).tokenizer_path


def _load(spec: RunSpec, run: KnownRun, *, device: torch.device) -> Transformer:
    path = run.folder.checkpoint_path(run.run_id)
    remedy = f"To train it again:\n  {run.manifest.command} --keep-checkpoints --force"
    model = Transformer(spec.model, vocab_size=spec.vocab_size, precision=spec.train.precision)
    try:
        with safe_open(str(path), framework="pt") as file:
            whose = (file.metadata() or {}).get("run_id", run.run_id)
            # A safetensors file is no mapping, for all that it has keys. It is copied, since the file may be replaced.
            weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ResultsFolderError(f"{path} is damaged ({error}). {remedy}") from error
    if whose != run.run_id:
        raise ResultsFolderError(f"{path} holds the weights of run {whose}, not of {run.run_id}. {remedy}")
    wanted = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    there = {name: list(tensor.shape) for name, tensor in weights.items()}
    if wanted != there:
        wrong = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
        raise ResultsFolderError(f"{path} does not fit the run: {json.dumps(wrong[:3])} is not as it must be. {remedy}")
    if not all(bool(tensor.isfinite().all()) for tensor in weights.values()):
        raise ResultsFolderError(f"{path} holds weights that are no numbers. {remedy}")
    model.load_state_dict(weights)
    return model.to(device).eval()
