"""Made-up sweeps that have what a page must withstand."""

from pathlib import Path

from switchbench.store import SweepFolder
from tests.factories import Study, make_spec, write_study

HOSTILE = "<script>alert(1)<img src=x onerror=alert(2)>\"quoted\" 'größer' & 深い"
LONG = "x" * 200
CLOSING = "</style></script><script>alert(3)</script>"

EXPECTED = "Sixteen experts win.\n\nBy <b>much</b>.\n"


def write_plain(root: Path, *, name: str = "capacity") -> SweepFolder:
    """Two seeds of a dense model and of three sparse ones; all went well."""
    return write_study(
        root,
        [
            Study(make_spec(), {0: [2.0, 1.8, 1.70], 1: [2.0, 1.8, 1.72]}, is_twin=True),
            Study(make_spec(num_experts=4), {0: [1.9, 1.7, 1.65], 1: [1.9, 1.7, 1.66]}, step_time_s=0.024),
            Study(make_spec(num_experts=16), {0: [1.9, 1.6, 1.60], 1: [1.9, 1.6, 1.58]}, step_time_s=0.03),
            Study(
                make_spec(num_experts=16, capacity_factor=2.0),
                {0: [1.9, 1.7, 1.62], 1: [1.9, 1.7, 1.61]},
                step_time_s=0.031,
            ),
        ],
        name=name,
        expected=EXPECTED,
    )


def write_single(root: Path, *, name: str = "capacity") -> SweepFolder:
    """One run: a page with next to nothing to draw."""
    return write_study(root, [Study(make_spec(), {0: [1.7]}, step_time_s=None)], name=name, expected=EXPECTED)


def write_large(root: Path) -> SweepFolder:
    """Fifty configurations."""
    studies = [Study(make_spec(), {0: [2.0, 1.8, 1.7]}, is_twin=True)]
    studies += [Study(make_spec(num_experts=2 + i), {0: [1.9, 1.7, 1.65 - i / 1000]}) for i in range(49)]
    return write_study(root, studies, name="large")


def write_eventful(root: Path) -> SweepFolder:
    """A sweep still under way, from two commits and machines, with names that are not kind to HTML."""
    dense, few, many = make_spec(), make_spec(num_experts=4), make_spec(num_experts=16)
    hostile = {"corpus": HOSTILE, "tokenizer": LONG}
    folder = write_study(
        root,
        [
            Study(dense, {0: [2.0, 1.8, 1.70], 1: [2.0, 1.8, 1.72], 2: None}, is_twin=True, columns=hostile),
            Study(
                few,
                {0: [1.9, 1.7, 1.65], 1: "crashed", 2: "diverged"},
                columns={"commit": "another", "machine_id": "elsewhere", "machine": CLOSING, "torch_version": "2.11"},
                settings={"data.corpus": HOSTILE},
            ),
            Study(many, {0: [1.9, 1.6, 1.58], 1: "oom", 2: None}, settings={"data.corpus": LONG}),
        ],
        name=HOSTILE.replace("/", ""),
        expected=CLOSING,
    )
    log = folder.log_path(few.model_copy(update={"seed": 1}).run_id)
    log.write_text("first line\n" * 500 + f"RuntimeError: {CLOSING}\nthe last line\n", encoding="utf-8")
    return folder
