"""How often verdicts are right, with the noise that real runs have.

The noise is that of the reference sweep: what is left of the nll of its 20 runs (5 configurations, 4 seeds) beside
configuration and seed. Every draw is a sweep like it, judged as the report judges it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from switchbench.compare.controls import fit_noise
from switchbench.compare.effects import Observation, fit_effects
from switchbench.compare.intervals import Contrast
from switchbench.compare.verdicts import Evidence, judge
from switchbench.store import find_sweeps, read_manifest, read_runs

DRAWS = 2000
NLL = 1.644
"""That of the reference sweep's dense model."""
HALF_D_FF = {0: 1.6879, 1: 1.6920, 2: 1.7138, 3: 1.6842}
"""The nll of its dense model with half the d_ff, 64, and all else equal: four runs made for this test, by seed."""

Table = NDArray[np.float64]
"""Configurations x seeds."""


@dataclass(frozen=True)
class Noise:
    """What real runs deviate by."""

    nll: Table
    residuals: Table
    """Scaled so that they scatter as much as the noise does; configuration and seed took their share of it."""

    @property
    def seed_deviation(self) -> float:
        """The standard deviation of what a seed does to all configurations alike."""
        of_means = float(np.var(self.nll.mean(axis=0), ddof=1))
        return float(np.sqrt(max(0.0, of_means - (self.deviations**2).mean() / self.nll.shape[0])))

    @property
    def deviations(self) -> NDArray[np.float64]:
        """The standard deviation of each configuration."""
        return np.array(np.sqrt((self.residuals**2).mean(axis=1)))

    def normal(self, generator: np.random.Generator, shape: tuple[int, int]) -> Table:
        """Normal, with the standard deviations of the real configurations, in an order of their own each time."""
        deviations = generator.permutation(np.resize(self.deviations, shape[0]))
        return generator.normal(size=shape) * deviations[:, None]

    def resampled(self, generator: np.random.Generator, shape: tuple[int, int]) -> Table:
        """Drawn from all residuals."""
        return generator.choice(self.residuals.ravel(), size=shape)


@pytest.fixture(scope="module")
def noise() -> Noise:
    (folder,) = find_sweeps(Path("results/reference"), sweep="capacity")
    nll = {row.run_id: row.nll for row in read_runs(folder) if row.parent_run_id is None}
    table: dict[str, list[float]] = {}
    for cell in sorted(read_manifest(folder).cells, key=lambda cell: (cell.role, cell.seed)):
        value = nll[cell.run_id]
        assert value is not None
        table.setdefault(cell.config_id, []).append(value)
    values = np.array(list(table.values()))
    left = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    num_configurations, num_seeds = values.shape
    return Noise(values, left * np.sqrt(values.size / ((num_configurations - 1) * (num_seeds - 1))))


def gains_of(table: Table) -> list[Contrast | None]:
    """How much better than the first row, which is the dense twin of all others, these are."""
    effects = fit_effects(
        [
            Observation(config_id=str(row), block=str(seed), value=float(table[row, seed]))
            for row in range(table.shape[0])
            for seed in range(table.shape[1])
        ]
    )
    return [effects.contrast("0", str(row)) for row in range(1, table.shape[0])]


def verdicts(gains: list[Contrast | None], *, primary: int | None = None) -> list[str]:
    evidence = [
        Evidence(
            hypothesis=number,
            is_primary=number == primary,
            gain=gain,
            margin=0.005 * NLL,
            diverged={"sparse": (0, 4), "dense": (0, 4)},
            counts_divergence=True,
        )
        for number, gain in enumerate(gains)
    ]
    return [judgement.verdict for judgement in judge(evidence, confidence=0.95)]


def repetition_gains(table: NDArray[np.float64], *, are_seeds_told_apart: bool = True) -> list[Contrast | None]:
    """How much better the second repetition of each configuration is; configurations x repetitions x seeds."""
    models = fit_noise(
        [
            Observation(
                config_id=f"{configuration}/{repetition}",
                block=f"{seed}/{repetition}" if are_seeds_told_apart else f"{seed}",
                value=float(table[configuration, repetition, seed]),
            )
            for configuration, repetition, seed in np.ndindex(table.shape)
        ]
    )
    return [models.contrast(f"{each}/0", f"{each}/1")[0] for each in range(table.shape[0])]


def is_alarm(verdict: str) -> bool:
    return verdict in ("sparse", "dense")


def not_more_than_5_percent(alarms: int, trials: int) -> bool:
    """Whether a share is not significantly (1%) above 5%."""
    return bool(stats.binomtest(alarms, trials, 0.05, alternative="greater").pvalue > 0.01)


KINDS = pytest.mark.parametrize("kind", [Noise.normal, Noise.resampled], ids=["normal", "resampled"])


