"""What torch and what it stands on raise when a device, or a machine, is in trouble, word for word."""

from __future__ import annotations

import errno

import torch
from safetensors import SafetensorError


class WindowsError(OSError):
    """As Windows raises it: the sentence is in the language of the system, only the number is not."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"[WinError {number}] {text}")
        self.winerror = number


DEVICE_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 3.81 GiB"),
    torch.OutOfMemoryError("HIP out of memory. Tried to allocate 2.00 GiB"),
    torch.AcceleratorError(
        "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in https://docs.nvidia.com"
    ),
    RuntimeError(
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call"
    ),
    RuntimeError("cudaErrorMemoryAllocation: the API call failed because it was unable to allocate enough memory"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("HIP error: out of memory"),
    RuntimeError("CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`"),
    RuntimeError("miopenStatusInternalError"),
    RuntimeError(
        "MPS backend out of memory (MPS allocated: 5.00 GB, other allocations: 3.00 GB, max allowed: 9.07 GB)"
    ),
    RuntimeError("Invalid buffer size: 20.25 GiB"),
    RuntimeError("Failed to allocate private MTLBuffer for size 4294967296"),
]
HOST_MEMORY = [
    MemoryError(),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
        "9 bytes. Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:116] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."
    ),
    WindowsError(1455, "Die Auslagerungsdatei ist zu klein, um diesen Vorgang durchzuf\xfchren"),
    OSError("The paging file is too small for this operation to complete. (os error 1455)"),
    SafetensorError("Error while deserializing: I/O error: (os error 1455)"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("unable to mmap 3046217728 bytes from file <model.safetensors>: Cannot allocate memory (12)"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("CUDA error: failed to pin memory: cudaHostAlloc returned an error"),
]
UNFIT = [
    RuntimeError(
        "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be ..."
    ),
    RuntimeError("The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver"),
    RuntimeError("CUDA error: CUDA driver version is insufficient for CUDA runtime version"),
    RuntimeError("CUDA error: the provided PTX was compiled with an unsupported toolchain."),
    RuntimeError("HIP error: invalid device function"),
    AssertionError("Torch not compiled with CUDA enabled"),
]
BROKEN = [
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("CUDA error: device-side assert triggered\nmore"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: the launch timed out and was terminated"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("HIP error: unspecified launch failure"),
]
