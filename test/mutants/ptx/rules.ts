// What is done to one line of a kernel's PTX, and to which lines.

/** A kernel of the text that the addon embeds; line 0 is the one with `.entry`. */
export interface Kernel {
  readonly name: string;
  readonly lines: readonly string[];
}

export interface Mutant {
  readonly kernel: string;
  readonly rule: string;
  /** Among the mutants of this rule in the kernel, from 0 on. */
  readonly ordinal: number;
  /** Of the kernel's text. */
  readonly line: number;
  readonly before: string;
  readonly after: string;
}

export function keyOf({ kernel, rule, ordinal }: Pick<Mutant, 'kernel' | 'rule' | 'ordinal'>): string {
  return `${kernel} ${rule} ${ordinal}`;
}

export function kernelsOf(ptx: string): Kernel[] {
  const [, ...kernels] = ptx.split(/^(?=\.visible \.entry )/mu);
  return kernels.map((text) => ({ name: /^\.visible \.entry (\w+)/u.exec(text)![1]!, lines: text.split('\n') }));
}

interface Rule {
  readonly name: string;
  readonly pattern: RegExp;
  readonly replacement: string;
  /** Of what the pattern's first group names: whether the rule is about it. */
  readonly of?: 'copied bytes' | 'a mask';
}

const removed = '\t// gone';

/** Comparisons that are off by one. */
const neighbours = [
  ['lt', 'le'],
  ['le', 'lt'],
  ['gt', 'ge'],
  ['ge', 'gt'],
] as const;

const infinity = '0fFF800000';

const rules: readonly Rule[] = [
  { name: 'barrier', pattern: /^\tbar\.sync .*$/u, replacement: removed },
  { name: 'barrier of a warp', pattern: /^\tbar\.warp\.sync .*$/u, replacement: removed },
  { name: 'wait', pattern: /^\tcp\.async\.wait_group .*$/u, replacement: removed },
  { name: 'wait for one group less', pattern: /^(?<wait>\tcp\.async\.wait_group) 0;$/u, replacement: '$<wait> 1;' },
  { name: 'commit', pattern: /^\tcp\.async\.commit_group;$/u, replacement: removed },
  {
    name: 'shuffle',
    pattern: /^\tshfl\.sync\.\w+\.b32 \t(?<to>%\w+)(?:\|%p\d+)?, (?<own>%\w+),.*$/u,
    replacement: '\tmov.b32 \t$<to>, $<own>;',
  },
  {
    name: 'vote',
    pattern: /^\tvote\.sync\.\w+\.pred \t(?<to>%p\d+), (?<own>%p\d+),.*$/u,
    replacement: '\tmov.pred \t$<to>, $<own>;',
  },
  { name: 'transposition', pattern: /^(?<load>\tldmatrix\..*)\.trans(?<rest>\..*)$/u, replacement: '$<load>$<rest>' },
  {
    name: 'mask',
    pattern: new RegExp(
      `^\\tselp\\.f32 \\t(?<to>%f\\d+), (?:${infinity}, (?<second>%f\\d+)|(?<first>%f\\d+), ${infinity}), %p\\d+;$`,
      'u',
    ),
    replacement: '\tmov.f32 \t$<to>, $<first>$<second>;',
  },
  {
    name: 'bytes that are there',
    pattern: /^\tselp\.b32 \t(?<to>%r\d+), (?:0, (?<second>%r\d+)|(?<first>%r\d+), 0), %p\d+;$/u,
    replacement: '\tmov.b32 \t$<to>, $<first>$<second>;',
    of: 'copied bytes',
  },
  ...neighbours.map(([comparison, neighbour]) => ({
    name: `${comparison} is ${neighbour}`,
    pattern: new RegExp(`^\\tsetp\\.${comparison}\\.s32 (?<rest>\\t(?<to>%p\\d+),.*)$`, 'u'),
    replacement: `\tsetp.${neighbour}.s32 $<rest>`,
    of: 'a mask' as const,
  })),
  ...(['first', 'second'] as const).map((kept) => ({
    name: `${kept} condition alone`,
    pattern: /^\t(?:and|or)\.pred {2}\t(?<to>%p\d+), (?<first>%p\d+), (?<second>%p\d+);$/u,
    replacement: `\tmov.pred \t$<to>, $<${kept}>;`,
    of: 'a mask' as const,
  })),
];

export const ruleNames = rules.map(({ name }) => name);

/** Lines that a branch may skip and still be about one access. */
const skipped = 24;

/** Whether a branch at a line skips accesses of global memory, and no label of another branch. */
function guardsAccess(lines: readonly string[], line: number, label: string): boolean {
  for (let n = line + 1; n <= line + skipped && n < lines.length; n++) {
    if (lines[n]!.startsWith('$')) return lines[n]!.startsWith(`${label}:`) && accessesIn(lines.slice(line, n));
  }
  return false;
}

function accessesIn(lines: readonly string[]): boolean {
  return lines.some((line) => /\t(?:ld|st)\.global\./u.test(line));
}

/** Predicates that hide scores, say what is there to copy, or guard an access; and those that these are made of. */
function masksOf(lines: readonly string[], copied: ReadonlySet<string>): Set<string> {
  const masks = new Set<string>();
  lines.forEach((line, at) => {
    const score = /^\tselp\.f32 .*0fFF800000.*, (%p\d+);$/u.exec(line);
    if (score) masks.add(score[1]!);
    const bytes = /^\tselp\.b32 \t(%r\d+), .*, (%p\d+);$/u.exec(line);
    if (bytes && copied.has(bytes[1]!)) masks.add(bytes[2]!);
    const branch = /^\t@!?(%p\d+) bra \t(\$\w+);$/u.exec(line);
    if (branch && guardsAccess(lines, at, branch[2]!)) masks.add(branch[1]!);
  });
  for (let before = -1; before < masks.size;) {
    before = masks.size;
    for (const line of lines) {
      const [, to, from] = /^\t(?:and|or|xor|not|mov)\.pred +\t(%p\d+), (.*);$/u.exec(line) ?? [];
      if (to !== undefined && masks.has(to)) for (const one of from!.matchAll(/%p\d+/gu)) masks.add(one[0]);
    }
  }
  return masks;
}

/** Registers that tell asynchronous copies how many bytes there are. */
function copiedBytesOf(lines: readonly string[]): Set<string> {
  const copy = /^\tcp\.async\.c[ag]\..*, (%r\d+);$/u;
  return new Set(lines.flatMap((line) => copy.exec(line)?.[1] ?? []));
}

/** All of them, by rule. */
export function mutantsOf({ name, lines }: Kernel): Mutant[] {
  const copied = copiedBytesOf(lines);
  const masks = masksOf(lines, copied);
  return rules.flatMap(({ name: rule, pattern, replacement, of }) => {
    const found: Mutant[] = [];
    lines.forEach((before, line) => {
      const match = pattern.exec(before);
      if (match === null) return;
      const to = match.groups?.['to'] ?? '';
      if (of !== undefined && !(of === 'a mask' ? masks : copied).has(to)) return;
      const after = before.replace(pattern, replacement);
      found.push({ kernel: name, rule, ordinal: found.length, line, before, after });
    });
    return found;
  });
}
