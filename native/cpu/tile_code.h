// A program's graph encoded for tiles: what its instructions (bytecode.h) read, and the instructions.
//
// Nodes of the query alone, of the key alone and of neither are not computed here: they come as vectors
// (program/unary.h) and are gathered into lane vectors, or read where they lie as key vectors.
#pragma once

#include <vector>

#include "../program/program.h"
#include "bytecode.h"

namespace fused_attention {

/// Where a lane vector's values come from.
struct LaneSource {
  enum class From : uint8_t {
    query,           // of the query alone: by row
    head,            // of the head alone, or of nothing
    queryUncertain,  // whether `query` is the value of a read outside its table
    headUncertain,
    immediate,
  } from = From::immediate;
  int node = -1;
  bool boolean = false;
  float value = 0;
};

struct KeySource {
  int node = -1;
  bool uncertain = false;  // whether the node's value is that of a read outside its table
};

/// A panel of the whole tile that the code is given.
struct PanelInput {
  int grid = -1;  // mask tensor; -1: the scores
};

struct TileCode {
  std::vector<LaneSource> laneSources;  // the first of the lane vectors
  int laneVectors = 0;                  // with those that laneCode computes
  std::vector<Instruction> laneCode;    // on tiles of one key; its registers are lane vectors
  std::vector<KeySource> keySources;
  std::vector<PanelInput> inputs;
  std::vector<Instruction> code;
  int registers = 0;  // panels, the inputs included
  std::vector<const int32_t*> tables;
  bool readsTables = false;
  bool readsInputs = false;

  int scratchPanels() const { return registers - int(inputs.size()); }
};

/// Writes the mask's bits of a tile to words.
TileCode encodeMask(const Program& program);

/// Turns scores in natural units, the first input, into the program's scores times log2(e), in place. `softcap` is
/// applied first; 0: none.
TileCode encodeScore(const Program& program, double softcap);

/// Writes to words for which pairs the result hangs on a read outside a table: not where a conjunction has another
/// reason to be false, a disjunction to be true, or a selection takes its other branch. Empty when there is no such
/// read. `uncertain` tells of nodes that unary.h evaluates whether any of their values is one.
TileCode encodePoison(const Program& program, double softcap, const std::vector<bool>& uncertain);

}  // namespace fused_attention
