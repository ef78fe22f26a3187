"""Triton kernel that multiplies rows by experts packed in NF4, without writing the experts out in 16 bits.

Dequantised, the experts of Qwen3-30B-A3B take 58 GB, which a step would write and read again; packed it reads 15 GB.
This module imports triton: import it only where a GPU is used (or under `TRITON_INTERPRET=1`, as the tests do).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import triton
import triton.language as tl

if TYPE_CHECKING:
    import torch
    from bitsandbytes.functional import QuantState


CHUNK: Final = 128  # Weights of a column that a program reads at once: 16 words of 8 weights, and 2 scales.
WORDS: Final = CHUNK // 8
COLUMNS: Final = 128  # Outputs of a program.
MOST_ROWS: Final = 64
LEAST_ROWS: Final = 16  # Rows of a program: as few as a matrix instruction takes, or more where experts get many.


@triton.jit  # type: ignore[untyped-decorator]
def _scales_of(block, scales, scale_values, scale_scales, offset, held, SCALES_OF_A_SCALE: tl.constexpr):  # type: ignore[no-untyped-def]  # pointers and numbers of Triton
    """Return the scale of each block of 64 weights, dequantised from 8 bits; `held` masks the blocks that exist."""
    code = tl.load(scales + block, mask=held, other=0).to(tl.int32)
    second = tl.load(scale_scales + block // SCALES_OF_A_SCALE, mask=held, other=0.0)
    return tl.load(scale_values + code) * second + offset


@triton.jit  # type: ignore[untyped-decorator]
def _rows_by_packed_experts(  # type: ignore[no-untyped-def]
    x,
    source,
    packed,
    scales,
    scale_values,
    scale_scales,
    scale_offset,
    values,
    row_ends,
    tile_ends,
    out,
    target,
    width,
    depth,
    experts,
    EXPERTS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    CHUNK: tl.constexpr,
    SCALES_OF_A_SCALE: tl.constexpr,
):
    """Write out[target[r]] = x[source[r]] @ weights(expert of r).T for the rows of one tile, and some of the columns.

    Rows are sorted by expert; `row_ends` and `tile_ends` say where each expert's rows, and tiles of `ROWS` rows, end.
    The inputs of `x` are in the order of `_in_words`. `packed` is read as words of 8 weights.
    """
    WORDS: tl.constexpr = CHUNK // 8
    # On the first axis, which alone takes more than 65,535 programs.
    tile = tl.program_id(0)
    every = tl.arange(0, EXPERTS)
    ends = tl.load(tile_ends + every, mask=every < experts, other=2147483647)
    expert = tl.sum((ends <= tile).to(tl.int32), axis=0)
    if expert < experts:
        first_tile = tl.load(tile_ends + expert - 1, mask=expert > 0, other=0)
        first_row = tl.load(row_ends + expert - 1, mask=expert > 0, other=0)
        rows = first_row + (tile - first_tile) * ROWS + tl.arange(0, ROWS)
        is_row = rows < tl.load(row_ends + expert)
        inputs = tl.load(source + rows, mask=is_row, other=0).to(tl.int64)
        outputs = tl.load(target + rows, mask=is_row, other=0).to(tl.int64)
        columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
        is_column = columns < width
        # The first weight of each column, counted over all experts: beyond 31 bits in large layers.
        first = (expert.to(tl.int64) * width + columns) * depth
        words = tl.arange(0, WORDS)
        padded = (depth + CHUNK - 1) // CHUNK * CHUNK
        offset = tl.load(scale_offset)
        total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        held = is_column[:, None] & (words[None, :] * 8 < depth)
        ahead = tl.load(packed + (first // 8)[:, None] + words[None, :], mask=held, other=0)
        # In one stage: Triton would copy the table of 16 values to shared memory, number by number, as it goes. The
        # words of the next round are asked for before those of this one are used instead.
        for start in tl.range(0, depth, CHUNK, num_stages=1):
            word = ahead
            held = is_column[:, None] & (start + CHUNK + words[None, :] * 8 < depth)
            ahead = tl.load(packed + ((first + start + CHUNK) // 8)[:, None] + words[None, :], mask=held, other=0)
            block = (first + start) // 64
            lower = _scales_of(block, scales, scale_values, scale_scales, offset, is_column, SCALES_OF_A_SCALE)
            is_held = is_column & (start + 64 < depth)
            upper = _scales_of(block + 1, scales, scale_values, scale_scales, offset, is_held, SCALES_OF_A_SCALE)
            scale = tl.where(words[None, :] < WORDS // 2, lower[:, None], upper[:, None])
            place = x + inputs[:, None] * padded + start + words[None, :]
            for each in tl.static_range(8):
                # Of the two weights of a byte the first stands in the higher half.
                code = (word >> (8 * (each // 2) + 4 * (1 - each % 2))) & 15
                # Rounded once it is scaled, as bitsandbytes rounds what it reads out: the same weights.
                weights = (tl.load(values + code) * scale).to(x.dtype.element_ty)
                some = tl.load(place + each * WORDS, mask=is_row[:, None], other=0.0)
                total = tl.dot(some, tl.trans(weights), total, input_precision="ieee")
        tl.store(
            out + outputs[:, None] * width + columns[None, :],
            total.to(out.dtype.element_ty),
            mask=is_row[:, None] & is_column[None, :],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Rows sorted by expert, and the tiles of them that programs take; all on the device."""

    order: torch.Tensor
    """The (token, expert) pairs by expert, int64 of shape (pairs,); a pair is token * experts per token + rank."""
    token: torch.Tensor
    """The token of each sorted pair."""
    row_ends: torch.Tensor
    tile_ends: torch.Tensor
    rows: int
    """Rows of a tile."""
    tiles: int
    """Upper bound on the number of tiles; the number itself is known on the device only."""


