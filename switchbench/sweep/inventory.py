"""What a sweep file comes to, in numbers and in one sentence."""

from typing import Any

from switchbench.expressions import describe_value
from switchbench.sweep.cells import Sweep

INVENTORY_SCHEMA = 1
"""Version of the JSON object."""


def inventory_json(sweep: Sweep) -> dict[str, Any]:
    """Count the runs and configurations of a sweep, and list what constraints drop.

    Args:
        sweep: The sweep.
    """
    reported = [cell for cell in (*sweep.cells, *sweep.pending) if cell.role != "tuning"]
    kinds = {cell.spec.config_id: cell.kind for cell in reported}
    return {
        "schema_version": INVENTORY_SCHEMA,
        "file": sweep.file,
        "sweep": sweep.name,
        "runs": len(reported),
        "configurations": len(kinds),
        "sparse_configurations": list(kinds.values()).count("sparse"),
        "dense_configurations": list(kinds.values()).count("dense"),
        "seeds": len({cell.spec.seed for cell in reported}),
        "tries": len(sweep.cells) - len(reported) + len(sweep.pending),
        "tuned": [] if sweep.tuning is None else list(sweep.tuning.grid),
        "axes": list(sweep.axes),
        "primary": sweep.primary and vars(sweep.primary),
        "controls": [vars(each) for each in sweep.controls],
        "dropped": [vars(each) for each in sweep.dropped],
    }


def inventory_line(sweep: Sweep) -> str:
    """Say what a sweep comes to, in one line.

    Args:
        sweep: The sweep.
    """
    counted = inventory_json(sweep)
    kinds = [f"{counted[f'{kind}_configurations']} {kind}" for kind in ("sparse", "dense")]
    parts = [kind for kind in kinds if not kind.startswith("0 ")]
    line = (
        f"{sweep.file}: {_counted(counted['runs'], 'run')} of {_counted(counted['configurations'], 'configuration')} "
        f"({', '.join(parts)}) with {_counted(counted['seeds'], 'seed')}"
    )
    if sweep.tuning is not None:
        line += f", after {counted['tries']:,} runs that tune {' and '.join(counted['tuned'])}"
    if sweep.dropped:
        line += f"; constraints drop {_counted(len(sweep.dropped), 'configuration')}"
    return line


def dropped_lines(sweep: Sweep, *, most: int = 20) -> list[str]:
    """Say which configurations constraints drop, and why; none where there are none.

    Args:
        sweep: The sweep.
        most: Most configurations to list; the others are counted.
    """
    if not sweep.dropped:
        return []
    lines = [f"Constraints drop {_counted(len(sweep.dropped), 'configuration')}:"]
    for each in sweep.dropped[:most]:
        settings = [f"{path.rpartition('.')[2]} {describe_value(value)}" for path, value in each.settings.items()]
        lines.append(f"  {', '.join(settings)}: {each.reason}")
    if len(sweep.dropped) > most:
        lines.append(f"  and {len(sweep.dropped) - most:,} more; --json lists them all")
    return lines


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
