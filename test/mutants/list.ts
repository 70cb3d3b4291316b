// Wrong kernels: each is one textual change of a file under native/, and each must fail the grid. `search` has to occur
// exactly once, so a change of the kernels that removes it is noticed and the mutant is carried over.

export interface Mutant {
  name: string;
  file: string;
  search: string;
  replacement: string;
}

const visibility = 'native/tiles/visibility.cc';
const map = 'native/cpu/mask_map.cc';
const groups = 'native/cpu/group_runs.cc';
const runs = 'native/cpu/key_runs.h';
const sliding = 'native/cpu/sliding_map.cc';
const bits = 'native/cpu/visible_bits.cc';
const program = 'native/cpu/kernels/program.inl';
const tiles = 'native/cpu/tile_program.cc';
const scores = 'native/cpu/kernels/scores.inl';
const softmax = 'native/cpu/kernels/softmax.inl';
const weights = 'native/cpu/kernels/weights.inl';
const softcap = 'native/cpu/kernels/softcap.inl';
const accumulate = 'native/cpu/kernels/accumulate.inl';
const convert = 'native/cpu/kernels/convert.inl';
const merging = 'native/cpu/kernels/merge.inl';
const few = 'native/cpu/kernels/few_queries.inl';
const tree = 'native/cpu/chunk_tree.cc';
const forward = 'native/cpu/forward.cc';
const walk = 'native/cpu/tile_walk.cc';
const block = 'native/cpu/query_block.cc';
const rows = 'native/cpu/key_rows.h';
const results = 'native/cpu/results.cc';
const gathered = 'native/cpu/gathered_tiles.h';
const cells = 'native/tiles/grid_keys.cc';
const order = 'native/cpu/query_order.cc';
const listed = 'native/cpu/listed_keys.cc';
const told = 'native/cpu/row_statistics.cc';
const statistics = 'native/cpu/kernels/statistics.inl';

