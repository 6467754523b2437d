"""`switchbench generate`: text from a kept checkpoint, token by token, and which expert took each token."""
