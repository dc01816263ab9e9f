"""What the libraries below say when a device, or the machine, is in trouble, as data; nothing heavy is imported to read it.

Each has its own words for the same thing, and most come as plain ``RuntimeError``. Texts are compared in lower case.
"""

from __future__ import annotations

import errno

DEVICE_MEMORY = (
    "out of memory",  # CUDA, HIP and MPS, from the allocator or from any later call
    "cudaerrormemoryallocation",
    "hiperroroutofmemory",
    "cuda_error_out_of_memory",
    "get was unable to find an engine",  # cuDNN's frontend: no plan fits into the workspace that is left
    "unable to find a valid cudnn algorithm",
    "cublas_status_alloc_failed",
    "cublas_status_not_initialized",  # its handle needs memory of its own, and says this where there is none
    "cudnn_status_alloc_failed",
    "cudnn_status_not_initialized",
    "cudnn_status_internal_error",
    "hipblas_status_alloc_failed",
    "hipblas_status_not_initialized",
    "rocblas_status_memory_error",
    "miopenstatusallocfailed",
    "miopenstatusinternalerror",
    "invalid buffer size",  # MPS: one tensor is larger than Metal gives at once
    "failed to allocate private mtlbuffer",
    "kiogpucommandbuffercallbackerroroutofmemory",
)
"""The device has no room left: a smaller profile needs less."""

HOST_MEMORY = (
    "can't allocate memory",  # torch's allocator on Linux and macOS
    "not enough memory: you tried to allocate",  # the same on Windows
    "cannot allocate memory",
    "winerror 1455",  # the paging file is too small; the sentence itself is in the language of Windows
    "os error 1455",
    "paging file is too small",
    "failed to pin memory",
    "cudahostalloc",
    "std::bad_alloc",
    "bad allocation",
    "unable to mmap",
)
"""The machine itself has none."""
HOST_NUMBERS = {errno.ENOMEM}
WINDOWS_NUMBERS = {8, 14, 1455}
"""ERROR_NOT_ENOUGH_MEMORY, ERROR_OUTOFMEMORY, ERROR_COMMITMENT_LIMIT: Windows words them in its own language."""

UNFIT = (
    "no kernel image is available",
    "cudaerrornokernelimagefordevice",
    "invalid device function",
    "driver version is insufficient",
    "nvidia driver on your system is too old",
    "found no nvidia driver",
    "unsupported toolchain",  # code for a newer driver's compiler
    "not compiled with cuda enabled",
    "is not compatible with the current pytorch installation",
)
"""The PyTorch installed is not made for this card or its driver."""

BROKEN = (
    "cuda error",
    "hip error",
    "device-side assert",
    "unspecified launch failure",
    "illegal memory access",
    "launch timed out",
    "device lost",
    "gpu is lost",
    "cublas_status",
    "cudnn_status",
    "hipblas_status",
    "rocblas_status",
    "miopenstatus",
)
"""After one of these every later call of the process fails too."""
