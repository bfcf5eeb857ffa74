// A worker of graphile-worker on the PostgreSQL of BENCH_BACKEND. There is no result store: the job does an INSERT.

const { Logger, run } = require("graphile-worker");
const { Pool } = require("pg");
const { answer } = require("./work");

const CONCURRENCY = 24;
const LOCAL_QUEUE = 200; // jobs that a worker takes at once
const POLL_MS = 50;

const pgPool = new Pool({ connectionString: process.env.BENCH_BACKEND, max: CONCURRENCY + 2 });

run({
  pgPool,
  taskList: {
    answer: async ({ id, payload }, { query }) => {
      await query("INSERT INTO results VALUES ($1, $2)", [id, answer(payload)]);
    },
  },
  logger: new Logger(() => () => {}),
  preset: {
    worker: {
      concurrentJobs: CONCURRENCY,
      pollInterval: POLL_MS,
      localQueue: { size: LOCAL_QUEUE },
      completeJobBatchDelay: 0, // those that end at the same time are completed together
    },
  },
});
