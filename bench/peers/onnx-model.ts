// A one-node ONNX model in memory: the ONNX file format is protobuf, and these are the few messages such a model needs.
// Field numbers are those of onnx.proto3.
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

export type ElementType = 'float32' | 'int32';

export interface NodeModel {
  operator: string;
  domain: string;
  /** By position; null is an input the node is run without. */
  inputs: readonly ({ name: string; type: ElementType } | null)[];
  outputs: readonly { name: string; type: ElementType }[];
  /** Whole numbers are written as INT unless they are wrapped: `{ float: 1 }`. */
  attributes: Readonly<Record<string, number | { float: number }>>;
}

const IR_VERSION = 8;
const ONNX_OPSET = 17;
const ELEMENT = { float32: 1, int32: 6 } as const;
const ATTRIBUTE_FLOAT = 1;
const ATTRIBUTE_INT = 2;

type Fields = (writer: BinaryWriter) => void;

function message(writer: BinaryWriter, field: number, fields: Fields): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  fields(writer);
  writer.join();
}

function text(writer: BinaryWriter, field: number, value: string): void {
  writer.tag(field, WireType.LengthDelimited).string(value);
}

function integer(writer: BinaryWriter, field: number, value: number): void {
  writer.tag(field, WireType.Varint).int64(value);
}

function attribute(writer: BinaryWriter, name: string, value: number | { float: number }): void {
  message(writer, 5, (a) => {
    text(a, 1, name);
    if (typeof value === 'number') {
      integer(a, 3, value);
      integer(a, 20, ATTRIBUTE_INT);
    } else {
      a.tag(2, WireType.Bit32).float(value.float);
      integer(a, 20, ATTRIBUTE_FLOAT);
    }
  });
}

/** Name and element type; the shape stays open. */
function valueInfo(writer: BinaryWriter, field: number, value: { name: string; type: ElementType }): void {
  message(writer, field, (info) => {
    text(info, 1, value.name);
    message(info, 2, (type) => message(type, 1, (tensor) => integer(tensor, 1, ELEMENT[value.type])));
  });
}

function operatorSet(writer: BinaryWriter, domain: string, version: number): void {
  message(writer, 8, (set) => {
    text(set, 1, domain);
    integer(set, 2, version);
  });
}

/** The bytes of a model whose graph is that one node. */
export function encodeModel(model: NodeModel): Uint8Array {
  const writer = new BinaryWriter();
  integer(writer, 1, IR_VERSION);
  message(writer, 7, (graph) => {
    message(graph, 1, (node) => {
      for (const input of model.inputs) text(node, 1, input?.name ?? '');
      for (const output of model.outputs) text(node, 2, output.name);
      text(node, 3, 'node');
      text(node, 4, model.operator);
      for (const [name, value] of Object.entries(model.attributes)) attribute(node, name, value);
      text(node, 7, model.domain);
    });
    text(graph, 2, 'graph');
    for (const input of model.inputs) if (input !== null) valueInfo(graph, 11, input);
    for (const output of model.outputs) valueInfo(graph, 12, output);
  });
  operatorSet(writer, '', ONNX_OPSET);
  if (model.domain !== '') operatorSet(writer, model.domain, 1);
  return writer.finish();
}
