"""Runs on machines other than this one: tasks on a Ray cluster, or jobs of Slurm, seen as one more executor."""
