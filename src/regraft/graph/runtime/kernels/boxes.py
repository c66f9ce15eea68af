"""Non-maximum suppression, on the host: how many boxes remain depends on them."""

from __future__ import annotations

import functools
import heapq
from typing import Any

import numpy as np

from regraft.graph.runtime.registry import kernel

_host = functools.partial(kernel, host=True)


def _sorted_corners(boxes: Any) -> Any:
    low = np.minimum(boxes[..., :2], boxes[..., 2:])
    return np.concatenate([low, np.maximum(boxes[..., :2], boxes[..., 2:])], axis=-1)


def overlap(one: Any, other: Any) -> float:
    """Returns the shared part of two boxes, relative to their union."""
    top, left = np.maximum(one[:2], other[:2])
    bottom, right = np.minimum(one[2:], other[2:])
    areas = [float((b[2] - b[0]) * (b[3] - b[1])) for b in (one, other)]
    if min(areas) <= 0:
        return 0.0
    shared = float(max(bottom - top, 0) * max(right - left, 0))
    return shared / (sum(areas) - shared)


def suppressed(
    boxes: Any,
    scores: Any,
    limit: int,
    iou_threshold: float,
    score_threshold: float = -np.inf,
    sigma: float = 0.0,
) -> tuple[list[int], list[float]]:
    """Returns the boxes that remain, from best to worst, and their scores.

    With `sigma` a box near a better one loses score instead of being dropped.
    """
    corners = _sorted_corners(boxes)
    queue = [
        (-float(score), place, 0)
        for place, score in enumerate(scores)
        if score > score_threshold
    ]
    heapq.heapify(queue)
    kept: list[int] = []
    found: list[float] = []
    scale = -0.5 / sigma if sigma > 0 else 0.0
    while queue and len(kept) < limit:
        negative, place, begin = heapq.heappop(queue)
        score = original = -negative
        dropped = False
        for position in range(len(kept) - 1, begin - 1, -1):
            shared = overlap(corners[place], corners[kept[position]])
            factor = float(np.exp(np.float32(scale * shared * shared)))
            score *= factor if shared <= iou_threshold else 0.0
            if sigma == 0 and shared > iou_threshold:
                dropped = True
                break
            if score <= score_threshold:
                break
        if dropped:
            continue
        if score == original:
            kept.append(place)
            found.append(score)
        elif score > score_threshold:
            heapq.heappush(queue, (-score, place, len(kept)))
    return kept, found


@_host("NonMaxSuppression")
def non_max_suppression(
    boxes: Any, scores: Any, max_output_size: Any, *, iou_threshold: float
) -> Any:
    """Best boxes that don't overlap."""
    kept, _ = suppressed(boxes, scores, int(max_output_size), iou_threshold)
    return np.array(kept, np.int32)


@_host("NonMaxSuppressionV2", ignored=("T_threshold",))
def non_max_suppression_v2(
    boxes: Any, scores: Any, max_output_size: Any, iou_threshold: Any
) -> Any:
    """Best boxes that don't overlap."""
    kept, _ = suppressed(boxes, scores, int(max_output_size), float(iou_threshold))
    return np.array(kept, np.int32)


@_host("NonMaxSuppressionV3", ignored=("T_threshold",))
def non_max_suppression_v3(
    boxes: Any,
    scores: Any,
    max_output_size: Any,
    iou_threshold: Any,
    score_threshold: Any,
) -> Any:
    """Best boxes that don't overlap, above a score."""
    kept, _ = suppressed(
        boxes,
        scores,
        int(max_output_size),
        float(iou_threshold),
        float(score_threshold),
    )
    return np.array(kept, np.int32)


def _filled(items: list[Any], size: int, dtype: Any) -> Any:
    return np.array(items + [0] * (size - len(items)), dtype)


@_host("NonMaxSuppressionV4", ignored=("T_threshold",))
def non_max_suppression_v4(
    boxes: Any,
    scores: Any,
    max_output_size: Any,
    iou_threshold: Any,
    score_threshold: Any,
    *,
    pad_to_max_output_size: bool,
) -> tuple[Any, Any]:
    """As V3, filled with zeros if wanted, and how many there are."""
    limit = int(max_output_size)
    kept, _ = suppressed(
        boxes, scores, limit, float(iou_threshold), float(score_threshold)
    )
    size = limit if pad_to_max_output_size else len(kept)
    return _filled(kept, size, np.int32), np.int32(len(kept))


@_host("NonMaxSuppressionV5")
def non_max_suppression_v5(
    boxes: Any,
    scores: Any,
    max_output_size: Any,
    iou_threshold: Any,
    score_threshold: Any,
    soft_nms_sigma: Any,
    *,
    pad_to_max_output_size: bool,
) -> tuple[Any, Any, Any]:
    """As V4, with scores, which fall near better boxes."""
    limit = int(max_output_size)
    kept, found = suppressed(
        boxes,
        scores,
        limit,
        float(iou_threshold),
        float(score_threshold),
        float(soft_nms_sigma),
    )
    size = limit if pad_to_max_output_size else len(kept)
    return (
        _filled(kept, size, np.int32),
        _filled(found, size, scores.dtype),
        np.int32(len(kept)),
    )


@_host("CombinedNonMaxSuppression")
def combined_non_max_suppression(
    boxes: Any,
    scores: Any,
    max_output_size_per_class: Any,
    max_total_size: Any,
    iou_threshold: Any,
    score_threshold: Any,
    *,
    pad_per_class: bool,
    clip_boxes: bool,
) -> tuple[Any, Any, Any, Any]:
    """Best boxes of all classes, per image."""
    per_class, total = int(max_output_size_per_class), int(max_total_size)
    classes = scores.shape[2]
    size = min(total, per_class * classes) if pad_per_class else total
    count = len(boxes)
    out_boxes = np.zeros((count, size, 4), np.float32)
    out_scores = np.zeros((count, size), np.float32)
    out_classes = np.zeros((count, size), np.float32)
    valid = np.zeros(count, np.int32)
    for image in range(count):
        rows = []
        for label in range(classes):
            own = boxes[image, :, label if boxes.shape[2] > 1 else 0]
            kept, found = suppressed(
                own,
                scores[image, :, label],
                per_class,
                float(iou_threshold),
                float(score_threshold),
            )
            rows += [
                (-score, label, own[place])
                for place, score in zip(kept, found, strict=True)
            ]
        rows.sort(key=lambda row: row[0])
        for place, (negative, label, box) in enumerate(rows[:size]):
            out_boxes[image, place] = np.clip(box, 0, 1) if clip_boxes else box
            out_scores[image, place] = -negative
            out_classes[image, place] = label
        valid[image] = min(len(rows), size)
    return out_boxes, out_scores, out_classes, valid
