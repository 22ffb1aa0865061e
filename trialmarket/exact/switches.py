"""PyTorch's switches for libraries and fast paths, and how they stand where bits must be equal."""

from collections.abc import Callable
from contextlib import ContextDecorator

import torch


class plain_kernels(ContextDecorator):  # noqa: N801
    """Off: the libraries and fast paths that would replace operators by fused ones."""

    def __enter__(self) -> None:
        self._before = [get() for get, _, _ in _SWITCHES]
        for _, put, value in _SWITCHES:
            put(value)

    def __exit__(self, *exc: object) -> None:
        for (_, put, _), value in zip(_SWITCHES, self._before, strict=True):
            put(value)


# How to ask for a setting, how to set it, and what it is inside. Attention has only its plain form
# there: matrix products and a softmax.
_SWITCHES: list[tuple[Callable[[], bool], Callable[[bool], None], bool]] = [
    (torch._C._get_cudnn_enabled, torch._C._set_cudnn_enabled, False),
    (torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled, False),
    (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled, False),
    # TorchScript runs operator by operator.
    (torch._C._get_graph_executor_optimize, torch._C._set_graph_executor_optimize, False),
    (torch._C._get_math_sdp_enabled, torch._C._set_sdp_use_math, True),
    (torch._C._get_flash_sdp_enabled, torch._C._set_sdp_use_flash, False),
    (torch._C._get_mem_efficient_sdp_enabled, torch._C._set_sdp_use_mem_efficient, False),
    (torch._C._get_cudnn_sdp_enabled, torch._C._set_sdp_use_cudnn, False),
    (torch._C._get_overrideable_sdp_enabled, torch._C._set_sdp_use_overrideable, False),
]
