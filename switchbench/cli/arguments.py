"""What several commands ask for in the same words."""

from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[Path, typer.Argument(metavar="RESULTS", help="Folder with the results of sweeps, or of one sweep.")]
"""Where results are read."""
OnlySweep = Annotated[str | None, typer.Option(metavar="NAME", help="Only this sweep.", show_default=False)]
"""Which of the sweeps there."""
AsJson = Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")]
"""Whether the answer is for a program."""
TargetNll = Annotated[
    float | None,
    typer.Option(
        metavar="NLL",
        help="Speed-ups at this quality, in nats per token. Default: each dense twin's own at its end.",
        show_default=False,
    ),
]
"""The quality that speed-ups are measured at."""
Budgets = Annotated[
    list[str] | None,
    typer.Option(
        metavar="3e15FLOPs|10min|2GiB",
        help="The best dense and the best sparse configuration within it; may be repeated, then all hold.",
        show_default=False,
    ),
]
"""What a training may take."""
StepTimes = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Who is sooner on another machine, by what `bench step --json` wrote there; may be repeated.",
        show_default=False,
    ),
]
"""Step times of other machines."""
