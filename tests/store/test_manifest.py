import json
from pathlib import Path

import pytest
from factories import COMMAND, Study, make_spec, write_study

from switchbench.errors import ResultsFolderError
from switchbench.spec import RunSpec
from switchbench.store import MANIFEST_SCHEMA, PrimaryPair, SweepFolder, read_manifest, write_manifest


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


def test_twins_and_the_primary_pair_come_back(folder: SweepFolder):
    manifest = read_manifest(folder)
    dense, sparse = manifest.cells[0], manifest.cells[2]
    twins = {"iso_flop": (sparse.config_id,), "iso_total_params": (sparse.config_id, "0123456789ab")}
    pair = PrimaryPair(sparse=sparse.config_id, dense=dense.config_id, matched_on="iso_flop")
    cells = (dense.model_copy(update={"twins": twins}), *manifest.cells[1:])
    write_manifest(folder, manifest.model_copy(update={"cells": cells, "primary": pair}))
    assert read_manifest(folder).cells == cells
    assert read_manifest(folder).primary == pair


def test_a_manifest_that_knows_twins_of_equal_flops_alone(folder: SweepFolder):
    content = json.loads(folder.manifest_path.read_text(encoding="utf-8"))
    del content["primary"]
    for cell in content["cells"]:
        del cell["twins"]
    folder.manifest_path.write_text(json.dumps(content), encoding="utf-8")
    manifest = read_manifest(folder)
    assert manifest.primary is None
    assert manifest.cells[0].twins == {"iso_flop": (manifest.cells[2].config_id,)}
    assert manifest.cells[2].twins == {}


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


def test_a_newer_manifest_is_not_overwritten_and_a_damaged_one_is(folder: SweepFolder):
    manifest = read_manifest(folder)
    newer = json.dumps({"schema_version": MANIFEST_SCHEMA + 1, "all": "different"})
    folder.manifest_path.write_text(newer, encoding="utf-8")
    with pytest.raises(ResultsFolderError, match="upgrade switchbench"):
        write_manifest(folder, manifest)
    assert folder.manifest_path.read_text(encoding="utf-8") == newer
    folder.manifest_path.write_bytes(b'{"schema_version": ')
    write_manifest(folder, manifest)
    assert read_manifest(folder) == manifest


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"sweep": "x"}', b"\xff\xfe\x00"])
def test_a_damaged_manifest_says_what_to_do(folder: SweepFolder, content: bytes):
    folder.manifest_path.write_bytes(content)
    with pytest.raises(ResultsFolderError, match=r"manifest.json is damaged \(.+\); run the sweep's command again"):
        read_manifest(folder)


def test_no_manifest(tmp_path: Path):
    with pytest.raises(ResultsFolderError, match=r"Cannot read .*manifest\.json: No such file"):
        read_manifest(SweepFolder(tmp_path))
