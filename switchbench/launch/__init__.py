"""From a plan to processes: what will run, why, and running it."""
