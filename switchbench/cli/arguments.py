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
