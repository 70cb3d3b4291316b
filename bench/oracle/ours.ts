// An oracle case through this library, in layout 'bshd': the output is [B, Nq, Hq, Dv] like onnxruntime's.
import { attentionSync, causal, slidingWindow, Tensor } from '../../dist/index.js';
import type { AttentionOptions, MaskItem } from '../../dist/index.js';
import type { OracleCase } from './cases.js';
import type { Operands } from './operands.js';

export function runOurs(c: OracleCase, operands: Operands): Float32Array {
  const { batch, headsQ, headsKv, queries, keys, dimQk, dimV } = c;
  const mask: MaskItem[] = [];
  if (c.causal) mask.push(causal());
  if (c.window !== undefined) mask.push(slidingWindow(c.window - 1, null));
  if (operands.keyPadding) mask.push(Tensor.from(operands.keyPadding, [batch, keys], { dtype: 'bool' }));
  if (operands.mask) mask.push(Tensor.from(operands.mask, [batch, 1, queries, keys], { dtype: 'bool' }));
  const options: AttentionOptions = { layout: 'bshd' };
  if (mask.length > 0) options.mask = mask;
  if (c.scale !== undefined) options.scale = c.scale;
  if (c.softcap !== undefined) options.softcap = c.softcap;
  if (operands.sinks) options.sinks = Tensor.from(operands.sinks, [headsQ]);
  if (operands.bias) {
    const shape = [c.bias!.batch ? batch : 1, c.bias!.heads ? headsQ : 1, queries, keys];
    options.bias = Tensor.from(operands.bias, shape);
  }
  const { output } = attentionSync(
    Tensor.from(operands.query, [batch, queries, headsQ, dimQk]),
    Tensor.from(operands.key, [batch, keys, headsKv, dimQk]),
    Tensor.from(operands.value, [batch, keys, headsKv, dimV]),
    options,
  );
  return output.data as Float32Array;
}