export const mutants: Mutant[] = [
  // Statistics: relative to which reference, whose keys, once or twice.
  {
    name: 'statistics: sums stay relative to an old reference',
    file: statistics,
    search: 'value[v] = load(values + v * kWidth) * powerOfTwo(before - common);',
    replacement: 'value[v] = load(values + v * kWidth);',
  },
  {
    name: 'statistics: of equal weights the last column stands first',
    file: statistics,
    search: 'const Int here = one > own, further = one > shifted;',
    replacement: 'const Int here = one >= own, further = one >= shifted;',
  },
  {
    name: 'statistics: a range begins a key early',
    file: told,
    search: 'if (until > before) out[count++] = {at - segments.begin(), first + before, until - before};',
    replacement:
      'if (until > before) out[count++] = {at - segments.begin(), first + before - (before > 0), until - before};',
  },
  {
    name: 'statistics: a sink takes no share',
    file: told,
    search: 'const Denominator d = denominatorOf(reference, softmax.sum[t], sink, false);',
    replacement: 'const Denominator d = denominatorOf(reference, softmax.sum[t], sink ? nullptr : sink, false);',
  },
  {
    name: 'statistics: column sums of all heads that share lanes go to each of them',
    file: 'native/cpu/column_sums.cc',
    search: 'std::copy(share_[g] + from, share_[g] + end, own + from);',
    replacement: 'std::copy(share_[g], share_[g] + lanes.count, own);',
  },
  // Pages of a pool, and prefixes that sequences share.
  {
    name: 'pages: a stretch that begins inside a page starts at its first row',
    file: rows,
    search: 'at = range.begin % pageRows;',
    replacement: 'at = 0 * (range.begin % pageRows);',
  },
  {
    name: 'prefix: its last key is seen by each sequence, too',
    file: 'native/cpu/common_pass.cc',
    search: 's.firstKey = end;',
    replacement: 's.firstKey = end - 1;',
  },
  // Visibility: boundaries of runs, bits, grids.
  {
    name: 'visibility: full runs are one key short',
    file: visibility,
    search: 'if (verdict.always()) append(out_, first_, range, true);',
    replacement: 'if (verdict.always()) append(out_, first_, {range.begin, range.end - 1}, true);',
  },
  {
    name: 'visibility: boxes that share their runs see those of the next row',
    file: visibility,
    search: 'const int64_t shift = row - sliding_.start;',
    replacement: 'const int64_t shift = row - sliding_.start + 1;',
  },
  {
    name: 'map: partial runs miss their last key',
    file: runs,
    search: 'end = k + 1;',
    replacement: 'end = std::max(k, from + 1);',
  },
  {
    name: 'map: partial runs start one key late',
    file: runs,
    search: 'from = k;',
    replacement: 'from = std::min(k + 1, count - 1);',
  },
  {
    name: 'map: what some see counts as seen by all',
    file: runs,
    search: '{{begin + from, begin + end}, false, kept(from, end)}',
    replacement: '{{begin + from, begin + end}, true}',
  },
  {
    name: 'map: what is mixed near the last group’s ends is hidden',
    file: groups,
    search: 'if (verdict.never()) continue;',
    replacement: 'if (!verdict.always()) continue;',
  },
  {
    name: 'map: groups at a distance see the keys of the next row',
    file: sliding,
    search: 'lanesOfGroup(plan, kernels, group).begin - start;',
    replacement: 'lanesOfGroup(plan, kernels, group).begin - start + 1;',
  },
  {
    name: 'map: bits that are cut off at the first key are those before it',
    file: sliding,
    search: 'const int64_t word = run.words + from - run.begin;',
    replacement: 'const int64_t word = run.words;',
  },
  {
    name: 'map: heads share one map though the mask tells them apart',
    file: map,
    search: '(given.mask->depends(given.mask->result()) & onHead) && !readsTensors;',
    replacement: '(given.mask->depends(given.mask->result()) & onHead) && !readsTensors && false;',
  },
  {
    name: 'visibility: a query does not see its own right end',
    file: program,
    search: 'INTEGER_BINARY(LeInteger, a <= b)',
    replacement: 'INTEGER_BINARY(LeInteger, a < b)',
  },
  {
    name: 'visibility: mask grids of one head for all',
    file: bits,
    search: 'start + lanes.head[t] * layout.head + lanes.row[t] * layout.row',
    replacement: 'start + lanes.row[t] * layout.row',
  },
  {
    name: 'visibility: mask grids of the first batch entry for all',
    file: bits,
    search: '(*masks_)[m] + layout.offset + sequence_.batch * layout.batch',
    replacement: '(*masks_)[m] + layout.offset',
  },
  {
    name: 'visibility: a tile counts as full when part of it is',
    file: walk,
    search: 'full = covered == all.end - all.begin;',
    replacement: 'full = covered > 0;',
  },
  {
    name: 'visibility: every group of lanes reads the first vector of bits',
    file: softmax,
    search: 'lanesOf(uint32_t(tile.visible[key] >> lane))',
    replacement: 'lanesOf(uint32_t(tile.visible[key]))',
  },
  {
    name: 'visibility: masked scores are small instead of gone',
    file: softmax,
    search: 'const Float hidden = broadcast(-__builtin_inff());',
    replacement: 'const Float hidden = broadcast(-10000.0f);',
  },

  // Programs: their vectors, registers and units.
  {
    name: 'programs: scores stay in natural units',
    file: 'native/cpu/tile_code.cc',
    search: 'float(std::numbers::log2e)',
    replacement: '1.0f',
  },
  {
    name: 'programs: every lane is the first query',
    file: tiles,
    search: 'byQuery[lanes.row[t]]',
    replacement: 'byQuery[lanes.row[0 * t]]',
  },
  {
    name: 'programs: every lane is of the first head',
    file: tiles,
    search: 'unary_->scalar(source.node, lanes.head[t])',
    replacement: 'unary_->scalar(source.node, lanes.head[0 * t])',
  },
  {
    name: 'programs: every tile has the first keys',
    file: tiles,
    search: ') + tile.keys.begin;',
    replacement: ') + 0 * tile.keys.begin;',
  },
  {
    name: 'programs: every strip has the first keys of its tile',
    file: program,
    search: 'return run.keyVectors[index] + first;',
    replacement: 'return run.keyVectors[index] + 0 * first;',
  },
  {
    name: 'programs: booleans of keys are taken as they come',
    file: program,
    search: 'if constexpr (Boolean) return asFloat(-asInt(broadcastCell(at + key)));',
    replacement: 'if constexpr (Boolean) return asFloat(asInt(broadcastCell(at + key)));',
  },
  {
    name: 'programs: a product is taken from the wrong side',
    file: program,
    search: 'REAL_BINARY(SubFromReal, b - a)',
    replacement: 'REAL_BINARY(SubFromReal, a - b)',
  },
  {
    name: 'programs: a distance keeps its sign',
    file: program,
    search: 'toFloat(asInt(AbsInteger::of(',
    replacement: 'toFloat(asInt((',
  },
  {
    name: 'programs: a last sum stays in natural units',
    file: 'native/cpu/tile_code.cc',
    search: 'last.value = factor;',
    replacement: 'last.value = 1;',
  },
  {
    name: 'programs: a register is given away while it is read',
    file: 'native/cpu/tile_code.cc',
    search: 'lastUse[size_t(o.index)] = std::max(lastUse[size_t(o.index)], i);',
    replacement: 'lastUse[size_t(o.index)] = i;',
  },

  // Rescale: what was accumulated before a larger score came.
  {
    name: 'rescale: outputs are not rescaled',
    file: accumulate,
    search: 'fma(load(at), factor, sum[r][v])',
    replacement: 'load(at) + sum[r][v] + factor * broadcast(0.0f)',
  },
  {
    name: 'rescale: the first tile is added to what was there',
    file: forward,
    search: 'untouched_ & own ? nullptr : rescale_',
    replacement: 'untouched_ & own ? rescale_ : rescale_',
  },
  {
    name: 'rescale: groups that no tile came to keep what was there',
    file: forward,
    search: 'if (untouched_ >> g & 1) state_->clearOutput(g, outputFloats(g));',
    replacement: '',
  },
  {
    name: 'rescale: sums are not rescaled',
    file: softmax,
    search: 'store(state.sum + lane, fma(sum, factor, tileSum));',
    replacement: 'store(state.sum + lane, sum + tileSum);',
  },
  {
    name: 'rescale: the reference does not move',
    file: softmax,
    search: 'store(state.reference + lane, reference);\n    store(rescale + lane, factor);',
    replacement:
      'store(state.reference + lane, max(before, reference - broadcast(1.0f)));\n    store(rescale + lane, factor);',
  },
  {
    name: 'rescale: the moment keeps its old reference',
    file: softmax,
    search: 'const Float shifted = fma(distanceMoved(before, reference), sum, load(state.moment + lane));',
    replacement: 'const Float shifted = load(state.moment + lane);',
  },

  // Tails: last keys, last components, last lanes.
  {
    name: 'tail: the last key of an odd number gets no weight',
    file: softmax,
    search: 'case 1: weighSome.template operator()<0, 1>(rest); break;',
    replacement: 'case 1: break;',
  },
  {
    name: 'tail: the last key is not looked at for the maximum',
    file: softmax,
    search: 'if (key < end) largest[0] = max(largest[0], load(column + key * lanes));',
    replacement: '',
  },
  {
    name: 'tail: a single last key keeps an old score',
    file: scores,
    search: 'for (int64_t key = 0; key < keys;) {',
    replacement: 'for (int64_t key = 0; key + 1 < keys;) {',
  },
  {
    name: 'tail: a single last component of the output is left out',
    file: accumulate,
    search: 'for (int64_t first = 0; first < dim;) {',
    replacement: 'for (int64_t first = 0; first + 1 < dim;) {',
  },
  {
    name: 'tail: components after the first stretch replace it',
    file: scores,
    search: 'start == 0 ? sum[r][v] : load(out) + sum[r][v]',
    replacement: 'sum[r][v]',
  },
  {
    name: 'tail: the last components of a 16-bit row are not converted',
    file: convert,
    search: 'for (; d < dim; ++d) out[d] = toFloat(row, dtype, d);',
    replacement: 'for (; d + 1 < dim; ++d) out[d] = toFloat(row, dtype, d);',
  },

  {
    name: 'results: what needs a second look gets none',
    file: convert,
    search: 'return !any(counted & ~usual);',
    replacement: 'return true;',
  },

  // Chunks and their tree.
  {
    name: 'chunks: the last key of every chunk but the last is lost',
    file: forward,
    search: 'std::min((c + 1) * cut.chunk, cut.sequence.keys)}',
    replacement: 'std::min((c + 1) * cut.chunk - 1, cut.sequence.keys)}',
  },
  {
    name: 'chunks: the sum of the right side is not rescaled',
    file: merging,
    search: 'fma(leftSum, leftFactor, rightSum * rightFactor)',
    replacement: 'fma(leftSum, leftFactor, rightSum)',
  },
  {
    name: 'chunks: the output of the left side is not rescaled',
    file: merging,
    search: 'store(out, fma(load(out), leftFactor, load(rightOutput + d * lanes + lane) * rightFactor));',
    replacement: 'store(out, load(out) + load(rightOutput + d * lanes + lane) * rightFactor);',
  },
  {
    name: 'chunks: the tree is a chain, so its shape depends on the threads',
    file: tree,
    search: 'meeting(indices_[count_ - 2], indices_[count_ - 1]) < level',
    replacement: 'meeting(indices_[count_ - 2], indices_[count_ - 1]) <= level + 1',
  },
  {
    name: 'chunks: only two partials are left to combine',
    file: tree,
    search: 'while (count_ >= 2) mergeTop();\n  return',
    replacement: 'if (count_ >= 2) mergeTop();\n  return',
  },

  // Scores, statistics, normalisation.
  {
    name: 'scores: bias is not in base 2',
    file: softmax,
    search: 'fma(load(tile.bias + key * lanes + lane), log2e, s)',
    replacement: 's + load(tile.bias + key * lanes + lane) + log2e * broadcast(0.0f)',
  },
  {
    name: 'scores: softcap forgets the sign of large scores',
    file: softcap,
    search: 'asFloat(asInt(far) | sign)',
    replacement: 'asFloat(asInt(far) | (sign & broadcastInt(0)))',
  },
  {
    name: 'statistics: lse mixes bases',
    file: results,
    search: 'const double above = std::log2(double(sum));',
    replacement: 'const double above = std::log(double(sum));',
  },
  {
    name: 'sinks: the sink is in lse but not in the denominator',
    file: results,
    search: 'float(double(sum) * std::exp2(double(reference) - common) + std::exp2(logit - common));',
    replacement: 'float(double(sum) * std::exp2(double(reference) - common));',
  },
  {
    name: 'poison: tiles with NaN are not done again with care',
    file: forward,
    search: 'if (spoiled) attendGroups(spoiled, true);',
    replacement: 'static_cast<void>(spoiled);',
  },

  // Addresses.
  {
    name: 'heads: groups of query heads are interleaved',
    file: block,
    search: 'kvHead_ = firstHead / problem_.groupSize();',
    replacement: 'kvHead_ = firstHead % problem_.headsKv;',
  },
  {
    name: 'rows: every tile reads the first keys',
    file: rows,
    search: 'row + i * segment.rowBytes',
    replacement: 'row + (i - first) * segment.rowBytes',
  },
  {
    name: 'rows: ragged sequences read the keys of the first',
    file: rows,
    search: 'head * layout.head + sequence.rowKv * layout.row',
    replacement: 'head * layout.head',
  },
  {
    name: 'rows: ragged statistics go to the first sequence',
    file: 'native/cpu/query_block.h',
    search: '* problem_.queries + at.row;',
    replacement: '* problem_.queries + at.row - sequence_.rowQ;',
  },
  {
    name: 'rows: a group that sees less of a tile reads its first keys',
    file: walk,
    search: 'visible, keys.begin - firstLoaded);',
    replacement: 'visible, 0 * (keys.begin - firstLoaded));',
  },

  // A few queries, with components across lanes.
  {
    name: 'few: the last components of a key are left out',
    file: few,
    search: 'if (whole < dim) {',
    replacement: 'if (whole > dim) {',
  },
  {
    name: 'few: outputs are not rescaled',
    file: few,
    search: 'store(out, fma(load(out), factor, sums[t][v]));',
    replacement: 'store(out, load(out) + sums[t][v]);',
  },
  {
    name: 'few: the output of the left side is not rescaled when chunks combine',
    file: few,
    search: 'fma(load(leftOutput + d), leftFactor, load(rightOutput + d) * rightFactor)',
    replacement: 'fma(load(rightOutput + d), rightFactor, load(leftOutput + d))',
  },
  {
    name: 'few: hidden values are multiplied by 0',
    file: few,
    search: 'if (Careful && p == 0) continue;',
    replacement: '',
  },
  {
    name: 'scores: keys after the last hidden one are not looked at for the maximum',
    file: softmax,
    search: 'look(tile.hiddenEnd, tile.keys);',
    replacement: '',
  },
  {
    name: 'merge: the output of a finished part does not get its weight',
    file: 'native/cpu/merge.cc',
    search: 'empty ? 0 : o[d] * factor',
    replacement: 'empty ? 0 : o[d] + 0 * factor',
  },

  // Weights that go by their own scores.
  {
    name: 'weights: a negative score has that of its magnitude',
    file: weights,
    search: 'select(x[i] < Float{}, powers[i].value, one)',
    replacement: 'select(x[i] < Float{}, one, one)',
  },
  {
    name: 'weights: hidden keys beside seen ones are seen',
    file: weights,
    search: 'key + Count > tile.hiddenFrom && key < tile.hiddenEnd',
    replacement: 'key > tile.hiddenFrom && key + Count < tile.hiddenEnd',
  },
  {
    name: 'weights: a tile replaces what came before',
    file: weights,
    search: 'store(rescale + lane, broadcast(1.0f));',
    replacement: 'store(rescale + lane, Float{});',
  },
  {
    name: 'weights: squares are divided by the unit of their root',
    file: results,
    search: 'float(divisor * std::numbers::log2e * std::numbers::log2e)',
    replacement: 'float(divisor * std::numbers::log2e)',
  },

  // Grids: tiles gathered from runs, ranges along axes, boxes of queries.
  {
    name: 'gathered: the key behind a full tile is lost',
    file: gathered,
    search: 'column_ = piece.end;',
    replacement: 'column_ = piece.end + 1;',
  },
  {
    name: 'gathered: tiles are not masked',
    file: walk,
    search: 'hidden ? words : nullptr, 0)',
    replacement: 'nullptr, 0)',
  },
  {
    name: 'grids: lanes see what others of their group see on an axis',
    file: cells,
    search: 'words[begin] ^= uint64_t{1} << t;',
    replacement: 'words[0] ^= uint64_t{1} << t;',
  },
  {
    name: 'maps: heads share what the first of them sees',
    file: map,
    search: 'if (values.scalar(n, head).integer != values.scalar(n, other).integer) return false;',
    replacement: '',
  },
  {
    name: 'grids: a group sees the keys of the one whose runs it shares',
    file: map,
    search: 'grid.originOf(cells) - grid.originOf(shape->cells)',
    replacement: '0',
  },
  {
    name: 'grids: positions before the grid move with groups',
    file: map,
    search: 'if (run.begin < origin_) continue;',
    replacement: '',
  },
  {
    name: 'grids: every residue class is the first',
    file: order,
    search: 'place.at[a] = residue[a] + at * grid.axis[a].period;',
    replacement: 'place.at[a] = at * grid.axis[a].period;',
  },

  // Lists of blocks.
  {
    name: 'lists: every head has those of the first',
    file: listed,
    search: 'list.lineOf(batch_, lanes.head[lane],',
    replacement: 'list.lineOf(batch_, 0,',
  },
  {
    name: 'lists: a stretch of blocks is a key longer',
    file: listed,
    search: 'std::min(listed.stretch().end * size, keys_)',
    replacement: 'std::min(listed.stretch().end * size + 1, keys_)',
  },
  {
    name: 'lists: the last block of a line reaches past the keys',
    file: walk,
    search: 'const int64_t end = std::min((block + 1) * size, chunk_.end);',
    replacement: 'const int64_t end = (block + 1) * size;',
  },
  {
    name: 'lists: lanes see what others of their group have in their lists',
    file: listed,
    search: 'from ? from[k] & seeing : seeing',
    replacement: 'from ? from[k] : every',
  },
  {
    name: 'lists: positions are rows',
    file: listed,
    search: '(row + (list.byRow ? 0 : start_))',
    replacement: '(row + (list.byRow ? 0 : 0 * start_))',
  },
  {
    name: 'lists: bits of programs that are made as a call runs are not restricted',
    file: 'native/cpu/task_programs.cc',
    search: 'if (programs_.listed) programs_.listed->restrict(lanes, part, out);',
    replacement: '',
  },
  {
    name: 'gathered: groups whose keys end elsewhere go over one tile',
    file: walk,
    search: 'a.begin == b.begin && a.end == b.end',
    replacement: 'a.begin == b.begin',
  },
];
