"""JAX computations written down as TensorFlow functions."""
