"""`switchbench status`, `show` and `prune`: what a results folder holds, without a sweep file."""
