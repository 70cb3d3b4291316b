// The cases of every suite.
import { SUITES, type Case, type Suite } from '../case.js';
import { blocks } from './blocks.js';
import { call } from './call.js';
import { causal } from './causal.js';
import { decode, layers } from './decode.js';
import { half } from './half.js';
import { neighborhood } from './neighborhood.js';
import { prefill } from './prefill.js';
import { programs } from './programs.js';
import { ragged } from './ragged.js';
import { small } from './small.js';
import { statistics } from './statistics.js';
import { window } from './window.js';

const BY_SUITE: Record<Suite, (seed: number) => Case[]> = {
  prefill,
  causal,
  window,
  neighborhood,
  blocks,
  statistics,
  small,
  decode,
  layers,
  half,
  ragged,
  programs,
  call,
};

/**
 * @param seed of the random programs
 * @param quick one case a suite, to see that everything works
 */
export function allCases(seed: number, quick: boolean): Case[] {
  return SUITES.flatMap((suite) => {
    const cases = BY_SUITE[suite](seed);
    return quick ? cases.slice(0, 1) : cases;
  });
}
