"""The other process of `quickstart.py`: it has a path, and no code of the model.

python load_elsewhere.py MODEL DATA.npz RESULTS.npz
"""

from __future__ import annotations

import sys

import numpy as np

import regraft


def main(model_path: str, data_path: str, results_path: str) -> None:
    """Loads the model, predicts, trains on, and writes down what came out."""
    data = np.load(data_path)
    model = regraft.load_model(model_path)
    predictions = model.predict(data["x"], verbose=0)
    steps = zip(data["next_x"], data["next_y"], strict=True)
    losses = [model.train_on_batch(x, y) for x, y in steps]
    np.savez(
        results_path,
        predictions=predictions,
        losses=losses,
        predictions_after=model.predict(data["x"], verbose=0),
        tensorflow_imported="tensorflow" in sys.modules,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
