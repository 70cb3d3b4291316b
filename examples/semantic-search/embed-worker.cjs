// Entry of the embedding threads: a worker does not inherit the TypeScript loader of the thread that starts it.
'use strict';

require('tsx/cjs');
require('./embed-worker.ts');
