"""Times torch.nn.functional.scaled_dot_product_attention: sdpa.py CASES SECONDS

A case a line: dtype, batch, query heads, key heads, queries, keys, dim, causal (0 or 1). Writes "torch <version>" or
why it cannot, then of each case the median milliseconds of a call that is waited for, or "-" where it fails.
"""

import statistics
import sys
import time


def milliseconds(torch, case, seconds):
    dtype, *numbers = case.split()
    batch, heads_q, heads_kv, queries, keys, dim, causal = map(int, numbers)

    def drawn(heads, rows):
        return torch.randn(batch, heads, rows, dim, device="cuda", dtype=getattr(torch, dtype))

    q, k, v = drawn(heads_q, queries), drawn(heads_kv, keys), drawn(heads_kv, keys)
    options = {"is_causal": bool(causal)}
    if heads_q != heads_kv:
        options["enable_gqa"] = True

    def call():
        start = time.perf_counter()
        torch.nn.functional.scaled_dot_product_attention(q, k, v, **options)
        torch.cuda.synchronize()
        return (time.perf_counter() - start) * 1000

    with torch.no_grad():
        for _ in range(3):
            call()
        samples = []
        end = time.perf_counter() + seconds
        while len(samples) < 5 or (len(samples) < 100 and time.perf_counter() < end):
            samples.append(call())
    return statistics.median(samples)


def main(path, seconds):
    try:
        import torch
    except ImportError as error:
        return print(error)
    if not torch.cuda.is_available():
        return print(f"PyTorch {torch.__version__} has no CUDA device")
    print("torch", torch.__version__)
    with open(path) as cases:
        for case in cases:
            try:
                print(milliseconds(torch, case, float(seconds)), flush=True)
            except Exception as error:
                print(f"PyTorch: {case.strip()}: {error}", file=sys.stderr)
                print("-", flush=True)
            torch.cuda.empty_cache()


main(*sys.argv[1:])
