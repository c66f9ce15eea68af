"""Models as the examples of Keras' documentation build them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tf_keras
from tf_keras import layers

from peer.functions import promises
from peer.functions.promises import Built, _batch, case

save = promises.save


@case
def masked_sequences(loss: str, **arguments: Any) -> Built:
    """Of several lengths, with a loss that is an object."""
    model = tf_keras.Sequential(
        [layers.Masking(0.5), layers.SimpleRNN(3, return_sequences=True)]
    )
    model.compile(
        tf_keras.optimizers.SGD(0.1, momentum=0.9),
        getattr(tf_keras.losses, loss)(**arguments),
    )
    sequences = _batch(4, 5, 2)
    sequences[:2, 3:] = 0.5
    targets = np.abs(_batch(4, 5, 3, seed=1))
    model.train_on_batch(sequences, targets)
    return Built(model, sequences, (sequences, targets))
