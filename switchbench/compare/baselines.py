"""What changed between two results of a sweep: the same configurations, then and now, seed by seed.

A run and its repetition share data, order and initial weights, so that what differs between them is what changed: code,
versions, machines. Their differences scatter far less than the seeds do, and are judged by their own scatter.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from switchbench.compare.changes import Change, changes_of, differences_of, judge_changes
from switchbench.compare.configurations import Configuration
from switchbench.compare.effects import Noise, Observation, fit_effects
from switchbench.compare.judgements import Rules


@dataclass(frozen=True, kw_only=True)
class Counterpart:
    """A configuration of both results."""

    then: Configuration
    """It as the baseline has it."""
    now: Configuration
    """It as the results have it."""
    differing: tuple[str, ...] = ()
    """The fields of the specification that differ, by their path; none where the two are one configuration."""
    seeds: tuple[int, ...] = ()
    """The seeds that went well in both."""
    is_identical: bool = False
    """Whether the runs of all these seeds have the same quality to the bit, at every annealed point."""
    changes: tuple[Change, ...] = ()
    """What was measured of both, in the order of ``CHANGE_MEASURES``."""

    def changed(self, measure: str) -> Change:
        """Give one of the measures."""
        return next(change for change in self.changes if change.measure == measure)


@dataclass(frozen=True, kw_only=True)
class SweepChanges:
    """What changed in a sweep."""

    baseline: Path
    """The folder that it is compared with."""
    baseline_sweep: str
    """Name of the sweep there."""
    counterparts: tuple[Counterpart, ...]
    """The configurations of both, in the order of those here."""
    added: tuple[Configuration, ...]
    """Those that only these results have."""
    removed: tuple[Configuration, ...]
    """Those that only the baseline has."""
    noise: Noise | None
    """What differences in nll scatter by, beside what each configuration's changed by; None: too few seeds to tell."""
    versions: tuple[tuple[str, ...], tuple[str, ...]]
    """Versions of the code and of PyTorch in the baseline, and here."""


@dataclass(frozen=True, kw_only=True)
class BaselineSweep:
    """A sweep of the results that are compared with."""

    folder: Path
    """Where it lies."""
    name: str
    """Its name."""
    configurations: tuple[Configuration, ...]
    """Its configurations."""


def compare_with_baseline(
    configurations: Sequence[Configuration], *, baseline: BaselineSweep, rules: Rules
) -> SweepChanges:
    """Compare a sweep's configurations with what a baseline has of them.

    Two configurations are one where their identity is. What is left on both sides is matched where feed-forward layer,
    size and swept settings are the same, and no other configuration has them: the fields that differ are named.

    Args:
        configurations: All configurations of the sweep.
        baseline: What they are compared with.
        rules: What it takes for a change to be one.
    """
    pairs = _match(configurations, baseline.configurations)
    found = [_counterpart(then, now) for then, now in pairs]
    effects = {
        column: fit_effects(
            [
                Observation(config_id=each.now.config_id, block="all", value=value)
                for each in found
                for differences in [differences_of(each.then, each.now, column=column).values()]
                if any(differences)  # what repeats to the bit has no noise, and says nothing of that of others
                for value in differences
            ]
        )
        for column in ("nll", "bits_per_byte")
    }
    measured = [
        changes_of(each.then, each.now, effects=effects, is_identical=each.is_identical, seeds=each.seeds)
        for each in found
    ]
    judged = judge_changes(measured, sides=[(each.then, each.now) for each in found], rules=rules)
    matched = {side.config_id for each in found for side in (each.then, each.now)}
    return SweepChanges(
        baseline=baseline.folder,
        baseline_sweep=baseline.name,
        counterparts=tuple(replace(each, changes=changes) for each, changes in zip(found, judged, strict=True)),
        added=tuple(each for each in configurations if each.config_id not in matched),
        removed=tuple(each for each in baseline.configurations if each.config_id not in matched),
        noise=effects["nll"].noise,
        versions=(_versions(each.then for each in found), _versions(each.now for each in found)),
    )


def _match(now: Sequence[Configuration], then: Sequence[Configuration]) -> list[tuple[Configuration, Configuration]]:
    by_id = {each.config_id: each for each in then}
    here = {each.config_id for each in now}
    left_here = _by_settings(each for each in now if each.config_id not in by_id)
    left_there = _by_settings(each for each in then if each.config_id not in here)
    pairs = []
    for each in now:
        if each.config_id in by_id:
            pairs.append((by_id[each.config_id], each))
            continue
        key = _settings_of(each)
        if len(left_here[key]) == 1 == len(left_there.get(key, [])):
            pairs.append((left_there[key][0], each))
    return pairs


def _by_settings(configurations: Iterable[Configuration]) -> dict[str, list[Configuration]]:
    groups: dict[str, list[Configuration]] = {}
    for each in configurations:
        groups.setdefault(_settings_of(each), []).append(each)
    return groups


def _settings_of(configuration: Configuration) -> str:
    """What a reader would take two configurations for one by."""
    model = configuration.spec.get("model", {})
    ffn = model.get("ffn", {})
    shape = [model.get(name) for name in ("size", "d_model", "d_ff", "num_layers")]
    routing = [ffn.get(name) for name in ("kind", "num_experts", "capacity_factor")]
    return json.dumps([shape, routing, configuration.settings], sort_keys=True, default=str)


def _counterpart(then: Configuration, now: Configuration) -> Counterpart:
    seeds = tuple(seed for seed in now.finished if seed in then.finished)
    is_identical = bool(seeds) and all(_qualities(then, seed) == _qualities(now, seed) for seed in seeds)
    return Counterpart(
        then=then,
        now=now,
        differing=() if then.config_id == now.config_id else tuple(_differing(then.spec, now.spec)),
        seeds=seeds,
        is_identical=is_identical,
    )


def _qualities(configuration: Configuration, seed: int) -> list[tuple[object, ...]]:
    """What training came to, at each annealed point of a run."""
    rows = (*configuration.earlier.get(seed, ()), configuration.ends[seed])
    return [
        (row.tokens_seen, row.nll, row.nll_capacity, row.train_nll, row.dropped_token_fraction, row.status)
        for row in rows
    ]


def _differing(then: dict[str, Any], now: dict[str, Any], *, prefix: str = "") -> Iterator[str]:
    for name in dict.fromkeys([*then, *now]):
        if prefix == "" and name == "seed":
            continue
        ours, theirs = now.get(name), then.get(name)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            yield from _differing(theirs, ours, prefix=f"{prefix}{name}.")
        elif ours != theirs:
            yield f"{prefix}{name}"


def _versions(configurations: Iterable[Configuration]) -> tuple[str, ...]:
    rows = [row for each in configurations for row in each.ends.values()]
    return tuple(sorted({f"{row.commit or 'unknown'}, PyTorch {row.torch_version}" for row in rows}))
