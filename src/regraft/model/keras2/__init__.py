"""Keras 3 subclasses that compute as the Keras that wrote a file did."""
