"""Cosine similarity of texts by their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Embedding = npt.NDArray[np.float32] | None


_COSINE_ROWS = 256


def paired_cosines(left: Sequence[Embedding], right: Sequence[Embedding]) -> list[float | None]:
    """Return the cosine similarity of each pair, clipped to [0, 1]; None where an embedding is missing.

    Embeddings have shape (hidden,). Computed by scikit-learn's `cosine_similarity`.
    """
    whole = [
        (index, a, b) for index, (a, b) in enumerate(zip(left, right, strict=True)) if a is not None and b is not None
    ]
    result: list[float | None] = [None] * len(left)
    if not whole:
        return result
    import numpy as np  # imported late: collecting tests needs no numpy
    from sklearn.metrics.pairwise import cosine_similarity  # a second's import: not for a server without embeddings

    for start in range(0, len(whole), _COSINE_ROWS):
        part = whole[start : start + _COSINE_ROWS]
        matrix = cosine_similarity(np.stack([a for _, a, _ in part]), np.stack([b for _, _, b in part]))
        for (index, _, _), value in zip(part, np.diagonal(matrix), strict=True):
            result[index] = float(min(1.0, max(0.0, value)))
    return result


def mismatched_cosine(left: Sequence[Embedding], right: Sequence[Embedding], groups: Sequence[str]) -> float | None:
    """Return the mean cosine of left against right over all pairs of different groups (prompts); None without pairs.

    Such cosines are high for any two texts; a similarity means something only above this one. Sums of unit vectors give
    the mean without forming the pairs: sum_ij cos_ij = (sum_i u_i) . (sum_j v_j).
    """
    import numpy as np

    lefts: dict[str, list[npt.NDArray[np.float64]]] = {}
    rights: dict[str, list[npt.NDArray[np.float64]]] = {}
    for vectors, sums in ((left, lefts), (right, rights)):
        for vector, group in zip(vectors, groups, strict=True):
            if vector is not None and (norm := float(np.linalg.norm(vector))) > 0:
                sums.setdefault(group, []).append(vector.astype(np.float64) / norm)
    all_left = [vector for group in lefts.values() for vector in group]
    all_right = [vector for group in rights.values() for vector in group]
    count = len(all_left) * len(all_right) - sum(len(lefts[group]) * len(rights.get(group, ())) for group in lefts)
    if count == 0:
        return None
    total = float(np.sum(all_left, axis=0) @ np.sum(all_right, axis=0))
    same = sum(
        float(np.sum(lefts[group], axis=0) @ np.sum(rights[group], axis=0)) for group in lefts if group in rights
    )
    return min(1.0, max(0.0, (total - same) / count))
