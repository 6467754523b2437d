"""The Transformer and its feed-forward layers, dense and sparse."""
