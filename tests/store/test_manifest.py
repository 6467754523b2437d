import json
from pathlib import Path

import pytest
from factories import COMMAND, Study, make_spec, write_study

from switchbench.errors import ResultsFolderError
from switchbench.spec import RunSpec
from switchbench.store import MANIFEST_SCHEMA, SweepFolder, read_manifest


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    studies = [
        Study(make_spec(), {0: [2.0, 1.8, 1.7], 1: None}, is_twin=True),
        Study(make_spec(num_experts=4), {0: [2.0, 1.8, 1.6], 1: "crashed"}, settings={"model.ffn.num_experts": 4}),
    ]
    return write_study(tmp_path, studies, name="Kapazität 2", axes=["model.ffn.num_experts"])


def test_the_manifest_comes_back_as_it_was(folder: SweepFolder):
    manifest = read_manifest(folder)
    assert (manifest.sweep, manifest.command, manifest.axes) == ("Kapazität 2", COMMAND, ("model.ffn.num_experts",))
    assert [(cell.role, cell.seed) for cell in manifest.cells] == [
        ("dense", 0),
        ("dense", 1),
        ("sparse", 0),
        ("sparse", 1),
    ]
    assert manifest.cells[0].twin_of == (manifest.cells[2].config_id,)
    for cell in manifest.cells:
        spec = RunSpec.model_validate(cell.spec)
        assert (spec.run_id, spec.config_id) == (cell.run_id, cell.config_id)


def test_a_later_versions_fields_are_passed_over(folder: SweepFolder):
    content = json.loads(folder.manifest_path.read_text(encoding="utf-8"))
    content["mood"] = content["cells"][0]["mood"] = "good"
    folder.manifest_path.write_text(json.dumps(content), encoding="utf-8")
    assert read_manifest(folder).sweep == "Kapazität 2"


def test_a_newer_schema_asks_for_an_upgrade(folder: SweepFolder):
    content = json.loads(folder.manifest_path.read_text(encoding="utf-8")) | {"schema_version": MANIFEST_SCHEMA + 1}
    folder.manifest_path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ResultsFolderError, match="upgrade switchbench"):
        read_manifest(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"sweep": "x"}', b"\xff\xfe\x00"])
def test_a_damaged_manifest_says_what_to_do(folder: SweepFolder, content: bytes):
    folder.manifest_path.write_bytes(content)
    with pytest.raises(ResultsFolderError, match=r"manifest.json is damaged \(.+\); run the sweep's command again"):
        read_manifest(folder)


def test_no_manifest(tmp_path: Path):
    with pytest.raises(ResultsFolderError, match=r"Cannot read .*manifest\.json: No such file"):
        read_manifest(SweepFolder(tmp_path))
