// A worker that is a rank: takes seats, makes calls and reports what came of them. It can end, or stop, as it is about to
// send its n-th message to other ranks.
const { parentPort } = require('node:worker_threads');
const library = require('../../dist/index.js');

let group;
let sent = 0;

/** Ends or stops the thread at a message. */
function failing(port, at, how) {
  const post = port.postMessage.bind(port);
  port.postMessage = (...message) => {
    sent += 1;
    if (sent === at && how === 'exit') process.exit(0);
    if (sent === at && how === 'stop') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 800);
    post(...message);
  };
}

const written = ({ name, code, argument, expected, received, message, cause }) => ({
  name,
  code,
  argument,
  expected,
  received,
  message,
  cause: cause && written(cause),
});

const steps = {
  join({ seat, at, how }) {
    sent = 0;
    for (const port of seat.ports) if (at) failing(port, at, how);
    group = library.joinGroup(seat);
  },
  async call({ name, tensors, options = {} }) {
    const { mask, wild, ...rest } = options;
    const score = wild && library.score('(s, i, j, { table }) => s + table(i)', { table: Float32Array.of(1) });
    const [q, k, v] = tensors.map(({ data, shape }) => library.Tensor.from(data, shape));
    const { output } = await library[name](group, q, k, v, { ...rest, score, mask: mask && library[mask]() });
    return { data: output.data, shape: output.shape, sent };
  },
  traffic: () => group.traffic,
  close: () => group.close(),
  barrier: () => group.barrier(),
};

parentPort.on('message', async ({ step, ...task }) => {
  try {
    parentPort.postMessage({ result: await steps[step](task) });
  } catch (error) {
    parentPort.postMessage({ failed: written(error) });
  }
});
