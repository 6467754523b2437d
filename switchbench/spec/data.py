"""The text of a run: where it comes from, how it becomes tokens, and how it is cut."""

from typing import Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from switchbench.spec.fields import Float, Int, Spec

CorpusKind = Literal["python-stdlib", "text", "zipf-markov", "hf"]

HUB_PREFIX = "hf:"
"""Begins the name of a data set on the Hugging Face Hub."""

_OF_ROWS = ("column",)
_OF_HF = ("hf_split", "hf_revision", "max_documents", "max_bytes")
_OF_ZIPF_MARKOV = ("num_symbols", "num_dialects", "zipf_exponent", "num_documents", "generator_seed")
_LARGEST_TABLE = 2**27


class DataIdentity(NamedTuple):
    """What must be known of a corpus before anything is tokenized."""

    fingerprint: str
    """Hash of relative paths, bytes, tokenizer definition and split."""
    vocab_size: int
    """Vocabulary, V."""


class DataSpec(Spec):
    """The text, how it becomes tokens, and how it is cut."""

    corpus: str = Field(
        "python-stdlib",
        description="`python-stdlib` (the running interpreter's own library), `text` (your files, with `path`), "
        "`zipf-markov` (generated, of known entropy), `hf:NAME` or `hf:OWNER/NAME/CONFIG` (a data set of the Hugging "
        "Face Hub), or `hf` (one on disk, with `path`).",
    )
    path: str | None = Field(
        None,
        description="For `text`: a file, folder or glob; for `hf`: a folder. Not part of the identity: the files' "
        "content is.",
    )
    column: str = Field("text", description="For `hf`, and for .jsonl and .parquet files: the column with the text.")
    hf_split: str = Field("train", description="For `hf`: the split of the data set that is read.")
    hf_revision: str | None = Field(
        None,
        description="For `hf:NAME`: commit, tag or branch; null: the newest. What was read is recorded.",
    )
    max_documents: Int | None = Field(
        None, ge=1, description="For `hf`: read so many documents from the start; null: no limit."
    )
    max_bytes: Int | None = Field(
        None, ge=1, description="For `hf`: read documents from the start until they have so many bytes; null: no limit."
    )
    num_symbols: Int = Field(64, ge=2, le=4096, description="For `zipf-markov`: symbols of the text.")
    num_dialects: Int = Field(
        32, ge=1, le=4096, description="For `zipf-markov`: dialects, K; each has its own successors for every symbol."
    )
    zipf_exponent: Float = Field(
        1.5, ge=0, le=20, description="For `zipf-markov`: s of the successors' distribution, p(rank) ~ rank^-s."
    )
    num_documents: Int = Field(
        40_000, ge=2, description="For `zipf-markov`: documents, of one sequence each, both parts together."
    )
    generator_seed: Int = Field(0, ge=0, lt=2**31, description="For `zipf-markov`: seed of the text.")
    tokenizer: Literal["bytes", "bpe", "file"] = Field(
        "bytes",
        description="`bytes`: one token per byte, vocabulary 256; `bpe`: byte pairs, learned from the training part; "
        "`file`: an existing tokenizer.json, with `tokenizer_path`.",
    )
    bpe_vocab_size: Int = Field(4096, ge=260, le=2**20, description="For `bpe`: vocabulary, V.")
    tokenizer_path: str | None = Field(
        None, description="For `file`: the tokenizer.json. Not part of the identity: its content is."
    )
    seq_len: Int = Field(128, ge=2, le=65536, description="Positions per sequence, S.")
    held_out_fraction: Float = Field(0.01, gt=0, lt=0.5, description="Share of the corpus (whole files) held out.")
    repeat: Float | None = Field(
        None,
        ge=1,
        description="Times that the training text is seen: only train.tokens / repeat of its tokens are used; "
        "null: all of them.",
    )

    @field_validator("corpus")
    @classmethod
    def _check_corpus(cls, corpus: str) -> str:
        parts = corpus.removeprefix(HUB_PREFIX).split("/")
        if corpus in ("python-stdlib", "text", "zipf-markov", "hf"):
            return corpus
        if corpus.startswith(HUB_PREFIX) and len(parts) <= 3 and all(part.strip() == part != "" for part in parts):
            return corpus
        raise ValueError(
            f"must be 'python-stdlib', 'text', 'zipf-markov', 'hf' or 'hf:NAME', such as "
            f"'hf:Salesforce/wikitext/wikitext-103-raw-v1', got {corpus!r}"
        )

    @model_validator(mode="after")
    def _check_path(self) -> Self:
        if self.corpus == "text" and not self.path:
            raise ValueError("corpus 'text' needs `path`: a file, folder or glob")
        if self.corpus == "hf" and not self.path:
            raise ValueError("corpus 'hf' needs `path`: the folder of a data set; one of the Hub is 'hf:NAME'")
        if self.corpus not in ("text", "hf") and self.path is not None:
            raise ValueError(f"`path` goes with corpus 'text' or 'hf', not with {self.corpus!r}")
        return self

    @model_validator(mode="after")
    def _check_corpus_fields(self) -> Self:
        kind = self.corpus_kind
        self._refuse(_OF_ROWS, unless=kind in ("text", "hf"), owner="corpus 'text' or 'hf'", got=self.corpus)
        self._refuse(_OF_HF, unless=kind == "hf", owner="corpus 'hf'", got=self.corpus)
        self._refuse(_OF_ZIPF_MARKOV, unless=kind == "zipf-markov", owner="corpus 'zipf-markov'", got=self.corpus)
        if self.hf_revision is not None and self.hub_name is None:
            raise ValueError("`hf_revision` goes with corpus 'hf:NAME': a data set on disk has no revisions")
        if self.hub_name is not None and self.max_documents is None and self.max_bytes is None:
            raise ValueError(
                f"corpus {self.corpus!r} needs max_documents or max_bytes: data sets of the Hub are read from the "
                "start, and may be larger than the disk"
            )
        if kind == "zipf-markov" and self.num_dialects * self.num_symbols**2 > _LARGEST_TABLE:
            raise ValueError(
                f"num_dialects {self.num_dialects} with num_symbols {self.num_symbols} needs a table of "
                f"{self.num_dialects * self.num_symbols**2} successors; at most {_LARGEST_TABLE} are allowed"
            )
        return self

    @model_validator(mode="after")
    def _check_tokenizer(self) -> Self:
        name = self.tokenizer
        if self.corpus_kind == "zipf-markov" and name != "bytes":
            raise ValueError(f"tokenizer {name!r} does nothing with corpus 'zipf-markov', whose symbols are tokens")
        self._refuse(("bpe_vocab_size",), unless=name == "bpe", owner="tokenizer 'bpe'", got=name)
        self._refuse(("tokenizer_path",), unless=name == "file", owner="tokenizer 'file'", got=name)
        if name == "file" and not self.tokenizer_path:
            raise ValueError("tokenizer 'file' needs `tokenizer_path`: a tokenizer.json")
        return self

    def _refuse(self, names: tuple[str, ...], *, unless: bool, owner: str, got: str) -> None:
        """Refuse a value that would do nothing; a value that is the default is as good as none."""
        for name in names:
            if not unless and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"`{name}` goes with {owner}, not with {got!r}")

    @property
    def corpus_kind(self) -> CorpusKind:
        """What kind of corpus this is."""
        match self.corpus:
            case "python-stdlib" | "text" | "zipf-markov":
                return self.corpus
            case _:
                return "hf"

    @property
    def hub_name(self) -> str | None:
        """Name of the data set on the Hugging Face Hub; None: it is no such corpus.

        >>> DataSpec(corpus="hf:allenai/c4/en", max_documents=10).hub_name
        'allenai/c4'
        """
        if not self.corpus.startswith(HUB_PREFIX):
            return None
        return "/".join(self.corpus.removeprefix(HUB_PREFIX).split("/")[:2])

    @property
    def hub_config(self) -> str | None:
        """Configuration of the data set on the Hub; None: its only one."""
        parts = self.corpus.removeprefix(HUB_PREFIX).split("/")
        return parts[2] if len(parts) == 3 else None

    @property
    def window_tokens(self) -> int:
        """Tokens from the start of a sequence to that of the next.

        In a stream of text the last target of a sequence is the first input of the next one. Generated documents fill a
        sequence and its last target, and share nothing.
        """
        return self.seq_len + 1 if self.corpus_kind == "zipf-markov" else self.seq_len
