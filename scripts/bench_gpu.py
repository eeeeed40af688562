#!/usr/bin/env python3
"""Times attention beside its peers on one GPU, in one process, taking turns.

    bench_gpu.py --library libtamis_gpu.so[,other.so...] [--site FOLDER] [--lengths N...]
                 [--head-dims N...] [--bidirectional] [--accuracy]
                 [--densities X... [--block QUERIES KEYS] [--shared] [--flex] [--kernels]]

Dense peers: cuDNN through PyTorch, and flash-attn-4 where FOLDER holds it. With --densities, lists of
blocks: random ones below the diagonal and the masked diagonal, a list for each query head (--shared:
for each KV head); peers flash-attn-4 (blocks of 128) and, with --flex, FlexAttention. bf16, batch 1,
32/8 heads, random normal inputs. Everyone runs a burst of about 20 ms in each repeat, in an order that
rotates, so that all meet the same clock; the figure is the median. Prints the relative RMS error of ours
against a peer's output too, and for lists a + b * (blocks a row), the microseconds that one of 132
multiprocessors takes for a row, fitted over the densities; with --kernels the microseconds of each kernel
of ours (the preparation overlaps with the start of the main one). --accuracy times nothing: it prints
everybody's RMS error against dense attention in fp64 on the same inputs, causal and not, and fails where ours
is above 1.1 of cuDNN's.
"""
import argparse
import ctypes
import json
import os
import statistics
import sys
import tempfile

parser = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--library", required=True)
parser.add_argument("--site")
parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 16384])
parser.add_argument("--head-dims", type=int, nargs="+", default=[128, 64])
parser.add_argument("--repeats", type=int, default=9)
parser.add_argument("--bidirectional", action="store_true")
parser.add_argument("--accuracy", action="store_true")
parser.add_argument("--densities", type=float, nargs="+")
parser.add_argument("--block", type=int, nargs=2, default=[128, 128])
parser.add_argument("--shared", action="store_true")
parser.add_argument("--flex", action="store_true")
parser.add_argument("--kernels", action="store_true")
args = parser.parse_args()
if args.site:
    import site
    site.addsitedir(args.site)

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import BlockMask, flex_attention

try:
    from flash_attn.cute.interface import BlockSparseTensorsTorch, _flash_attn_fwd
except ImportError:
    _flash_attn_fwd = None

Q_HEADS, KV_HEADS, CAUSAL = 32, 8, not args.bidirectional
GROUP = Q_HEADS // KV_HEADS


class Shape(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int)
                for name in ("length", "q_heads", "kv_heads", "head_dim", "causal")]


def ours(path, q, k, v, causal=CAUSAL, lists=None):
    """A call of the library; `lists`: bitmap, counts, and the block sizes and heads of a row."""
    library = ctypes.CDLL(os.path.abspath(path))
    function = library.tamis_gpu_dense if lists is None else library.tamis_gpu_lists
    function.restype = ctypes.c_longlong
    shape = Shape(q.shape[1], Q_HEADS, KV_HEADS, q.shape[3], int(causal))
    o = torch.full_like(q, float("nan"))

    def pointer(tensor):
        return ctypes.c_void_p(tensor.data_ptr())

    arguments = [ctypes.byref(shape), *map(pointer, (q, k, v, o))]
    if lists is not None:
        arguments += [pointer(lists[0]), pointer(lists[1]), *lists[2:]]
    size = function(*arguments, None, None)
    workspace = torch.zeros(max(size, 1), dtype=torch.uint8, device="cuda")

    def run():
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        if function(*arguments, pointer(workspace), stream) < 0:
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


def burst(run, calls):
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(calls):
        run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / calls


def take_turns(runs, flops, expected, **labels):
    """Median milliseconds of each; prints a line."""
    errors = []
    calls = {}
    for name, run in runs.items():
        out = run()
        torch.cuda.synchronize()
        if name.startswith("tamis"):
            errors.append(((out.float() - expected.float()).norm() / expected.float().norm()).item())
        calls[name] = max(1, min(100, int(20 / max(burst(run, 2), 1e-3))))
    times = {name: [] for name in runs}
    names = list(runs)
    for repeat in range(args.repeats):
        for i in range(len(names)):
            name = names[(i + repeat) % len(names)]
            times[name].append(burst(runs[name], calls[name]))
    medians = {name: statistics.median(t) for name, t in times.items()}
    print(json.dumps(dict(gpu=torch.cuda.get_device_name(), causal=CAUSAL, **labels,
                          milliseconds={n: round(t, 4) for n, t in medians.items()},
                          tflops={n: round(flops / t / 1e9) for n, t in medians.items()},
                          error=[float(f"{e:.1e}") for e in errors])), flush=True)
    return medians


def print_kernels(run):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(5):
            run()
        torch.cuda.synchronize()
    for event in profile.key_averages():
        print(f"  {event.key[:70]}: {event.device_time:.1f} us", flush=True)


def libraries(suffix=""):
    return {f"tamis{suffix} {os.path.basename(p)}": p for p in args.library.split(",")}


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


def dense(length, head_dim):
    q, k, v = inputs(length, head_dim)
    runs = contenders(q, k, v, CAUSAL)
    flops = 4 * length**2 * head_dim * Q_HEADS / (2 if CAUSAL else 1)
    take_turns(runs, flops, runs["cudnn"](), length=length, head_dim=head_dim)


