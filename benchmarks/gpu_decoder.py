"""A decoder of random weights whose steps are timed: see `benchmarks/gpu_step_time.py`, which alone imports this.

RMS norm, rotary positions, grouped-query attention over a KV cache, SwiGLU, as in Llama 3. The linear layers see the
tokens of the prompt and those that decode together; attention is apart for the two, as in vLLM.
"""

import time
from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from benchmarks.gpu_step_time import Load, Shape

EPSILON, THETA = 1e-5, 500_000.0


class Decoder:
    """The weights, and one flat KV cache that each load sees in its own shape."""

    def __init__(self, shape: Shape, device: torch.device, dtype: torch.dtype, kv_tokens: int, seed: int = 1) -> None:
        self.shape, self.device, self.dtype = shape, device, dtype
        self._random = torch.Generator(device).manual_seed(seed)
        inner, kv = shape.heads * shape.head, shape.kv_heads * shape.head
        self.embedding = self._weights(shape.vocabulary, shape.hidden)
        self.layers = [
            (
                self._weights(inner + 2 * kv, shape.hidden),
                self._weights(shape.hidden, inner),
                self._weights(2 * shape.ffn, shape.hidden),
                self._weights(shape.hidden, shape.ffn),
                self._values(kv_tokens * kv),
                self._values(kv_tokens * kv),
            )
            for _ in range(shape.layers)
        ]
        self.output = self._weights(shape.vocabulary, shape.hidden)
        self.norm = torch.ones(shape.hidden, device=device, dtype=dtype)

    def _weights(self, rows: int, columns: int) -> torch.Tensor:
        return self._values(rows * columns).mul_(0.02).view(rows, columns)

    def _values(self, count: int) -> torch.Tensor:
        found = torch.empty(count, device=self.device, dtype=self.dtype)
        return found.normal_(generator=self._random)

    def angles(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines of positions, for one head."""
        half = self.shape.head // 2
        speeds = THETA ** (-torch.arange(half, device=self.device, dtype=torch.float32) / half)
        found = positions.float()[:, None, None] * speeds
        return found.cos().to(self.dtype), found.sin().to(self.dtype)

    def step(self, tokens: torch.Tensor, angles: tuple[torch.Tensor, torch.Tensor], load: Load) -> torch.Tensor:
        """The next tokens' logits: of the prompt's last token, and of each sequence that decodes."""
        x = functional.embedding(tokens, self.embedding)
        for mixed, out, up, down, keys, values in self.layers:
            x = x + functional.linear(
                self._attend(functional.linear(self._normed(x), mixed), angles, load, keys, values), out
            )
            gate, wide = functional.linear(self._normed(x), up).chunk(2, dim=-1)
            x = x + functional.linear(functional.silu(gate) * wide, down)
        last = x[load.prefill - 1 :] if load.prefill else x
        return functional.linear(self._normed(last), self.output)

    def _normed(self, x: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(x, (self.shape.hidden,), self.norm, EPSILON)

    def _attend(
        self,
        mixed: torch.Tensor,
        angles: tuple[torch.Tensor, torch.Tensor],
        load: Load,
        keys: torch.Tensor,
        values: torch.Tensor,
    ) -> torch.Tensor:
        shape = self.shape
        heads = mixed.view(mixed.shape[0], shape.heads + 2 * shape.kv_heads, shape.head)
        q, k, v = heads.split((shape.heads, shape.kv_heads, shape.kv_heads), dim=1)
        q, k = _rotated(q, *angles), _rotated(k, *angles)
        found = []
        if load.prefill:
            new = [each[: load.prefill].transpose(0, 1)[None] for each in (q, k, v)]
            seen = functional.scaled_dot_product_attention(*new, is_causal=True, enable_gqa=True)
            found.append(seen[0].transpose(0, 1).reshape(load.prefill, -1))
        if load.batch:
            view = (load.batch, shape.kv_heads, load.context, shape.head)
            size = load.batch * shape.kv_heads * load.context * shape.head
            old_k, old_v = keys[:size].view(view), values[:size].view(view)
            old_k[:, :, -1], old_v[:, :, -1] = k[load.prefill :], v[load.prefill :]
            # The query heads that share a KV head are rows of one query, so the cache is read once for all of them.
            asked = q[load.prefill :].reshape(load.batch, shape.kv_heads, -1, shape.head)
            found.append(functional.scaled_dot_product_attention(asked, old_k, old_v).reshape(load.batch, -1))
        return torch.cat(found)


def _rotated(x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cosines - right * sines, right * cosines + left * sines), dim=-1)


class Bench:
    """Takes steps of a decoder and times them."""

    def __init__(self, shape: Shape, device: str, loads: Sequence[Load], *, eager: bool) -> None:
        self._device, self.version = torch.device(device), torch.__version__
        self._gpu = self._device.type == "cuda"
        if self._gpu and not torch.cuda.is_available():
            raise SystemExit("no GPU that PyTorch can use: run this on one, or look at --device cpu --shape tiny")
        dtype = torch.bfloat16 if self._gpu else torch.float32
        self.dtype = str(dtype).removeprefix("torch.")
        self.gpu = torch.cuda.get_device_name(self._device) if self._gpu else "a CPU"
        self._graphs = self._gpu and not eager
        self._decoder = Decoder(shape, self._device, dtype, max(each.batch * each.context for each in loads))

    @torch.inference_mode()
    def seconds(self, load: Load, warm: int, repeats: int) -> list[float]:
        """The times of so many steps, after so many that do not count."""
        shape, positions = self._decoder.shape, [*range(load.prefill), *([load.context - 1] * load.batch)]
        tokens = torch.arange(len(positions), device=self._device) % shape.vocabulary
        angles = self._decoder.angles(torch.tensor(positions, device=self._device))

        def step() -> None:
            self._decoder.step(tokens, angles, load)

        take = self._captured(step) if self._graphs else step
        for _ in range(warm):
            take()
        return [self._timed(take) for _ in range(repeats)]

    def _captured(self, step: Callable[[], None]) -> Callable[[], None]:
        """The step as a CUDA graph; libraries set themselves up in steps on a side stream before it is captured."""
        with torch.cuda.device(self._device):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    step()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step()
        return graph.replay

    def _timed(self, take: Callable[[], None]) -> float:
        if not self._gpu:
            start = time.perf_counter()
            take()
            return time.perf_counter() - start
        with torch.cuda.device(self._device):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            begin.record()
            take()
            end.record()
            torch.cuda.synchronize()
            return float(begin.elapsed_time(end)) / 1e3
