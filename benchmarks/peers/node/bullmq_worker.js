// A worker of BullMQ on the Redis of BENCH_BACKEND.

const { Worker } = require("bullmq");
const Redis = require("ioredis");
const { answer } = require("./work");

const CONCURRENCY = 100;

const connection = new Redis(process.env.BENCH_BACKEND, { maxRetriesPerRequest: null });
new Worker("bench", async (job) => answer(job.data), { connection, concurrency: CONCURRENCY });