def group(top_k_index: torch.Tensor, experts: int) -> Groups:
    """Return the pairs of `top_k_index`, (tokens, experts per token), by expert; nothing is read back."""
    import torch

    pairs = top_k_index.numel()
    rows = rows_of_a_tile(pairs, experts)
    chosen, order = torch.sort(top_k_index.reshape(-1), stable=True)
    row_ends = torch.searchsorted(
        chosen, torch.arange(experts, device=chosen.device, dtype=chosen.dtype), right=True, out_int32=True
    )
    counts = torch.diff(row_ends, prepend=row_ends.new_zeros(1))
    return Groups(
        order=order,
        token=order // top_k_index.shape[-1],
        row_ends=row_ends,
        tile_ends=torch.cumsum((counts + (rows - 1)) // rows, dim=0, dtype=torch.int32),
        rows=rows,
        # An expert without rows has no tile, and each other one at most one that is not full.
        tiles=min(pairs, experts + pairs // rows),
    )


def rows_of_a_tile(pairs: int, experts: int) -> int:
    """Return the rows of one program when `experts` share `pairs` rows: a power of two."""
    rows = LEAST_ROWS
    while rows < MOST_ROWS and rows * experts < pairs:
        rows *= 2
    return rows


def multiply(x: torch.Tensor, packed: torch.Tensor, state: QuantState, groups: Groups, *, spread: bool) -> torch.Tensor:
    """Return each pair's product with its expert's weights, (pairs, width), in the dtype of `x`.

    `state` is bitsandbytes' description of `packed`: experts of shape (experts, width, depth) in NF4 with double
    quantisation. With `spread`, `x` is (tokens, depth) and the products are sorted by expert; without, `x` is
    (pairs, depth), sorted by expert, and the products are in the order of the pairs.
    """
    import torch

    experts, width, depth = state.shape
    out = torch.empty((len(groups.order), width), dtype=x.dtype, device=x.device)
    sorted_places = torch.arange(len(groups.order), device=x.device)
    launch: Any = _rows_by_packed_experts[(groups.tiles, -(-width // COLUMNS))]
    # Triton launches on torch's current device, which need not hold this layer.
    with torch.cuda.device_of(x):
        launch(
            _in_words(x),
            groups.token if spread else sorted_places,
            packed.reshape(-1).view(torch.int32),
            state.absmax,
            state.state2.code,
            state.state2.absmax,
            state.offset,
            state.code,
            groups.row_ends,
            groups.tile_ends,
            out,
            sorted_places if spread else groups.order,
            width,
            depth,
            experts,
            EXPERTS=1 << (experts - 1).bit_length(),
            ROWS=groups.rows,
            COLUMNS=COLUMNS,
            CHUNK=CHUNK,
            SCALES_OF_A_SCALE=state.state2.blocksize,
            num_warps=4 if groups.rows == LEAST_ROWS else 8,
            # As bitsandbytes rounds: product and sum apart.
            enable_fp_fusion=False,
        )
    return out


def _in_words(x: torch.Tensor) -> torch.Tensor:
    """Return (rows, depth) padded to whole chunks, each `CHUNK` of inputs in the order of the kernel."""
    # First those of the first weight of each word, then those of the second, ..., so that a program reads contiguously.
    import torch

    rows, depth = x.shape
    padded = torch.nn.functional.pad(x, (0, -depth % CHUNK)) if depth % CHUNK else x
    return padded.view(rows, -1, WORDS, 8).transpose(2, 3).contiguous()
