"""Configs of Keras 1, 2 and 3 ↔ live Keras 3 objects. No values, no files."""
