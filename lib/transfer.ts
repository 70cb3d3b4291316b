// Copies of tensors between the host and devices.

import { denseElements } from './dense.js';
import { DeviceMemory, open } from './device-memory.js';
import { sizeOf } from './dtype.js';
import type { TensorDevice } from './environment.js';
import { execute } from './execution.js';
import { allocate } from './memory.js';
import type { NativeBuffer } from './native.cjs';
import { contiguousStrides, countOf, extentOf } from './shape.js';
import { checkExtent, isOnDevice, rawView } from './view.js';
import type { HostView, View } from './view.js';

const argument = 'tensor';
const transferVersion = 1;

/**
 * The same elements on another device that there is. All that lies from its first element to its last is copied at once,
 * and strides stay; in host memory, what then is more than twice what the view has is packed, on the calling thread.
 */
export async function transferred(view: View, device: TensorDevice): Promise<View> {
  if (isOnDevice(view)) {
    // Whoever disposes of the tensor meanwhile ends its hold alone.
    view.memory.hold();
    try {
      const there = await copied(view, device);
      return isOnDevice(there) ? there : compact(there);
    } finally {
      view.memory.release();
    }
  }
  checkExtent(argument, view);
  return copied(compact(view), device);
}

function compact(view: HostView): HostView {
  const { dtype, shape, strides } = view;
  if (extentOf(shape, strides) <= 2 * countOf(shape)) return view;
  return { data: denseElements(view, argument), dtype, shape, strides: contiguousStrides(shape), offset: 0 };
}

async function copied(view: View, device: TensorDevice): Promise<View> {
  const { dtype, shape, strides } = view;
  const extent = extentOf(shape, strides);
  const bytes = extent * sizeOf[dtype];
  if (device !== 'cpu') await open(device);
  if (device === 'cpu') {
    const target = { data: allocate(dtype, extent, argument), dtype, shape, strides, offset: 0 };
    if (bytes > 0) await copy(view, target, bytes);
    return target;
  }
  const memory = new DeviceMemory(device, bytes, argument);
  const target = { memory, dtype, shape, strides, offset: 0 };
  try {
    if (bytes > 0) await copy(view, target, bytes);
  } catch (error) {
    memory.free();
    throw error;
  }
  return target;
}

function copy(from: View, to: View, bytes: number): Promise<void> {
  if (!isOnDevice(from)) checkExtent(argument, from);
  const begin = isOnDevice(from) ? from.offset * sizeOf[from.dtype] : 0;
  return execute({
    kind: 'transfer',
    numbers: () => Float64Array.of(transferVersion, bytes, begin),
    buffers: [bufferOf(from), bufferOf(to)],
    owned: 0b10,
    name: () => argument,
  });
}

function bufferOf(view: View): NativeBuffer {
  return isOnDevice(view) ? view.memory.handle : rawView(view);
}
