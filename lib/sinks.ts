// Sink logits: one a query head, copied when the call is made.

import { checkReadable, lengthOf, typedArrayName } from './arrays.js';
import { denseFloat32 } from './dense.js';
import { floatDtypes } from './dtype.js';
import { describe, formatShape, invalidType, invalidValue, oneOf, shapeMismatch } from './errors.js';
import { isArray, readElement, readLength } from './snapshot.js';
import { readTensor } from './tensor.js';

/** Float32 logits [heads] of the call's own, or null when there are none. */
export function readSinks(sinks: unknown, heads: number): Float32Array | null {
  const argument = 'options.sinks';
  if (sinks === undefined) return null;
  if (isArray(argument, sinks)) {
    checkShape([readLength(argument, sinks)], heads);
    return Float32Array.from({ length: heads }, (_, h) => {
      const logit = readElement(argument, sinks, h);
      if (typeof logit !== 'number') throw invalidType(`${argument}[${h}]`, 'a number', logit);
      return logit;
    });
  }
  if (typedArrayName(sinks) === 'Float32Array') {
    checkReadable(argument, sinks as Float32Array);
    checkShape([lengthOf(sinks as Float32Array)], heads);
    return new Float32Array(sinks as Float32Array);
  }
  const view = readTensor(sinks, argument);
  if (view.dtype === 'bool') throw invalidValue(argument, `dtype ${oneOf(floatDtypes)}`, describe(view.dtype));
  checkShape(view.shape, heads);
  return denseFloat32(view, argument);
}

function checkShape(shape: readonly number[], heads: number): void {
  if (shape.length === 1 && shape[0] === heads) return;
  throw shapeMismatch('options.sinks', `[Hq] = [${heads}]`, formatShape(shape));
}