@KINDS
@pytest.mark.parametrize("shape", [(5, 4), (9, 2), (2, 4)])
def test_identical_configurations_are_not_told_apart(
    noise: Noise,
    kind: Callable[[Noise, np.random.Generator, tuple[int, int]], Table],
    shape: tuple[int, int],
    capsys: pytest.CaptureFixture[str],
):
    """The primary pair is wrong in 5% of the sweeps at most, and so are all others together."""
    generator = np.random.default_rng(0)
    alarms = Counter[str]()
    for _ in range(DRAWS):
        gains = gains_of(kind(noise, generator, shape))
        named, unnamed = verdicts(gains, primary=0), verdicts(gains)
        alarms["primary"] += is_alarm(named[0])
        alarms["others"] += any(map(is_alarm, named[1:]))
        alarms["all corrected"] += any(map(is_alarm, unnamed))
    with capsys.disabled():
        shares = ", ".join(f"{name} {100 * number / DRAWS:.1f}%" for name, number in alarms.items())
        print(f"\nA/A, {shape[0]} configurations, {shape[1]} seeds, {kind.__name__}: {shares}", end="")
    for name in alarms:
        assert not_more_than_5_percent(alarms[name], DRAWS), name


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_whatever_pair_was_named_it_is_not_told_apart(noise: Noise, seeds: int, capsys: pytest.CaptureFixture[str]):
    """The two noisiest look less noisy than they are, since all others are in the common variance."""
    generator = np.random.default_rng(0)
    deviations = np.sort(noise.deviations)[::-1]
    tables = (generator.normal(size=(5, seeds)) * deviations[:, None] for _ in range(DRAWS))
    alarms = sum(is_alarm(verdicts(gains_of(table), primary=0)[0]) for table in tables)
    with capsys.disabled():
        print(f"\nA/A, the two noisiest of 5 configurations, {seeds} seeds: {100 * alarms / DRAWS:.1f}%", end="")
    assert not_more_than_5_percent(alarms, DRAWS)


@KINDS
@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_half_of_d_ff_is_told(
    noise: Noise,
    kind: Callable[[Noise, np.random.Generator, tuple[int, int]], Table],
    seeds: int,
    capsys: pytest.CaptureFixture[str],
):
    """What half of d_ff costs is what it costs in four real runs."""
    effect = float(np.mean(list(HALF_D_FF.values())) - noise.nll[0].mean())
    generator = np.random.default_rng(0)
    told = 0
    for _ in range(DRAWS):
        table = kind(noise, generator, (5, seeds))
        table[1] += effect
        told += verdicts(gains_of(table), primary=0)[0] == "dense"
    with capsys.disabled():
        print(
            f"\nA/B, half of d_ff ({effect:+.3f} nats), {seeds} seeds, {kind.__name__}: {100 * told / DRAWS:.1f}%",
            end="",
        )
    assert told / DRAWS >= 0.8


def test_the_real_runs_with_half_of_d_ff_are_told(noise: Noise):
    gains = gains_of(np.vstack([noise.nll[:1], np.array([list(HALF_D_FF.values())]), noise.nll[1:]]))
    assert verdicts(gains, primary=0)[0] == "dense"
    assert verdicts(gains)[0] == "dense"


@KINDS
@pytest.mark.parametrize("seed_effect", ["as in the reference sweep", "large"])
def test_repetitions_of_one_configuration_are_not_told_apart(
    noise: Noise,
    kind: Callable[[Noise, np.random.Generator, tuple[int, int]], Table],
    seed_effect: str,
    capsys: pytest.CaptureFixture[str],
):
    """Three configurations, each twice, on four seeds: a seed shifts all that share it, so not both repetitions."""
    generator = np.random.default_rng(0)
    large = 2 * float(np.sqrt((noise.deviations**2).mean()))
    deviation = large if seed_effect == "large" else noise.seed_deviation
    alarms = Counter[str]()
    for _ in range(DRAWS):
        table = kind(noise, generator, (6, 4)).reshape(3, 2, 4) + deviation * generator.normal(size=(1, 2, 4))
        alarms["told apart"] += any(map(is_alarm, verdicts(repetition_gains(table))))
        if seed_effect == "large" and kind is Noise.normal:
            alarms["as if repetitions shared seeds"] += any(
                map(is_alarm, verdicts(repetition_gains(table, are_seeds_told_apart=False)))
            )
    with capsys.disabled():
        shares = ", ".join(f"{name} {100 * number / DRAWS:.1f}%" for name, number in alarms.items())
        print(f"\nA/A, 3 configurations twice, seeds {deviation:.4f}, {kind.__name__}: {shares}", end="")
    assert not_more_than_5_percent(alarms["told apart"], DRAWS)
    if "as if repetitions shared seeds" in alarms:
        assert not not_more_than_5_percent(alarms["as if repetitions shared seeds"], DRAWS)