def diagonal_mask():
    """flash-attn-4 compiles mask functions from their source file, so this one is written to a file."""
    folder = tempfile.mkdtemp()
    with open(f"{folder}/diagonal_mask.py", "w") as f:
        f.write("""
import cutlass.cute as cute
from flash_attn.cute.block_sparsity import fast_sampling


@fast_sampling
@cute.jit
def below_diagonal(batch: cute.TensorSSA, head: cute.TensorSSA, q: cute.TensorSSA,
                   k: cute.TensorSSA, seqlen_info, aux_tensors: None) -> cute.TensorSSA:
    return k <= q
""")
    sys.path.insert(0, folder)
    from diagonal_mask import below_diagonal
    return below_diagonal


def bitmap_of(keep):
    """[rows, blocks] -> words and counts."""
    rows, blocks = keep.shape
    padded = F.pad(keep, (0, -blocks % 32)).view(rows, -1, 32).long()
    words = (padded << torch.arange(32, device=keep.device)).sum(-1)
    words = torch.where(words >= 1 << 31, words - (1 << 32), words)
    return words.int().contiguous(), keep.sum(-1).int().contiguous()


def random_lists(length, density):
    """Blocks kept below the diagonal, and the diagonal ones: [head rows, query blocks, key blocks]."""
    query_block, key_block = args.block
    head_rows = KV_HEADS if args.shared else Q_HEADS
    rows, columns = length // query_block, length // key_block
    generator = torch.Generator(device="cuda").manual_seed(1)
    keep = torch.rand(head_rows, rows, columns, generator=generator, device="cuda") < density
    first = torch.arange(rows, device="cuda")[:, None] * query_block
    key = torch.arange(columns, device="cuda")[None, :] * key_block
    below = key + key_block <= first
    diagonal = (key < first + query_block) & ~below
    return keep & below, diagonal.expand(head_rows, rows, columns)


def lists(length, head_dim, density):
    query_block, key_block = args.block
    q, k, v = inputs(length, head_dim)
    below, diagonal = random_lists(length, density)
    keep = below | diagonal
    bitmap, counts = bitmap_of(keep.flatten(0, 1))
    runs = {name: ours(path, q, k, v, lists=(bitmap, counts, query_block, key_block,
                                       GROUP if args.shared else 1))
            for name, path in libraries().items()}
    if density == 1:
        runs |= {name: ours(path, q, k, v) for name, path in libraries(" dense").items()}
    expected = None
    if args.block == [128, 128]:
        def as_lists(mask):
            mask = (mask.repeat_interleave(GROUP, 0) if args.shared else mask)[None]
            order = torch.argsort(mask.int(), dim=-1, descending=True, stable=True)
            return mask.sum(-1).int(), order.int()

        (full_count, full_index), (part_count, part_index) = as_lists(below), as_lists(diagonal)
        if _flash_attn_fwd:
            tensors = BlockSparseTensorsTorch(mask_block_cnt=part_count, mask_block_idx=part_index,
                                              full_block_cnt=full_count, full_block_idx=full_index,
                                              block_size=(128, 128))
            mask = diagonal_mask()
            runs["fa4"] = lambda: _flash_attn_fwd(q, k, v, mask_mod=mask,
                                                  block_sparse_tensors=tensors)
            expected = runs["fa4"]()[0]
        if args.flex:
            blocks = BlockMask.from_kv_blocks(part_count, part_index, full_count, full_index,
                                              BLOCK_SIZE=(128, 128),
                                              mask_mod=lambda b, h, i, j: i >= j)
            qt, kt, vt = (x.transpose(1, 2) for x in (q, k, v))
            runs["flex"] = lambda: FLEX(qt, kt, vt, block_mask=blocks, enable_gqa=True)
    if expected is None:
        expected = next(iter(runs.values()))().clone()
    heads = GROUP if args.shared else 1
    pairs = heads * (int(below.sum()) * query_block * key_block
                     + 0.5 * keep.shape[0] * length * query_block)
    medians = take_turns(runs, 4 * head_dim * pairs, expected, length=length, head_dim=head_dim,
                         density=density, block=args.block, shared=args.shared)
    if args.kernels:
        print_kernels(next(iter(runs.values())))
    rows = Q_HEADS * keep.shape[1]
    return heads * int(keep.sum()) / rows, {n: t * 1e3 * 132 / rows for n, t in medians.items()}


def fit(points):
    """Prints a and b of microseconds a row = a + b * blocks a row, least squares of relative errors."""
    for name in points[0][1]:
        pairs = [(x, t[name]) for x, t in points if name in t]
        if len(pairs) < 2:
            continue
        a = torch.tensor([[1 / t, x / t] for x, t in pairs], dtype=torch.float64)
        solution = torch.linalg.lstsq(a, torch.ones(len(pairs), 1, dtype=torch.float64)).solution
        print(f"  {name}: a {solution[0].item():.2f} us, b {solution[1].item():.3f} us", flush=True)


torch.manual_seed(0)
close = True
FLEX = torch.compile(flex_attention) if args.flex else None
for head_dim in args.head_dims:
    for length in args.lengths:
        if args.accuracy:
            close &= all([accuracy(length, head_dim, causal) for causal in (True, False)])
        elif args.densities:
            fit([lists(length, head_dim, density) for density in args.densities])
        else:
            dense(length, head_dim)
if not close:
    sys.exit("error against fp64 above 1.1 of cuDNN's")
