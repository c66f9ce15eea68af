"""Words for losses and metrics: Keras 1 and 2 to Keras 3."""

from __future__ import annotations

from collections.abc import Mapping

# Names of functions that Keras 3 spells otherwise.
FUNCTIONS: Mapping[str, str] = {
    "mse": "mean_squared_error",
    "MSE": "mean_squared_error",
    "mae": "mean_absolute_error",
    "MAE": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "MAPE": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "MSLE": "mean_squared_logarithmic_error",
    "bce": "binary_crossentropy",
    "BCE": "binary_crossentropy",
    "kld": "kl_divergence",
    "KLD": "kl_divergence",
    "kullback_leibler_divergence": "kl_divergence",
    "logcosh": "log_cosh",
    "huber_loss": "huber",
    "cosine": "cosine_similarity",
    "cosine_proximity": "cosine_similarity",
    "binary_focal": "binary_focal_crossentropy",
}

# Classes that had another name.
LOSS_CLASSES: Mapping[str, str] = {
    "KullbackLeiblerDivergence": "KLDivergence",
    "Logcosh": "LogCosh",
    "CosineProximity": "CosineSimilarity",
}
METRIC_CLASSES: Mapping[str, str] = {
    "KullbackLeiblerDivergence": "KLDivergence",
    "LogcoshError": "LogCoshError",
    "Logcosh": "LogCoshError",
    "CosineProximity": "CosineSimilarity",
}

# The metric class that is the mean of a function.
METRIC_OF_FUNCTION: Mapping[str, str] = {
    "accuracy": "Accuracy",
    "binary_accuracy": "BinaryAccuracy",
    "categorical_accuracy": "CategoricalAccuracy",
    "sparse_categorical_accuracy": "SparseCategoricalAccuracy",
    "top_k_categorical_accuracy": "TopKCategoricalAccuracy",
    "sparse_top_k_categorical_accuracy": "SparseTopKCategoricalAccuracy",
    "binary_crossentropy": "BinaryCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "mean_squared_error": "MeanSquaredError",
    "mean_absolute_error": "MeanAbsoluteError",
    "mean_absolute_percentage_error": "MeanAbsolutePercentageError",
    "mean_squared_logarithmic_error": "MeanSquaredLogarithmicError",
    "kl_divergence": "KLDivergence",
    "poisson": "Poisson",
    "log_cosh": "LogCoshError",
    "cosine_similarity": "CosineSimilarity",
    "hinge": "Hinge",
    "squared_hinge": "SquaredHinge",
    "categorical_hinge": "CategoricalHinge",
}

# Keras 2 has no such functions or classes.
ONLY_KERAS_3 = frozenset(
    {
        "dice",
        "Dice",
        "tversky",
        "Tversky",
        "circle",
        "Circle",
        "categorical_generalized_cross_entropy",
        "CategoricalGeneralizedCrossEntropy",
        "ctc",
        "CTC",
        "ConcordanceCorrelation",
        "PearsonCorrelation",
        "concordance_correlation",
        "pearson_correlation",
    }
)

# What Keras 2 calls a reduction, in Keras 3. An unweighted mean is what `auto` means
# outside of a distribution strategy.
REDUCTIONS: Mapping[str | None, str] = {
    "auto": "sum_over_batch_size",
    "sum_over_batch_size": "sum_over_batch_size",
    "weighted_mean": "sum_over_batch_size",
    "mean": "sum_over_batch_size",
    "sum": "sum",
    "none": "none",
    None: "none",
}


def plain_name(name: str) -> str:
    """A name without its package; `<lambda>` has none."""
    return name.rpartition(">")[2] or name
