"""Runs TensorFlow's graphs on Keras operations and NumPy."""
