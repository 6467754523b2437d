"""`switchbench generate`: text from a kept checkpoint."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from switchbench.cli.arguments import AsJson
from switchbench.cli.output import DEFAULT_RESULTS, plain_console, print_json


def generate(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN_ID", help="The run, by its id or the start of it.", show_default=False)
    ],
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="The beginning of a document, to go on from.")] = "",
    tokens: Annotated[int, typer.Option(metavar="N", help="Most tokens to write.")] = 200,
    temperature: Annotated[
        float, typer.Option(metavar="T", help="What logits are divided by; 0: always the most probable token.")
    ] = 1.0,
    top_p: Annotated[
        float, typer.Option(metavar="P", help="Only from the fewest tokens that have this probability together.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of chance: the same gives the same text.")] = 0,
    trace: Annotated[
        bool, typer.Option("--trace", help="Show which expert took each token, in every sparse layer.")
    ] = False,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute; auto: on a GPU if there is one.")
    ] = "auto",
    threads: Annotated[int, typer.Option(metavar="N", help="CPU threads; more than 1 for large models only.")] = 1,
    results: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with the results of sweeps, or of one sweep.")
    ] = DEFAULT_RESULTS,
    as_json: AsJson = False,
) -> None:
    """Write text with the final weights of a run, which `sweep --keep-checkpoints` keeps.

    The text goes to stdout as it is written, and how fast it was written to stderr. Nothing is dropped, as in
    evaluation.
    """
    from switchbench.generate.checkpoint import open_checkpoint
    from switchbench.generate.sampling import Sampling
    from switchbench.generate.text import printable
    from switchbench.generate.trace import print_trace
    from switchbench.generate.writing import write_on
    from switchbench.units import significant

    sampling = Sampling(temperature=temperature, top_p=top_p)
    checkpoint = open_checkpoint(run_id, results=results, device=device, threads=threads, needs_routers=trace)

    def show(text: str) -> None:
        if not as_json:
            print(printable(text), end="", flush=sys.stdout.isatty())

    show(prompt)
    writing = write_on(
        checkpoint, prompt, num_tokens=tokens, sampling=sampling, seed=seed, with_trace=trace, on_text=show
    )
    if as_json:
        print_json(writing.as_json())
        return
    print(flush=True)
    if writing.trace is not None:
        print()
        print_trace(writing.trace, console=plain_console())
    speed = writing.tokens_per_second
    written = f"{len(writing.tokens)} tokens" + ("" if speed is None else f" at {significant(speed)} tokens/s")
    read = f"{len(writing.prompt_tokens)} of the prompt at {significant(writing.prompt_tokens_per_second)} tokens/s"
    print(f"{written}; {read}", file=sys.stderr)
    for note in writing.notes:
        print(f"note: {note}", file=sys.stderr)
