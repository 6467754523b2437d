"""switchbench: does a sparse (Switch) Transformer beat a dense one for your budget, data and machine?"""

__version__ = "0.1.0"
