#!/usr/bin/env python3
"""Times dense attention beside its peers on one GPU, in one process, taking turns.

    bench_gpu.py --library libtamis_gpu.so[,other.so...] [--site FOLDER] [--lengths N...]
                 [--head-dims N...] [--bidirectional] [--accuracy]

Peers: cuDNN through PyTorch, and flash-attn-4 where FOLDER holds it. bf16, batch 1, 32/8 heads,
random normal inputs. Everyone runs a burst of about 20 ms in each repeat, in an order that rotates,
so that all meet the same clock; the figure is the median. Prints the relative RMS error of ours
against cuDNN's output too. --accuracy times nothing: it prints everybody's RMS error against
attention in fp64 on the same inputs, causal and not, and fails where ours is above 1.1 of cuDNN's.
"""
import argparse
import ctypes
import json
import os
import statistics
import sys

parser = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--library", required=True)
parser.add_argument("--site")
parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 16384])
parser.add_argument("--head-dims", type=int, nargs="+", default=[128, 64])
parser.add_argument("--repeats", type=int, default=9)
parser.add_argument("--bidirectional", action="store_true")
parser.add_argument("--accuracy", action="store_true")
args = parser.parse_args()
if args.site:
    import site
    site.addsitedir(args.site)

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

try:
    from flash_attn.cute.interface import _flash_attn_fwd
except ImportError:
    _flash_attn_fwd = None

Q_HEADS, KV_HEADS = 32, 8


def ours(path, q, k, v, causal):
    library = ctypes.CDLL(os.path.abspath(path))
    o = torch.full_like(q, float("nan"))
    workspace = torch.zeros(64, dtype=torch.uint8, device="cuda")
    pointers = [ctypes.c_void_p(t.data_ptr()) for t in (q, k, v, o)]
    length, head_dim = q.shape[1], q.shape[3]

    def run():
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        status = library.tamis_gpu_dense(*pointers, length, Q_HEADS, KV_HEADS, head_dim,
                                         int(causal), ctypes.c_void_p(workspace.data_ptr()),
                                         stream)
        if status != 0:
            sys.exit("tamis failed")
        return o

    return run


def sdpa(q, k, v, causal):
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)),
                                              is_causal=causal, enable_gqa=True)


def contenders(q, k, v, causal):
    """Everybody's call, by name."""
    runs = {f"tamis {os.path.basename(p)}": ours(p, q, k, v, causal)
            for p in args.library.split(",")}
    runs["cudnn"] = lambda: sdpa(q, k, v, causal).transpose(1, 2)
    if _flash_attn_fwd:
        runs["fa4"] = lambda: _flash_attn_fwd(q, k, v, causal=causal)[0]
    return runs


def inputs(length, head_dim):
    return (torch.randn(1, length, heads, head_dim, device="cuda", dtype=torch.bfloat16)
            for heads in (Q_HEADS, KV_HEADS, KV_HEADS))


def exact(q, k, v, causal):
    """Attention in fp64, a query head at a time."""
    length = q.shape[1]
    hidden = torch.ones(length, length, dtype=torch.bool, device="cuda").triu(1) if causal else None
    o = torch.empty(q.shape, dtype=torch.float64, device="cuda")
    for head in range(Q_HEADS):
        kv_head = head // (Q_HEADS // KV_HEADS)
        s = q[0, :, head].double() @ k[0, :, kv_head].double().T / q.shape[3] ** 0.5
        if causal:
            s.masked_fill_(hidden, float("-inf"))
        o[0, :, head] = s.softmax(-1) @ v[0, :, kv_head].double()
    return o


def accuracy(length, head_dim, causal):
    q, k, v = inputs(length, head_dim)
    expected = exact(q, k, v, causal)
    rms = {name: ((run().double() - expected).square().mean().sqrt()
                  / expected.square().mean().sqrt()).item()
           for name, run in contenders(q, k, v, causal).items()}
    print(json.dumps(dict(causal=causal, length=length, head_dim=head_dim,
                          relative_rms={n: float(f"{e:.3e}") for n, e in rms.items()})), flush=True)
    return all(e <= 1.1 * rms["cudnn"] for n, e in rms.items() if n.startswith("tamis"))


def burst(run, calls):
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(calls):
        run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / calls


def measure(length, head_dim):
    causal = not args.bidirectional
    q, k, v = inputs(length, head_dim)
    runs = contenders(q, k, v, causal)
    expected = runs["cudnn"]().float()
    errors = []
    calls = {}
    for name, run in runs.items():
        out = run()
        torch.cuda.synchronize()
        if name.startswith("tamis"):
            errors.append(((out.float() - expected).norm() / expected.norm()).item())
        calls[name] = max(1, min(100, int(20 / max(burst(run, 2), 1e-3))))
    times = {name: [] for name in runs}
    names = list(runs)
    for repeat in range(args.repeats):
        for i in range(len(names)):
            name = names[(i + repeat) % len(names)]
            times[name].append(burst(runs[name], calls[name]))
    flops = 4 * length**2 * head_dim * Q_HEADS / (2 if causal else 1)
    medians = {name: statistics.median(t) for name, t in times.items()}
    print(json.dumps(dict(gpu=torch.cuda.get_device_name(), causal=causal, length=length,
                          head_dim=head_dim,
                          milliseconds={n: round(t, 4) for n, t in medians.items()},
                          tflops={n: round(flops / t / 1e9) for n, t in medians.items()},
                          error=[float(f"{e:.1e}") for e in errors])), flush=True)


torch.manual_seed(0)
close = True
for head_dim in args.head_dims:
    for length in args.lengths:
        if args.accuracy:
            close &= all([accuracy(length, head_dim, causal) for causal in (True, False)])
        else:
            measure(length, head_dim)
if not close:
    sys.exit("error against fp64 above 1.1 of cuDNN's")
