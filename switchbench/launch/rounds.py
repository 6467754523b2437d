"""How many steps the exclusive timing pass takes of each configuration. No torch here: a plan counts them."""

ROUNDS = 5
STEPS_PER_ROUND = 5
"""Measured steps of a configuration in a round."""
FIRST_WARM_UP, WARM_UP = 3, 1
"""Steps before them that are not measured, in the first round and in the others."""
STEPS_PER_CONFIGURATION = FIRST_WARM_UP + (ROUNDS - 1) * WARM_UP + ROUNDS * STEPS_PER_ROUND
"""All steps of a configuration."""
