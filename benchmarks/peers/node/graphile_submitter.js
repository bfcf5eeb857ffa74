// Submits to graphile-worker on the PostgreSQL of BENCH_BACKEND, and reads the answers, as the driver says.

const { runMigrations } = require("graphile-worker");
const { Pool } = require("pg");
const { cut, pause, serve } = require("./work");

const BATCH = 1000; // jobs in one call
const POLL_MS = 50;
const POLL_ONE_MS = 2;

const ADD = `SELECT graphile_worker.add_jobs(ARRAY(
  SELECT json_populate_recordset(NULL::graphile_worker.job_spec, $1::json)))`;
const COUNT = "SELECT count(*)::int AS found FROM results WHERE id >= $1";
const READ = "SELECT id, result FROM results WHERE id >= $1";

const pgPool = new Pool({ connectionString: process.env.BENCH_BACKEND, max: 2 });
let submitted = 0;

async function submit(payloads, pollMs) {
  const first = submitted;
  submitted += payloads.length;
  const jobs = payloads.map((payload, place) => ({ identifier: "answer", payload: { id: first + place, payload } }));
  for (const part of cut(jobs, BATCH)) await pgPool.query(ADD, [JSON.stringify(part)]);
  while ((await pgPool.query(COUNT, [first])).rows[0].found < jobs.length) await pause(pollMs);
  const { rows } = await pgPool.query(READ, [first]);
  const answers = new Map(rows.map(({ id, result }) => [id, result]));
  return jobs.map(({ payload }) => answers.get(payload.id) ?? null);
}

async function prepare() {
  await runMigrations({ pgPool });
  await pgPool.query("CREATE TABLE results (id INT PRIMARY KEY, result TEXT NOT NULL)");
}

prepare().then(() =>
  serve((payloads) => submit(payloads, POLL_MS), async (payload) => (await submit([payload], POLL_ONE_MS))[0]),
);
