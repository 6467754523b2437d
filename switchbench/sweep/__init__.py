"""Sweep files: from YAML to run specifications."""
