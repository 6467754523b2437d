"""The published results keep their identity: a new field of a specification orphans nothing."""

import json
from pathlib import Path

import pytest

from switchbench.spec import DataIdentity, RunSpec
from switchbench.sweep import load_sweep

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = {path.parent.name: json.loads(path.read_text()) for path in ROOT.glob("results/reference/*/manifest.json")}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_stored_specification_still_has_its_id(name: str) -> None:
    for cell in MANIFESTS[name]["cells"]:
        assert RunSpec.model_validate(cell["spec"]).run_id == cell["run_id"]


@pytest.mark.parametrize("name", [name for name, manifest in MANIFESTS.items() if not manifest.get("tuning")])
def test_the_sweep_file_still_expands_to_the_published_runs(name: str) -> None:
    manifest = MANIFESTS[name]
    specs = [RunSpec.model_validate(cell["spec"]) for cell in manifest["cells"]]
    identities = {spec.data: DataIdentity(spec.data_fingerprint, spec.vocab_size) for spec in specs}
    sweep = load_sweep(ROOT / manifest["file"], identify=identities.__getitem__)
    assert {cell.spec.run_id for cell in sweep.cells} == {cell["run_id"] for cell in manifest["cells"]}
