from pathlib import Path

import pytest
from factories import Study, make_spec, write_study

from switchbench.compare import MATCHED_ON, MEASURES, Configuration, compare_pairs, gather_configurations
from switchbench.compare.matches import find_matches
from switchbench.store import Manifest, read_manifest, read_runs, read_timings
from switchbench.sweep.twins import BASELINES
from tests.compare.made_up import make_configuration

FOUR, SIXTEEN = make_spec(num_experts=4), make_spec(num_experts=16)
DENSE, WIDER, LARGER = make_spec(), make_spec(ffn={"d_ff": 300}), make_spec(size="xs")
NLL = {0: [2.0, 1.8, 1.7]}


def ids(*specs) -> tuple[str, ...]:
    return tuple(spec.config_id for spec in specs)


def found(configurations: list[Configuration]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(match.sparse.config_id, match.dense.config_id, match.matched_on) for match in find_matches(configurations)]


def test_the_ways_to_match_are_those_of_the_sweep_file():
    assert MATCHED_ON == BASELINES


def test_every_sparse_configuration_is_matched_with_its_twins_of_every_kind():
    """In the order of the sparse ones and of the ways to match, wherever the dense ones stand."""
    total = make_configuration(LARGER, NLL, twins={"iso_total_params": ids(FOUR)})
    active = make_configuration(WIDER, NLL, twins={"iso_active_params": ids(SIXTEEN, FOUR)})
    flop = make_configuration(DENSE, NLL, twins={"iso_flop": ids(FOUR, SIXTEEN)})
    sparse = [make_configuration(spec, NLL) for spec in (SIXTEEN, FOUR)]
    assert found([total, sparse[0], active, sparse[1], flop]) == [
        (SIXTEEN.config_id, DENSE.config_id, ("iso_flop",)),
        (SIXTEEN.config_id, WIDER.config_id, ("iso_active_params",)),
        (FOUR.config_id, DENSE.config_id, ("iso_flop",)),
        (FOUR.config_id, WIDER.config_id, ("iso_active_params",)),
        (FOUR.config_id, LARGER.config_id, ("iso_total_params",)),
    ]


def test_a_twin_of_equal_flops_and_active_weights_makes_one_pair_that_says_both():
    twins = {"iso_active_params": ids(FOUR), "iso_flop": ids(FOUR, SIXTEEN)}
    configurations = [make_configuration(spec, NLL) for spec in (FOUR, SIXTEEN)]
    configurations.append(make_configuration(DENSE, NLL, twins=twins))
    configurations.append(make_configuration(WIDER, NLL, twins={"iso_active_params": ids(SIXTEEN)}))
    assert found(configurations) == [
        (FOUR.config_id, DENSE.config_id, ("iso_flop", "iso_active_params")),
        (SIXTEEN.config_id, DENSE.config_id, ("iso_flop",)),
        (SIXTEEN.config_id, WIDER.config_id, ("iso_active_params",)),
    ]
    pairs = compare_pairs(configurations, sweep="s")
    assert [pair.measured("delta_nll").matched_on for pair in pairs] == [
        "iso_flop+iso_active_params", "iso_flop", "iso_active_params",
    ]  # fmt: skip
    assert [len(pair.comparisons) for pair in pairs] == [len(MEASURES)] * 3


def test_one_dense_run_may_be_a_twin_for_several_reasons():
    """With one expert, all weights are equal, too: a pair of its own, since it answers another question."""
    twins = dict.fromkeys(("iso_total_params", "iso_flop", "iso_active_params"), ids(FOUR))
    assert found([make_configuration(FOUR, NLL), make_configuration(DENSE, NLL, twins=twins)]) == [
        (FOUR.config_id, DENSE.config_id, ("iso_flop", "iso_active_params")),
        (FOUR.config_id, DENSE.config_id, ("iso_total_params",)),
    ]


def test_a_way_to_match_of_a_later_version_comes_last_under_its_own_name():
    twins = {"iso_later": ids(FOUR), "iso_total_params": ids(FOUR)}
    kinds = [match[2] for match in found([make_configuration(FOUR, NLL), make_configuration(DENSE, NLL, twins=twins)])]
    assert kinds == [("iso_total_params",), ("iso_later",)]


@pytest.mark.parametrize("is_old", [False, True])
def test_twins_are_read_from_the_manifest(tmp_path: Path, is_old: bool):
    """Manifests of the time when twins were of equal FLOPs alone say only whose twin a cell is."""
    folder = write_study(tmp_path, [Study(FOUR, NLL), Study(DENSE, NLL, twins={"iso_flop": [FOUR]})])
    manifest = read_manifest(folder)
    if is_old:
        content = manifest.model_dump(mode="json")
        for cell in content["cells"]:
            del cell["twins"]
        manifest = Manifest.model_validate(content)
    configurations = gather_configurations(manifest, runs=read_runs(folder), timings=read_timings(folder))
    assert [configuration.twins for configuration in configurations] == [{}, {"iso_flop": ids(FOUR)}]
    assert found(list(configurations)) == [(FOUR.config_id, DENSE.config_id, ("iso_flop",))]
