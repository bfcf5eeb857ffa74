// Submits to BullMQ on the Redis of BENCH_BACKEND, and reads the answers, as the driver says.

const { Queue, QueueEvents } = require("bullmq");
const Redis = require("ioredis");
const { cut, pause, serve } = require("./work");

const BATCH = 500; // jobs in one call
const POLL_MS = 5;

const connect = () => new Redis(process.env.BENCH_BACKEND, { maxRetriesPerRequest: null });
const queue = new Queue("bench", { connection: connect() });
let events; // whoever submits many jobs does not listen to each

async function runAll(payloads) {
  const done = await queue.getCompletedCount();
  const jobs = [];
  for (const part of cut(payloads, BATCH)) {
    jobs.push(...(await queue.addBulk(part.map((data) => ({ name: "answer", data })))));
  }
  while ((await queue.getCompletedCount()) < done + jobs.length) await pause(POLL_MS);
  const newest = await queue.getJobs(["completed"], 0, jobs.length - 1);
  const answers = new Map(newest.map((job) => [job.id, job.returnvalue]));
  return jobs.map((job) => answers.get(job.id) ?? null);
}

async function runOne(payload) {
  if (events === undefined) {
    events = new QueueEvents("bench", { connection: connect() });
    await events.waitUntilReady();
  }
  return (await queue.add("answer", payload)).waitUntilFinished(events);
}

queue.waitUntilReady().then(() => serve(runAll, runOne));
