// How long each schedule would take, and which one is chosen.

import { oneOf } from '../errors.js';
import { quantity, row } from '../explain.js';
import type { MeasuredCosts } from './costs.js';
import { Model } from './model.js';
import type { Request, Whole } from './request.js';

export type Schedule = 'ring' | 'tree' | 'allGather' | 'ulysses';
export const schedules: readonly Schedule[] = ['ring', 'tree', 'allGather', 'ulysses'];

/** What a schedule would take, of the rank that has the most to do. */
export interface SchedulePrediction {
  readonly schedule: Schedule;
  /** From beginning to end. */
  readonly seconds: number;
  /** While it computes. */
  readonly computeSeconds: number;
  /** While messages are on their way to it, whether it computes meanwhile or not. */
  readonly transferSeconds: number;
  /** Bytes that come to it from other ranks. */
  readonly receivedBytes: number;
  /** Bytes that it holds: its shards, what has come, partials and results. */
  readonly memoryBytes: number;
}

/** What {@link predictSchedules} returns; `toString()` is for reading. */
export interface SchedulePredictions {
  readonly chosen: Schedule;
  /** Of every schedule, the quickest first. */
  readonly schedules: readonly SchedulePrediction[];
  toString(): string;
}

export function predict(request: Request, whole: Whole, costs: MeasuredCosts, headsStep: number): SchedulePredictions {
  const model = new Model(request, whole, costs);
  const all = schedules.map((schedule) => model.prediction(schedule, headsStep));
  const quickest = all.sort((a, b) => a.seconds - b.seconds);
  const fits = quickest.find(({ memoryBytes }) => memoryBytes <= costs.memory);
  const smallest = quickest.reduce((least, one) => (one.memoryBytes < least.memoryBytes ? one : least));
  return new Forecast((fits ?? smallest).schedule, quickest);
}

class Forecast implements SchedulePredictions {
  readonly chosen: Schedule;
  readonly schedules: readonly SchedulePrediction[];

  constructor(chosen: Schedule, all: readonly SchedulePrediction[]) {
    this.chosen = chosen;
    this.schedules = all;
  }

  toString(): string {
    const lines = this.schedules.map(({ schedule, ...of }) => {
      const busy = `${duration(of.computeSeconds)} computing, ${duration(of.transferSeconds)} on the way`;
      const bytes = `${quantity(of.receivedBytes, 'B', 1024)} in, ${quantity(of.memoryBytes, 'B', 1024)} held`;
      return row(schedule, `${duration(of.seconds)}: ${busy}, ${bytes}`);
    });
    return [`${oneOf([this.chosen])} is chosen`, ...lines].join('\n');
  }
}

function duration(seconds: number): string {
  if (seconds < 1) return seconds < 1e-3 ? `${(seconds * 1e6).toFixed(1)} µs` : `${(seconds * 1e3).toPrecision(3)} ms`;
  return `${seconds < 1000 ? seconds.toPrecision(3) : seconds.toFixed(0)} s`;
}
